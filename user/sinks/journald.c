// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * journald's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): a datagram for each
 * record, or, for one that is too long for a datagram, a sealed memfd. Our own, not
 * libsystemd's sd_journal_sendv, since that may wait for journald without end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "internal.h"

#define SEND_MS 200

struct journal {
	int fd;
	struct sockaddr_un to;
};

static int journald_open(struct sl_sink *s)
{
	const struct timeval wait = {.tv_usec = SEND_MS * 1000};
	struct journal *j = s->own;

	if (!j) {
		j = s->own = calloc(1, sizeof(*j));
		if (!j)
			return -ENOMEM;
		j->fd = -1;
		j->to.sun_family = AF_UNIX;
		strcpy(j->to.sun_path, s->config.path);	/* its length was checked */
	}
	if (access(s->config.path, F_OK))
		return -errno;
	if (j->fd >= 0)
		return 0;
	j->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (j->fd < 0)
		return -errno;
	if (setsockopt(j->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)))
		return -errno;
	return 0;
}

static int send_memfd(const struct journal *j, const struct sl_line *line)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {};
	struct msghdr m = {.msg_name = (void *)&j->to, .msg_namelen = sizeof(j->to),
			   .msg_control = &control, .msg_controllen = sizeof(control)};
	int fd = memfd_create("sluice-record", MFD_CLOEXEC | MFD_ALLOW_SEALING), err = 0;

	if (fd < 0)
		return -errno;
	/* all four seals: journald takes no other */
	if (write(fd, line->bytes, line->len) != (ssize_t)line->len ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL))
		err = -EIO;
	control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
					  .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	if (!err && sendmsg(j->fd, &m, MSG_NOSIGNAL) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int send_line(const struct journal *j, const struct sl_line *line)
{
	if (sendto(j->fd, line->bytes, line->len, MSG_NOSIGNAL, (const void *)&j->to,
		   sizeof(j->to)) >= 0)
		return 0;
	return errno == EMSGSIZE || errno == ENOBUFS ? send_memfd(j, line) : -errno;
}

static int journald_write(struct sl_sink *s, struct sl_line **lines, unsigned n, unsigned *done)
{
	int err = 0;

	while (*done < n) {
		err = send_line(s->own, lines[*done]);
		if (err)
			break;
		(*done)++;
	}
	return err;
}

static void journald_close(struct sl_sink *s)
{
	struct journal *j = s->own;

	if (j && j->fd >= 0)
		close(j->fd);
	free(j);
	s->own = NULL;
}

const struct sl_sink_ops sl_journald_ops = {
	.kind = "journald", .shape = SL_SHAPE_JOURNAL, .open = journald_open,
	.write = journald_write, .close = journald_close,
};
