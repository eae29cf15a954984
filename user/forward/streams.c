// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* TCP (RFC 7766): several questions on a connection, answered as they are resolved. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server.h"

void sl_streams_init(struct sl_server *s)
{
	for (size_t i = 0; i < SL_STREAMS; i++)
		s->streams[i].fd = -1;
}

static void end(struct sl_stream *stream)
{
	close(stream->fd);
	free(stream->out);
	stream->fd = -1;
	stream->out = NULL;
	stream->n_in = stream->n_out = 0;
}

/* A free place, or that of the connection on which nothing has moved for longest. */
static struct sl_stream *make_room(struct sl_server *s)
{
	struct sl_stream *oldest = &s->streams[0];

	for (size_t i = 0; i < SL_STREAMS; i++) {
		if (s->streams[i].fd < 0)
			return &s->streams[i];
		if (s->streams[i].last_s < oldest->last_s)
			oldest = &s->streams[i];
	}
	end(oldest);
	return oldest;
}

void sl_stream_accept(struct sl_server *s)
{
	struct sockaddr_in peer;
	socklen_t size = sizeof(peer);
	int fd = accept4(s->options.tcp_fd, (struct sockaddr *)&peer, &size,
			 SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct sl_stream *stream;

	if (fd < 0)
		return;
	stream = make_room(s);
	stream->fd = fd;
	stream->peer = peer;
	stream->serial = ++s->serial;
	stream->last_s = sl_server_now_s();
}

/* The messages that are whole. False: the connection is of no use any more. */
static bool take_messages(struct sl_server *s, size_t i)
{
	struct sl_stream *stream = &s->streams[i];
	struct sl_client client = {.address = stream->peer, .stream = (int)i,
				   .serial = stream->serial};
	size_t length;

	while (stream->n_in >= 2) {
		length = (size_t)stream->in[0] << 8 | stream->in[1];
		if (length > SL_QUESTION_MAX)
			return false;
		if (stream->n_in < 2 + length)
			break;
		if (!sl_request_take(s, &client, stream->in + 2, length))
			return false;
		stream->n_in -= 2 + length;
		memmove(stream->in, stream->in + 2 + length, stream->n_in);
	}
	return true;
}

static bool read_some(struct sl_server *s, size_t i)
{
	struct sl_stream *stream = &s->streams[i];
	ssize_t n = recv(stream->fd, stream->in + stream->n_in, sizeof(stream->in) - stream->n_in,
			 0);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (!n)
		return false;
	stream->n_in += (size_t)n;
	stream->last_s = sl_server_now_s();
	return take_messages(s, i);
}

static bool write_some(struct sl_stream *stream)
{
	ssize_t n = send(stream->fd, stream->out, stream->n_out, MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	stream->n_out -= (size_t)n;
	memmove(stream->out, stream->out + n, stream->n_out);
	stream->last_s = sl_server_now_s();
	return true;
}

void sl_stream_send(struct sl_stream *stream, const __u8 *message, size_t length)
{
	__u8 *out;

	if (length > SL_DNS_WIRE_MAX)
		return;
	out = realloc(stream->out, stream->n_out + 2 + length);
	if (!out)
		return;
	stream->out = out;
	out += stream->n_out;
	out[0] = (__u8)(length >> 8);
	out[1] = (__u8)length;
	memcpy(out + 2, message, length);
	stream->n_out += 2 + length;
}

short sl_stream_wants(const struct sl_stream *stream)
{
	return (short)((stream->n_out ? POLLOUT : 0) |
		       (stream->n_out < SL_STREAM_OUT ? POLLIN : 0));
}

void sl_stream_ready(struct sl_server *s, size_t i, short events)
{
	struct sl_stream *stream = &s->streams[i];
	bool alive = true;

	if (events & POLLOUT)
		alive = write_some(stream);
	if (alive && (events & (POLLIN | POLLHUP | POLLERR)))
		alive = read_some(s, i);
	if (!alive)
		end(stream);
}

void sl_streams_expire(struct sl_server *s)
{
	time_t now = sl_server_now_s();

	for (size_t i = 0; i < SL_STREAMS; i++)
		if (s->streams[i].fd >= 0 && now - s->streams[i].last_s > SL_STREAM_IDLE_S)
			end(&s->streams[i]);
}

void sl_streams_end(struct sl_server *s)
{
	for (size_t i = 0; i < SL_STREAMS; i++)
		if (s->streams[i].fd >= 0)
			end(&s->streams[i]);
}
