// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Sources: what they share, standard input and the socket. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "source_internal.h"

#define DELAY_MIN_MS 100
#define DELAY_MAX_MS 10000

ssize_t sl_source_take(int fd, struct sl_stream *stream, bool *end)
{
	static char buffer[SL_READ_BYTES];
	ssize_t n = read(fd, buffer, sizeof(buffer));

	*end = !n;
	if (n > 0)
		sl_stream_bytes(stream, buffer, (size_t)n);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return n < 0 ? -errno : n;
}

__s64 sl_source_jitter(__s64 n)
{
	__u32 random = 0;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		return 0;
	return random % n;
}

void sl_source_free(struct sl_source *s)
{
	if (!s)
		return;
	s->close(s);
	free(s->path);
	free(s);
}

int sl_source_fd(const struct sl_source *s)
{
	return s->wait_fd;
}

int sl_source_read(struct sl_source *s, struct sl_stream *stream, __s64 now_ms)
{
	return s->read(s, stream, now_ms);
}

const struct sl_source_stats *sl_source_stats(const struct sl_source *s)
{
	return &s->stats;
}

/* ---- standard input ---- */

static int read_stdin(struct sl_source *s, struct sl_stream *stream, __s64 now_ms)
{
	struct pollfd poll_fd = {.fd = s->fd, .events = POLLIN};
	bool end;
	ssize_t n;

	/* O_NONBLOCK would be its other users' too. */
	if (poll(&poll_fd, 1, 0) <= 0)
		return 0;
	n = sl_source_take(s->fd, stream, &end);
	if (n < 0)
		return (int)n;
	if (end)
		sl_stream_cut(stream);
	return end ? -EPIPE : 1;
}

static void close_stdin(struct sl_source *s)
{
}

int sl_source_stdin(struct sl_source **out)
{
	struct sl_source *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	*s = (struct sl_source){.read = read_stdin, .close = close_stdin, .fd = STDIN_FILENO,
				.wait_fd = STDIN_FILENO, .old_fd = -1};
	*out = s;
	return 0;
}

/* ---- the socket ---- */

static void disconnect(struct sl_source *s, __s64 now_ms, const char *why)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = s->wait_fd = -1;
	snprintf(s->stats.trouble, sizeof(s->stats.trouble), "%s: %s", s->path, why);
	s->again_ms = now_ms + s->delay_ms + sl_source_jitter(s->delay_ms / 2 + 1);
	s->delay_ms = s->delay_ms * 2 < DELAY_MAX_MS ? s->delay_ms * 2 : DELAY_MAX_MS;
}

static int try_connect(struct sl_source *s)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	strcpy(address.sun_path, s->path);	/* its length was looked at */
	if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		int err = -errno;

		close(fd);
		return err;
	}
	s->fd = s->wait_fd = fd;
	s->stats.connections++;
	s->stats.trouble[0] = 0;
	return 0;
}

static int read_socket(struct sl_source *s, struct sl_stream *stream, __s64 now_ms)
{
	bool end = false;
	ssize_t n;
	int err;

	if (s->fd < 0) {
		if (now_ms < s->again_ms)
			return 0;
		err = try_connect(s);
		if (err)
			disconnect(s, now_ms, strerror(-err));
		return !err;
	}
	n = sl_source_take(s->fd, stream, &end);
	if (n > 0)
		s->delay_ms = DELAY_MIN_MS;
	if (n < 0 || end) {
		sl_stream_cut(stream);
		disconnect(s, now_ms, n < 0 ? strerror((int)-n) : "the writer has gone");
	}
	return n == SL_READ_BYTES;
}

static void close_socket(struct sl_source *s)
{
	if (s->fd >= 0)
		close(s->fd);
}

int sl_source_socket(const char *path, struct sl_source **out)
{
	struct sl_source *s;

	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return -ENAMETOOLONG;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	*s = (struct sl_source){.read = read_socket, .close = close_socket, .fd = -1,
				.wait_fd = -1, .old_fd = -1, .path = strdup(path),
				.delay_ms = DELAY_MIN_MS};
	if (!s->path) {
		free(s);
		return -ENOMEM;
	}
	*out = s;
	return 0;
}
