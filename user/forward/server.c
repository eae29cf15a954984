// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The loop of the forwarder's process. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server.h"

#define DATAGRAMS 64		/* at once, before anything else has its turn */

enum { LIFE, EVENTS, UDP, TCP, RESOLVER, STREAMS, N_POLLS = STREAMS + SL_STREAMS };

time_t sl_server_now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

void sl_client_send(struct sl_server *s, const struct sl_client *client, const __u8 *message,
		    size_t length)
{
	struct sl_stream *stream;

	if (client->stream < 0) {
		sendto(s->options.udp_fd, message, length, MSG_NOSIGNAL | MSG_DONTWAIT,
		       (const struct sockaddr *)&client->address, sizeof(client->address));
		return;
	}
	stream = &s->streams[client->stream];
	if (stream->fd >= 0 && stream->serial == client->serial)
		sl_stream_send(stream, message, length);
}

static void take_datagrams(struct sl_server *s)
{
	struct sl_client client = {.stream = -1};
	__u8 message[SL_QUESTION_MAX];
	socklen_t size;
	ssize_t n;

	for (int i = 0; i < DATAGRAMS; i++) {
		size = sizeof(client.address);
		n = recvfrom(s->options.udp_fd, message, sizeof(message), MSG_DONTWAIT,
			     (struct sockaddr *)&client.address, &size);
		if (n < 0)
			return;
		sl_request_take(s, &client, message, (size_t)n);
	}
}

/* Is anybody left who could ask? */
static bool is_populated(int events_fd)
{
	char text[256];
	ssize_t n = pread(events_fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return false;	/* the cgroup is gone */
	text[n] = 0;
	return !strstr(text, "populated 0");
}

static void fill_polls(const struct sl_server *s, struct pollfd polls[N_POLLS])
{
	const struct sl_server_options *o = &s->options;

	polls[LIFE] = (struct pollfd){s->parent_gone ? -1 : o->life_fd, POLLIN, 0};
	polls[EVENTS] = (struct pollfd){s->parent_gone ? o->events_fd : -1, POLLPRI, 0};
	polls[UDP] = (struct pollfd){o->udp_fd, POLLIN, 0};
	polls[TCP] = (struct pollfd){o->tcp_fd, POLLIN, 0};
	polls[RESOLVER] = (struct pollfd){sl_resolver_fd(o->resolver), POLLIN, 0};
	for (size_t i = 0; i < SL_STREAMS; i++)
		polls[STREAMS + i] = (struct pollfd){s->streams[i].fd,
						     sl_stream_wants(&s->streams[i]), 0};
}

/* What poll has found. False: it is time to end. */
static bool serve(struct sl_server *s, const struct pollfd polls[N_POLLS])
{
	if (polls[LIFE].revents)
		s->parent_gone = true;
	if (s->parent_gone && !is_populated(s->options.events_fd))
		return false;
	for (size_t i = 0; i < SL_STREAMS; i++)
		if (polls[STREAMS + i].revents)
			sl_stream_ready(s, i, polls[STREAMS + i].revents);
	sl_resolver_process(s->options.resolver);
	if (polls[UDP].revents)
		take_datagrams(s);
	if (polls[TCP].revents)
		sl_stream_accept(s);
	sl_streams_expire(s);
	return true;
}

/* At most a connection's idle time: the end of one is no event. */
static int next_time_out_ms(const struct sl_server *s)
{
	int resolver = sl_resolver_timeout_ms(s->options.resolver), own = SL_STREAM_IDLE_S * 1000;

	return resolver < 0 || resolver > own ? own : resolver;
}

int sl_server_run(const struct sl_server_options *options)
{
	struct sl_server *s = calloc(1, sizeof(*s));
	socklen_t size = sizeof(s->address);
	struct pollfd polls[N_POLLS];
	int err = 0, n;

	if (!s)
		return -ENOMEM;
	s->options = *options;
	sl_streams_init(s);
	if (getsockname(options->udp_fd, (struct sockaddr *)&s->address, &size))
		err = -errno;
	while (!err) {
		fill_polls(s, polls);
		n = poll(polls, N_POLLS, next_time_out_ms(s));
		if (n < 0 && errno != EINTR)
			err = -errno;
		else if (n >= 0 && !serve(s, polls))
			break;
	}
	sl_streams_end(s);
	free(s);
	return err;
}
