// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A file of lines. Everything here may find the disk full, the directory read-only, no
 * descriptor left, the file renamed or cut by somebody else: what is not written stays in
 * the queue, and no line is ever half in the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "internal.h"

#define ROTATE_AGAIN_MS 60000	/* after a rotation that failed */
#define CHECK_MS 1000		/* whether the path still leads to the file */

struct file {
	int fd;			/* -1: not open */
	__s64 period;		/* of rotate_s, that the file belongs to */
	bool torn;		/* it ends in half a line: the next one begins anew */
	__u64 check_ms, rotate_ms;
};

static __s64 period_of(const struct sl_sink *s, __s64 unix_s)
{
	return s->config.rotate_s ? unix_s / s->config.rotate_s : 0;
}

static __s64 now_s(const struct sl_sink *s)
{
	return sl_clock_ns(&s->clock) / 1000000000;
}

/* Not through a link, and not into a pipe or a device: whoever may write to the
 * directory must not choose what root appends to. */
static int open_path(struct sl_sink *s, struct stat *st)
{
	int fd = open(s->config.path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY |
		      O_NONBLOCK | O_NOFOLLOW, s->config.mode), err = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, st))
		err = -errno;
	else if (!S_ISREG(st->st_mode))
		err = -EINVAL;
	else if (!st->st_size && (fchmod(fd, s->config.mode) ||
				  (s->config.group != (gid_t)-1 &&
				   fchown(fd, (uid_t)-1, s->config.group))))
		err = -errno;
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* What a writer before us was killed over. */
static bool ends_within_line(int fd, off_t size)
{
	char last;

	return size && pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

static int file_open(struct sl_sink *s)
{
	struct file *f = s->own;
	struct stat st = {};
	int fd;

	if (!f) {
		f = calloc(1, sizeof(*f));
		if (!f)
			return -ENOMEM;
		f->fd = -1;
		s->own = f;
	}
	fd = open_path(s, &st);
	if (fd < 0)
		return fd;
	if (f->fd >= 0)
		close(f->fd);
	f->fd = fd;
	f->torn = ends_within_line(fd, st.st_size);
	f->period = period_of(s, st.st_size ? st.st_mtime : now_s(s));
	return 0;
}

static void file_close(struct sl_sink *s)
{
	struct file *f = s->own;

	if (f && f->fd >= 0)
		close(f->fd);
	free(f);
	s->own = NULL;
}

/* ---- somebody else's rotation ---- */

static bool path_leads_here(const struct sl_sink *s, const struct file *f)
{
	struct stat here, there;

	return !fstat(f->fd, &here) && !lstat(s->config.path, &there) &&
	       here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

static bool asked_to_reopen(struct sl_sink *s)
{
	bool asked;

	pthread_mutex_lock(&s->lock);
	asked = s->reopen;
	s->reopen = false;
	pthread_mutex_unlock(&s->lock);
	return asked;
}

/* The file was renamed or removed: on in a new one. While that cannot be opened the
 * old one still takes the lines. */
static int follow_path(struct sl_sink *s)
{
	struct file *f = s->own;
	__u64 now = sl_monotonic_ms();
	bool asked = asked_to_reopen(s);
	int err;

	if (!asked && now < f->check_ms)
		return 0;
	f->check_ms = now + CHECK_MS;
	if (path_leads_here(s, f))
		return 0;
	err = file_open(s);
	if (err)
		sl_sink_failed(s, s->config.path, err);
	return err;
}

/* ---- our own ---- */

static int shift(const char *path, unsigned from)
{
	char *old = NULL, *new = NULL;
	int err = 0;

	if (asprintf(&old, from ? "%s.%u" : "%s", path, from) < 0)
		return -ENOMEM;
	if (asprintf(&new, "%s.%u", path, from + 1) < 0)
		err = -ENOMEM;
	else if (rename(old, new) && errno != ENOENT)
		err = -errno;
	free(old);
	free(new);
	return err;
}

/* On failure the file goes on growing, and it is tried again in a minute. */
static void rotate(struct sl_sink *s)
{
	struct file *f = s->own;
	int err = 0;

	for (unsigned i = s->config.keep; !err && i; i--)
		err = shift(s->config.path, i - 1);
	if (!err)
		err = file_open(s);
	if (err) {
		sl_sink_failed(s, "rotating", err);
		f->rotate_ms = sl_monotonic_ms() + ROTATE_AGAIN_MS;
		return;
	}
	pthread_mutex_lock(&s->lock);
	s->stats.rotations++;
	pthread_mutex_unlock(&s->lock);
}

/* By time: whenever the clock is in another period, be it earlier or later, so that a
 * clock that jumps costs one rotation, not one a record. */
static bool is_due(struct sl_sink *s, __u64 size, size_t next)
{
	struct file *f = s->own;

	if (!size || sl_monotonic_ms() < f->rotate_ms)
		return false;
	if (s->config.rotate_bytes && size + next > s->config.rotate_bytes)
		return true;
	return s->config.rotate_s && period_of(s, now_s(s)) != f->period;
}

static __u64 size_of(const struct file *f)
{
	struct stat st;

	return fstat(f->fd, &st) ? 0 : (__u64)st.st_size;
}

/* ---- writing ---- */

/* As many lines as one file takes before it must rotate. */
static unsigned gather(const struct sl_sink *s, struct sl_line **lines, unsigned n, __u64 size,
		       struct iovec *iov)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		if (i && s->config.rotate_bytes && size + lines[i]->len > s->config.rotate_bytes)
			break;
		iov[i] = (struct iovec){lines[i]->bytes, lines[i]->len};
		size += lines[i]->len;
	}
	return i;
}

/* What is written of the last line is taken back: it is written again, whole. */
static void cut(struct file *f, __u64 end)
{
	if (ftruncate(f->fd, (off_t)end))
		f->torn = true;
}

static int mend(struct file *f)
{
	if (f->torn && write(f->fd, "\n", 1) != 1)
		return errno ? -errno : -EIO;
	f->torn = false;
	return 0;
}

static int file_write(struct sl_sink *s, struct sl_line **lines, unsigned n, unsigned *done)
{
	struct iovec iov[SL_BATCH];
	struct file *f = s->own;
	__u64 size, whole = 0;
	ssize_t wrote;
	int err;

	follow_path(s);
	size = size_of(f);
	if (is_due(s, size, lines[0]->len)) {
		rotate(s);
		size = size_of(f);
	}
	err = mend(f);
	if (err)
		return err;
	wrote = writev(f->fd, iov, (int)gather(s, lines, n, size, iov));
	if (wrote < 0)
		return -errno;
	while (*done < n && whole + lines[*done]->len <= (__u64)wrote)
		whole += lines[(*done)++]->len;
	if (whole < (__u64)wrote)
		cut(f, size_of(f) - ((__u64)wrote - whole));
	return whole || !wrote ? 0 : -ENOSPC;
}

static int file_tick(struct sl_sink *s)
{
	struct file *f = s->own;
	int err = follow_path(s);
	__u64 size = size_of(f);

	/* a file of an hour that is over does not wait for the next record */
	if (!err && s->config.rotate_s && is_due(s, size, 0))
		rotate(s);
	return 0;	/* said */
}

const struct sl_sink_ops sl_file_ops = {
	.kind = "file", .shape = SL_SHAPE_LINE, .open = file_open, .write = file_write,
	.tick = file_tick, .close = file_close,
};
