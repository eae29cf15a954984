// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A stream to a resolver (RFC 7766, RFC 7858): one a server, for all that waits. */
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lookup.h"

#define OUT_MAX 65536		/* not yet sent; a server that takes no more is given up */

void sl_channel_close(struct sl_resolver_client *r, size_t server)
{
	struct sl_channel *c = &r->channels[server];

	if (c->fd < 0)
		return;
	SSL_free(c->ssl);
	close(c->fd);
	free(c->out);
	free(c->in);
	*c = (struct sl_channel){.fd = -1};
}

/* The server's certificate has to be of the policy's name. */
static int begin_tls(const struct sl_resolver_client *r, struct sl_channel *c)
{
	static const unsigned char dot[] = "\3dot";

	c->ssl = SSL_new(r->tls);
	if (!c->ssl || SSL_set1_host(c->ssl, r->tls_name) != 1 ||
	    SSL_set_tlsext_host_name(c->ssl, r->tls_name) != 1 ||
	    SSL_set_alpn_protos(c->ssl, dot, sizeof(dot) - 1) || SSL_set_fd(c->ssl, c->fd) != 1)
		return -ENOMEM;
	SSL_set_connect_state(c->ssl);
	return 0;
}

static int begin(struct sl_resolver_client *r, size_t server)
{
	const struct sl_server_address *to = &r->servers[server];
	struct sl_channel *c = &r->channels[server];
	int one = 1, err = 0;

	c->fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return -errno;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->in = malloc(2 + SL_DNS_WIRE_MAX);
	if (!c->in)
		err = -ENOMEM;
	else if (connect(c->fd, &to->any, to->size) && errno != EINPROGRESS)
		err = -errno;
	if (!err)
		err = sl_resolver_watch(r, c->fd, SL_AT_CHANNEL, server, EPOLLIN | EPOLLOUT, false);
	if (!err && r->tls)
		err = begin_tls(r, c);
	if (err)
		sl_channel_close(r, server);
	return err;
}

int sl_channel_send(struct sl_resolver_client *r, size_t server, const __u8 *message,
		    size_t length)
{
	struct sl_channel *c = &r->channels[server];
	int err = c->fd < 0 ? begin(r, server) : 0;
	__u8 *out;

	if (err)
		return err;
	out = c->n_out + 2 + length > OUT_MAX ? NULL : realloc(c->out, c->n_out + 2 + length);
	if (!out)
		return -ENOBUFS;
	c->out = out;
	out += c->n_out;
	out[0] = (__u8)(length >> 8);
	out[1] = (__u8)length;
	memcpy(out + 2, message, length);
	c->n_out += 2 + length;
	c->last_ms = sl_resolver_now_ms();
	return sl_resolver_watch(r, c->fd, SL_AT_CHANNEL, server, EPOLLIN | EPOLLOUT, true);
}

/* ---- bytes; 0: none now, -1: the stream is over ---- */

static int tls_result(struct sl_channel *c, int n)
{
	int error;

	if (n > 0)
		return n;
	error = SSL_get_error(c->ssl, n);
	ERR_clear_error();
	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static int plain_result(ssize_t n)
{
	if (n > 0)
		return (int)n;
	return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static int write_bytes(struct sl_channel *c)
{
	return c->ssl ? tls_result(c, SSL_write(c->ssl, c->out, (int)c->n_out)) :
			plain_result(send(c->fd, c->out, c->n_out, MSG_NOSIGNAL));
}

static int read_bytes(struct sl_channel *c)
{
	size_t room = 2 + SL_DNS_WIRE_MAX - c->n_in;

	return c->ssl ? tls_result(c, SSL_read(c->ssl, c->in + c->n_in, (int)room)) :
			plain_result(recv(c->fd, c->in + c->n_in, room, 0));
}

/* Connected, and with TLS shaken hands: 1; not yet: 0; -1. */
static int is_open(struct sl_channel *c, __u32 events)
{
	int error = 0;
	socklen_t size = sizeof(error);

	if (c->open)
		return 1;
	if (!(events & (EPOLLOUT | EPOLLIN | EPOLLERR)))
		return 0;
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) || error)
		return -1;
	if (c->ssl)
		error = tls_result(c, SSL_do_handshake(c->ssl));
	c->open = !c->ssl || error > 0;
	return c->open ? 1 : error;
}

/* What has come whole goes to who waits for it. */
static void take_messages(struct sl_resolver_client *r, size_t server)
{
	struct sl_channel *c = &r->channels[server];
	size_t length;

	while (c->fd >= 0 && c->n_in >= 2) {
		length = (size_t)c->in[0] << 8 | c->in[1];
		if (c->n_in < 2 + length)
			return;
		c->last_ms = sl_resolver_now_ms();
		sl_lookup_offer(r, server, c->in + 2, length);
		if (c->fd < 0)
			return;
		c->n_in -= 2 + length;
		memmove(c->in, c->in + 2 + length, c->n_in);
	}
}

/* False: the stream is over. */
static bool move_bytes(struct sl_resolver_client *r, size_t server)
{
	struct sl_channel *c = &r->channels[server];
	int n = 0;

	while (c->n_out && (n = write_bytes(c)) > 0) {
		c->n_out -= (size_t)n;
		memmove(c->out, c->out + n, c->n_out);
	}
	if (n < 0)
		return false;
	while (c->fd >= 0 && (n = read_bytes(c)) > 0) {
		c->n_in += (size_t)n;
		take_messages(r, server);
	}
	return n >= 0;
}

void sl_channel_ready(struct sl_resolver_client *r, size_t server, __u32 events)
{
	struct sl_channel *c = &r->channels[server];
	int open;

	if (c->fd < 0)
		return;
	open = is_open(c, events);
	if (open < 0 || (open > 0 && !move_bytes(r, server))) {
		sl_channel_close(r, server);
		sl_lookups_retry(r, server);
		return;
	}
	/* TLS says by itself when it has to write while it reads; it rarely does */
	if (c->fd >= 0)
		sl_resolver_watch(r, c->fd, SL_AT_CHANNEL, server,
				  EPOLLIN | (c->n_out || (!c->open && !c->ssl) ? EPOLLOUT : 0),
				  true);
}
