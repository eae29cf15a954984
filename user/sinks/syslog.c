// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * RFC 5424 to a local datagram socket, over UDP (RFC 5426), or over TCP with octet
 * counting (RFC 6587, section 3.4.1). None of them acknowledges: what a peer had not read
 * when it died is only seen by the gap in the numbers.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "internal.h"

#define CONNECT_MS 3000
#define SEND_MS 200

struct peer {
	int fd;		/* -1: none */
	char *frame;	/* owned: what is being sent over TCP, with its count */
	size_t len;
};

static socklen_t address_of(const struct sl_sink_config *c, struct sockaddr_storage *out)
{
	struct sockaddr_un *un = (void *)out;
	struct sockaddr_in *in = (void *)out;
	struct sockaddr_in6 *in6 = (void *)out;

	memset(out, 0, sizeof(*out));
	if (c->transport == SL_SYSLOG_UNIX) {
		un->sun_family = AF_UNIX;
		strcpy(un->sun_path, c->path);	/* its length was checked */
		return sizeof(*un);
	}
	if (inet_pton(AF_INET, c->host, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)c->port);
		return sizeof(*in);
	}
	inet_pton(AF_INET6, c->host, &in6->sin6_addr);
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons((uint16_t)c->port);
	return sizeof(*in6);
}

static int wait_for(int fd, short events, int ms)
{
	struct pollfd p = {.fd = fd, .events = events};
	int n = poll(&p, 1, ms);

	return n < 0 ? -errno : n ? 0 : -EAGAIN;
}

static int connect_to(int fd, const struct sockaddr_storage *to, socklen_t len)
{
	socklen_t size = sizeof(int);
	int err;

	if (!connect(fd, (const void *)to, len))
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	err = wait_for(fd, POLLOUT, CONNECT_MS);
	if (err)
		return err == -EAGAIN ? -ETIMEDOUT : err;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size))
		return -errno;
	return -err;
}

static int syslog_open(struct sl_sink *s)
{
	struct peer *p = s->own;
	struct sockaddr_storage to;
	socklen_t len = address_of(&s->config, &to);
	int type = s->config.transport == SL_SYSLOG_TCP ? SOCK_STREAM : SOCK_DGRAM, err;

	if (!p) {
		p = s->own = calloc(1, sizeof(*p));
		if (!p)
			return -ENOMEM;
		p->fd = -1;
	}
	if (p->fd >= 0)
		close(p->fd);
	s->offset = 0;	/* a line that was cut is sent again, whole */
	p->fd = socket(to.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	err = p->fd < 0 ? -errno : connect_to(p->fd, &to, len);
	if (err && p->fd >= 0) {
		close(p->fd);
		p->fd = -1;
	}
	return err;
}

static size_t make_header(const struct sl_sink *s, const struct sl_line *line, char buf[16])
{
	return (size_t)snprintf(buf, 16, "<%u>", s->config.facility * 8 + line->level);
}

static int send_datagram(struct sl_sink *s, const struct sl_line *line)
{
	char header[16];
	struct iovec iov[2] = {{header, make_header(s, line, header)},
			       {(void *)line->bytes, line->len}};
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
	struct peer *p = s->own;

	while (sendmsg(p->fd, &m, MSG_NOSIGNAL) < 0) {
		if (errno != EAGAIN)
			return -errno;
		if (wait_for(p->fd, POLLOUT, SEND_MS))
			return -EAGAIN;
	}
	return 0;
}

/* ---- TCP ---- */

static int make_frame(struct sl_sink *s, const struct sl_line *line)
{
	struct peer *p = s->own;
	char header[16], count[24], *frame;
	size_t n = make_header(s, line, header), digits;

	digits = (size_t)snprintf(count, sizeof(count), "%zu ", n + line->len);
	frame = realloc(p->frame, digits + n + line->len);
	if (!frame)
		return -ENOMEM;
	memcpy(frame, count, digits);
	memcpy(frame + digits, header, n);
	memcpy(frame + digits + n, line->bytes, line->len);
	p->frame = frame;
	p->len = digits + n + line->len;
	return 0;
}

/* A server that has closed says so before we send into the void. */
static bool has_closed(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return !n || (n < 0 && errno != EAGAIN);
}

static int send_frame(struct sl_sink *s, const struct sl_line *line)
{
	struct peer *p = s->own;
	int err = s->offset ? 0 : has_closed(p->fd) ? -EPIPE : make_frame(s, line);
	ssize_t n;

	while (!err && s->offset < p->len) {
		n = send(p->fd, p->frame + s->offset, p->len - s->offset, MSG_NOSIGNAL);
		if (n >= 0)
			s->offset += (__u64)n;
		else if (errno != EAGAIN)
			err = -errno;
		else if (wait_for(p->fd, POLLOUT, SEND_MS))
			return -EAGAIN;	/* slow: the rest later */
	}
	if (err) {
		s->opened = false;
		return err;
	}
	s->offset = 0;
	return 0;
}

static int syslog_write(struct sl_sink *s, struct sl_line **lines, unsigned n, unsigned *done)
{
	int err = 0;

	for (; !err && *done < n; *done += !err)
		err = s->config.transport == SL_SYSLOG_TCP ? send_frame(s, lines[*done]) :
							     send_datagram(s, lines[*done]);
	/* a new socket file may be another server's */
	if (err && err != -EAGAIN && s->config.transport == SL_SYSLOG_UNIX)
		s->opened = false;
	return err;
}

static void syslog_close(struct sl_sink *s)
{
	struct peer *p = s->own;

	if (p && p->fd >= 0)
		close(p->fd);
	if (p)
		free(p->frame);
	free(p);
	s->own = NULL;
}

const struct sl_sink_ops sl_syslog_ops = {
	.kind = "syslog", .shape = SL_SHAPE_SYSLOG, .open = syslog_open, .write = syslog_write,
	.close = syslog_close,
};
