// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Lines on standard output: a pipe whose reader sleeps holds nobody but this queue. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include "internal.h"

#define WAIT_MS 200

static int stdout_open(struct sl_sink *s)
{
	struct pollfd p = {.fd = STDOUT_FILENO};

	return poll(&p, 1, 0) < 0 ? -errno : p.revents & POLLNVAL ? -EBADF : 0;
}

/* A pipe that polls writable takes PIPE_BUF bytes at once (pipe(7)): so write does not
 * wait, though the descriptor, which others share, is left as it is. */
static int write_some(const char *bytes, size_t len, size_t *out)
{
	struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};
	ssize_t n;

	if (poll(&p, 1, WAIT_MS) <= 0)
		return -EAGAIN;
	n = write(STDOUT_FILENO, bytes, len < PIPE_BUF ? len : PIPE_BUF);
	if (n < 0)
		return -errno;
	*out = (size_t)n;
	return 0;
}

static int stdout_write(struct sl_sink *s, struct sl_line **lines, unsigned n, unsigned *done)
{
	size_t wrote = 0;
	int err;

	for (; *done < n; (*done)++, s->offset = 0)
		while (s->offset < lines[*done]->len) {
			err = write_some(lines[*done]->bytes + s->offset,
					 lines[*done]->len - s->offset, &wrote);
			if (err)
				return err;
			s->offset += wrote;
		}
	return 0;
}

static void stdout_close(struct sl_sink *s)
{
}

const struct sl_sink_ops sl_stdout_ops = {
	.kind = "stdout", .shape = SL_SHAPE_LINE, .open = stdout_open, .write = stdout_write,
	.close = stdout_close,
};
