// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A unix stream socket for any number of readers. Each has a queue of its own: one that
 * sleeps loses its own records only, and is told so in its place when it reads again.
 * Readers say nothing; what they write is thrown away.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"
#include "unix_listen.h"

#define CONSUMERS_MAX 1024	/* as config.c has it */

struct consumer {
	int fd;
	struct sl_queue queue;
	size_t offset;		/* bytes of its first line that are out */
};

struct server {
	int fd;			/* -1: not listening */
	struct sl_unix_file file;
	__u64 next;		/* the number that follows what was handed to the readers */
	unsigned n;
	struct consumer **consumers;
	struct pollfd *polls;	/* wake, fd, each consumer */
};

/* ---- listening ---- */

static int unix_open(struct sl_sink *s)
{
	struct server *v = s->own;
	int fd;

	if (!v) {
		v = calloc(1, sizeof(*v));
		if (!v)
			return -ENOMEM;
		v->consumers = calloc(s->config.consumers, sizeof(*v->consumers));
		v->polls = calloc(s->config.consumers + 2, sizeof(*v->polls));
		v->fd = -1;
		s->own = v;
	}
	if (!v->consumers || !v->polls)
		return -ENOMEM;
	fd = sl_unix_listen(s->config.path, s->config.mode, s->config.group, &v->file);
	if (fd < 0)
		return fd;
	if (v->fd >= 0)
		close(v->fd);
	v->fd = fd;
	return 0;
}

/* ---- readers ---- */

static void set_consumers(struct sl_sink *s, unsigned n)
{
	pthread_mutex_lock(&s->lock);
	s->stats.consumers = n;
	pthread_mutex_unlock(&s->lock);
}

static void drop(struct sl_sink *s, unsigned i)
{
	struct server *v = s->own;
	struct consumer *c = v->consumers[i];
	__u64 left = sl_queue_records(&c->queue);

	close(c->fd);
	sl_queue_free(&c->queue);
	free(c);
	v->consumers[i] = v->consumers[--v->n];
	pthread_mutex_lock(&s->lock);
	s->stats.lost += left;
	s->stats.consumers = v->n;
	pthread_mutex_unlock(&s->lock);
}

/* So that a reader knows of the first record which it is. */
static struct sl_line *hello(struct sl_sink *s, __u64 next)
{
	char text[256], now[40];
	int n = snprintf(text, sizeof(text),
			 "{\"time\":\"%s\",\"event\":\"hello\",\"stream\":\"%s\","
			 "\"next\":%llu,\"version\":\"%s\"}\n",
			 sl_time_text(sl_clock_ns(&s->clock), now), s->stream,
			 (unsigned long long)next, SLUICE_VERSION);

	return sl_line_new(text, (size_t)n, next, SL_LEVEL_INFO);
}

/* Takes the descriptor. */
static void add(struct sl_sink *s, int fd)
{
	struct server *v = s->own;
	struct consumer *c = v->n < s->config.consumers ? calloc(1, sizeof(*c)) : NULL;
	struct sl_line *line = NULL;

	if (c && !sl_queue_init(&c->queue, s->config.queue))
		line = hello(s, v->next);
	if (!line) {
		sl_sink_failed(s, "one reader too many", c ? ENOMEM : EUSERS);
		if (c)
			sl_queue_free(&c->queue);
		free(c);
		close(fd);
		return;
	}
	line->gap = true;	/* no record: it counts as none */
	sl_queue_push(&c->queue, line);
	sl_line_drop(line);
	c->fd = fd;
	v->consumers[v->n++] = c;
	set_consumers(s, v->n);
}

