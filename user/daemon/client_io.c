// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What goes to and comes from one client of the control socket. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "daemon.h"
#include "server.h"

#define OUT_HARD (64u << 20) /* an answer that is larger ends the client */

bool sl_caller_is_root(const struct sl_caller *client)
{
	return !client->uid;
}

size_t sl_caller_waiting(const struct sl_caller *client)
{
	return client->n_out - client->written;
}

/* ---- out ---- */

/* Reads on when there is room for another answer, writes when there is something. */
static void choose_events(struct sl_caller *c)
{
	__u32 events = EPOLLRDHUP;

	if (sl_caller_waiting(c))
		events |= EPOLLOUT;
	if (!c->closing && !c->applies && sl_caller_waiting(c) < SL_CALLER_OUT)
		events |= EPOLLIN;
	if (!c->gone)
		sl_loop_change(c->daemon->loop, &c->source, events);
}

static void flush(struct sl_caller *c)
{
	ssize_t n = 1;

	while (n > 0 && sl_caller_waiting(c)) {
		n = send(c->source.fd, c->out + c->written, sl_caller_waiting(c),
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			c->written += (size_t)n;
	}
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		c->gone = true;
	if (c->written == c->n_out) {
		c->written = c->n_out = 0;
		if (c->closing)
			c->gone = true;
	}
	if (c->cap_out > SL_CALLER_OUT && !c->n_out) {
		free(c->out);
		c->out = NULL;
		c->cap_out = 0;
	}
}

static bool make_room(struct sl_caller *c, size_t len)
{
	size_t cap = c->cap_out ? c->cap_out : 4096;
	char *grown;

	if (c->written) {
		memmove(c->out, c->out + c->written, sl_caller_waiting(c));
		c->n_out -= c->written;
		c->written = 0;
	}
	if (len > OUT_HARD - c->n_out)
		return false;
	while (cap < c->n_out + len)
		cap *= 2;
	if (cap == c->cap_out)
		return true;
	grown = realloc(c->out, cap);
	if (!grown)
		return false;
	c->out = grown;
	c->cap_out = cap;
	return true;
}

bool sl_caller_put(struct sl_caller *c, const char *text, size_t len)
{
	if (c->gone)
		return false;
	if (!make_room(c, len)) {
		c->gone = true;
		return false;
	}
	memcpy(c->out + c->n_out, text, len);
	c->n_out += len;
	flush(c);
	choose_events(c);
	return !c->gone;
}

bool sl_caller_send(struct sl_caller *c, json_t *object)
{
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	size_t len = text ? strlen(text) : 0;
	bool sent = false;

	json_decref(object);
	if (text) {
		text[len] = '\n'; /* over the NUL */
		sent = sl_caller_put(c, text, len + 1);
	} else {
		c->gone = true;
	}
	free(text);
	return sent;
}

/* ---- in ---- */

/* One request, if there is one and room for its answer. */
static void take_line(struct sl_caller *c)
{
	size_t max = sl_caller_is_root(c) ? SL_REQUEST_MAX : SL_REQUEST_MAX_USER, len;
	char *end = c->n_in ? memchr(c->in, '\n', c->n_in) : NULL;

	if (end && !c->closing && !c->applies && sl_caller_waiting(c) < SL_CALLER_OUT) {
		c->active_ns = sl_now_ns();
		sl_caller_request(c, c->in, (size_t)(end - c->in));
		len = (size_t)(end - c->in) + 1;
		c->n_in -= len;
		memmove(c->in, c->in + len, c->n_in);
		c->since_ns = 0;
		end = memchr(c->in, '\n', c->n_in);
	}
	if (!c->n_in || c->applies)
		c->since_ns = 0;
	else if (!c->since_ns)
		c->since_ns = sl_now_ns();
	if (!end && c->n_in >= max && !c->closing) {
		sl_answer_error(c, "too-large", "a request has at most %zu bytes", max);
		c->closing = true;
	}
	c->more = end && !c->closing;
}

static void receive(struct sl_caller *c)
{
	size_t max = sl_caller_is_root(c) ? SL_REQUEST_MAX : SL_REQUEST_MAX_USER;
	char *grown;
	ssize_t n;

	if (c->n_in == c->cap_in && c->cap_in < max) {
		grown = realloc(c->in, c->cap_in ? 2 * c->cap_in : 4096);
		if (!grown) {
			c->gone = true;
			return;
		}
		c->in = grown;
		c->cap_in = c->cap_in ? 2 * c->cap_in : 4096;
	}
	if (c->n_in == c->cap_in)
		return; /* answers must go first */
	n = recv(c->source.fd, c->in + c->n_in, c->cap_in - c->n_in, MSG_DONTWAIT);
	if (!n || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		c->gone = true;
		return;
	}
	if (n > 0)
		c->n_in += (size_t)n;
}

bool sl_caller_turn(struct sl_caller *c)
{
	if (!c->gone && c->more)
		take_line(c);
	if (!c->gone && c->stream.lost && sl_caller_waiting(c) < SL_CALLER_OUT)
		sl_caller_stream_tell_lost(c);
	choose_events(c);
	return !c->gone && c->more && !c->applies && sl_caller_waiting(c) < SL_CALLER_OUT;
}

void sl_caller_ready(void *context, __u32 events)
{
	struct sl_caller *c = context;

	if (events & (EPOLLERR | EPOLLHUP))
		c->gone = true;
	if (!c->gone && events & EPOLLOUT)
		flush(c);
	if (!c->gone && events & (EPOLLIN | EPOLLRDHUP) && !c->closing) {
		receive(c);
		c->more = true;
	}
	choose_events(c);
}
