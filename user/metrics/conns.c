// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Connections of strangers: bounded in number; the one that has idled longest makes room
 * for a new one, and every state has an end that no byte a second extends.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "conns.h"

#define HEADER_MS 10000		/* from connect to the end of the headers */
#define ANSWER_MS 10000		/* from there to the last byte of the answer */
#define KEPT_MS 120000		/* for the next request: longer than a scrape interval */
#define PATIENCE_MS 1000	/* an answer under way that is younger is not given up */
#define SEND_BUFFER 131072	/* what the kernel holds for one that does not read */

__u64 sl_http_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (__u64)ts.tv_sec * 1000 + (__u64)ts.tv_nsec / 1000000;
}

static void unlink_conn(struct sl_conn *c)
{
	c->prev->next = c->next;
	c->next->prev = c->prev;
}

void sl_conn_change(struct sl_server *h, struct sl_conn *c, enum sl_conn_state state)
{
	if (c->state == SL_CONN_DOOMED)
		return;
	h->n -= state == SL_CONN_DOOMED;
	c->state = state;
	c->since_ms = sl_http_now_ms();
	unlink_conn(c);
	c->prev = h->list.prev;
	c->next = &h->list;
	c->prev->next = c->next->prev = c;
}

/* libmicrohttpd sees the end of the stream, and closes it. */
static void doom(struct sl_server *h, struct sl_conn *c)
{
	sl_conn_change(h, c, SL_CONN_DOOMED);
	shutdown(c->fd, SHUT_RDWR);
}

void sl_conn_notify(void *context, struct MHD_Connection *connection, void **own,
		    enum MHD_ConnectionNotificationCode code)
{
	const union MHD_ConnectionInfo *info;
	struct sl_server *h = context;
	struct sl_conn *c;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		c = *own;
		if (c) {
			h->n -= c->state != SL_CONN_DOOMED;
			unlink_conn(c);
			free(c);
		}
		return;
	}
	c = *own = calloc(1, sizeof(*c));
	info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (!c || !info) {	/* the handler refuses it */
		free(c);
		*own = NULL;
		return;
	}
	c->mhd = connection;
	c->fd = info->connect_fd;
	c->prev = c->next = c;
	h->n++;
	sl_conn_change(h, c, SL_CONN_FRESH);
}

struct sl_conn *sl_conn_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

void sl_conn_completed(void *context, struct MHD_Connection *connection, void **own,
		       enum MHD_RequestTerminationCode code)
{
	struct sl_conn *c = sl_conn_of(connection);

	if (!c)
		return;
	c->waits = c->told = false;
	sl_conn_change(context, c, SL_CONN_KEPT);
}

/* The one that has idled longest, or, if all are being answered, the slowest. */
static bool make_room(struct sl_server *h)
{
	struct sl_conn *c, *slowest = NULL;

	for (c = h->list.next; c != &h->list; c = c->next) {
		if (c->state == SL_CONN_FRESH || c->state == SL_CONN_KEPT) {
			doom(h, c);
			return true;
		}
		if (c->state == SL_CONN_BUSY && !slowest)
			slowest = c;
	}
	if (!slowest || slowest->waits || sl_http_now_ms() - slowest->since_ms < PATIENCE_MS)
		return false;
	doom(h, slowest);
	return true;
}

void sl_conns_expire(struct sl_server *h)
{
	static const __u64 limits[] = {[SL_CONN_FRESH] = HEADER_MS,
				       [SL_CONN_BUSY] = ANSWER_MS,
				       [SL_CONN_KEPT] = KEPT_MS,
				       [SL_CONN_DOOMED] = ~0ull};
	struct sl_conn *c, *next;
	__u64 now = sl_http_now_ms();

	for (c = h->list.next; c != &h->list; c = next) {
		next = c->next;
		if (!c->waits && now - c->since_ms > limits[c->state])
			doom(h, c);
	}
}

void sl_conns_accept(struct sl_server *h)
{
	struct sockaddr_storage from;
	socklen_t len;
	int fd, i, buffer = SEND_BUFFER;

	/* a few at a time: between them the others are served, and the doomed closed */
	for (i = 0; i < 32; i++) {
		len = sizeof(from);
		fd = accept4(h->given->listener, (void *)&from, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE)
				make_room(h);
			return;
		}
		if (h->n >= SL_CONNECTIONS && !make_room(h)) {
			close(fd);
			continue;
		}
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
		MHD_add_connection(h->daemon, fd, (void *)&from, len);	/* closes it if it fails */
	}
}