static void accept_all(struct sl_sink *s)
{
	struct server *v = s->own;
	int fd;

	while ((fd = accept4(v->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
		add(s, fd);
	if (errno != EAGAIN && errno != ECONNABORTED)
		sl_sink_failed(s, "accepting a reader", errno);
}

/* The line at the front, with its bytes; NULL: none. */
static struct sl_line *front(struct sl_sink *s, struct consumer *c)
{
	struct sl_line **at, *gap;
	json_t *j;
	char now[40];

	sl_queue_settle(&c->queue);
	if (!c->queue.n)
		return NULL;
	at = sl_queue_at(&c->queue, 0);
	if ((*at)->len)
		return *at;
	j = json_pack("{s:s, s:I, s:s, s:I, s:I, s:s, s:s, s:s}", "time",
		      sl_time_text(sl_clock_ns(&s->clock), now), "seq", (json_int_t)(*at)->seq,
		      "event", "lost", "first", (json_int_t)(*at)->first, "count",
		      (json_int_t)((*at)->seq - (*at)->first + 1), "sink", s->stats.spec, "why",
		      "this reader was too slow", "stream", s->stream);
	gap = j ? sl_render(s->variant, j, (*at)->seq, SL_LEVEL_ERROR) : NULL;
	json_decref(j);
	if (!gap)
		return NULL;
	gap->gap = true;
	gap->first = (*at)->first;
	sl_line_drop(*at);
	*at = gap;
	return gap;
}

/* 0, or -errno: it is gone. */
static int feed(struct sl_sink *s, struct consumer *c)
{
	struct sl_line *line;
	ssize_t n;

	while ((line = front(s, c))) {
		n = send(c->fd, line->bytes + c->offset, line->len - c->offset, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		c->offset += (size_t)n;
		if (c->offset < line->len)
			continue;
		sl_sink_count(s, line);
		sl_queue_pop(&c->queue, 1);
		c->offset = 0;
	}
	return 0;
}

/* False: it hung up. */
static bool listen_to(const struct consumer *c)
{
	char ignored[256];
	ssize_t n;

	do
		n = recv(c->fd, ignored, sizeof(ignored), 0);
	while (n > 0);
	return n < 0 && errno == EAGAIN;
}

static void unix_wait(struct sl_sink *s, int timeout_ms)
{
	struct server *v = s->own;
	struct pollfd wake = {.fd = s->wake, .events = POLLIN};
	unsigned i, n;

	if (!s->opened) {
		poll(&wake, 1, timeout_ms);
		return;
	}
	n = v->n;
	v->polls[0] = wake;
	v->polls[1] = (struct pollfd){.fd = v->fd, .events = POLLIN};
	for (i = 0; i < n; i++)
		v->polls[i + 2] = (struct pollfd){
			.fd = v->consumers[i]->fd,
			.events = POLLIN | (v->consumers[i]->queue.n ? POLLOUT : 0)};
	if (poll(v->polls, n + 2, timeout_ms) <= 0)
		return;
	/* from the last: dropping one moves the last into its place */
	for (i = n; i--;)
		if ((v->polls[i + 2].revents & (POLLIN | POLLHUP | POLLERR) &&
		     !listen_to(v->consumers[i])) ||
		    (v->polls[i + 2].revents & POLLOUT && feed(s, v->consumers[i])))
			drop(s, i);
	if (v->polls[1].revents)
		accept_all(s);
}

/* Into each reader's queue: this never fails. */
static int unix_write(struct sl_sink *s, struct sl_line **lines, unsigned n, unsigned *done)
{
	struct server *v = s->own;
	__u64 lost = 0;

	for (; *done < n; (*done)++) {
		for (unsigned i = 0; i < v->n; i++)
			lost += sl_queue_push(&v->consumers[i]->queue, lines[*done]);
		v->next = lines[*done]->seq + 1;
	}
	for (unsigned i = v->n; i--;)
		if (feed(s, v->consumers[i]))
			drop(s, i);
	pthread_mutex_lock(&s->lock);
	s->stats.lost += lost;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static bool unix_busy(struct sl_sink *s)
{
	struct server *v = s->own;

	for (unsigned i = 0; v && i < v->n; i++)
		if (v->consumers[i]->queue.n || v->consumers[i]->queue.losing)
			return true;
	return false;
}

/* Somebody took the socket's file away: readers could not find us. */
static int unix_tick(struct sl_sink *s)
{
	struct stat st;

	return lstat(s->config.path, &st) && errno == ENOENT ? unix_open(s) : 0;
}

static void unix_close(struct sl_sink *s)
{
	struct server *v = s->own;

	if (!v)
		return;
	while (v->n)
		drop(s, v->n - 1);
	if (v->fd >= 0) {
		close(v->fd);
		sl_unix_unlink(s->config.path, &v->file);
	}
	free(v->consumers);
	free(v->polls);
	free(v);
	s->own = NULL;
}

const struct sl_sink_ops sl_unix_ops = {
	.kind = "unix", .shape = SL_SHAPE_LINE, .open = unix_open, .write = unix_write,
	.tick = unix_tick, .wait = unix_wait, .busy = unix_busy, .close = unix_close,
};
