// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A file that is followed. Its name is looked up at every turn; inotify only says when a turn
 * is worth it: the file was written to, or its folder has a new name in it. What is written to
 * the other files of the folder wakes nobody. After a rotation the old file is read on for a while, before the new one:
 * its writer has it open until it is told.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source_internal.h"

#define OLD_MS 10000

static void drop_old(struct sl_source *s)
{
	if (s->old_fd >= 0)
		close(s->old_fd);
	if (s->old_watch >= 0)
		inotify_rm_watch(s->wait_fd, s->old_watch);
	s->old_fd = s->old_watch = -1;
}

static int open_file(struct sl_source *s)
{
	struct stat st;
	int fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EINVAL;
	}
	s->fd = fd;
	s->offset = 0;
	s->watch = s->wait_fd < 0 ? -1 : inotify_add_watch(s->wait_fd, s->path, IN_MODIFY);
	return 0;
}

/* To the file's end; *turn is what may still be read in this turn. */
static int read_up(struct sl_source *s, int fd, struct sl_stream *stream, size_t *turn)
{
	bool end = false;
	ssize_t n;

	while (*turn && !end) {
		n = sl_source_take(fd, stream, &end);
		if (n < 0)
			return (int)n;
		if (fd == s->fd)
			s->offset += n;
		*turn -= (size_t)n < *turn ? (size_t)n : *turn;
	}
	return 0;
}

/* The file that is open got shorter: copied away and emptied. */
static void look_at_size(struct sl_source *s, struct sl_stream *stream)
{
	struct stat st;

	if (fstat(s->fd, &st) || st.st_size >= s->offset)
		return;
	sl_stream_cut(stream);
	lseek(s->fd, 0, SEEK_SET);
	s->offset = 0;
	s->stats.truncations++;
}

static bool is_another(const struct sl_source *s)
{
	struct stat named, open;

	return stat(s->path, &named) == 0 && fstat(s->fd, &open) == 0 &&
	       (named.st_ino != open.st_ino || named.st_dev != open.st_dev);
}

static int rotate(struct sl_source *s, struct sl_stream *stream, __s64 now_ms)
{
	int old = s->fd, old_watch = s->watch, err = open_file(s);

	if (err)
		return err;	/* it leaves what is open */
	drop_old(s);
	sl_stream_cut(stream);
	s->old_fd = old;
	s->old_watch = old_watch == s->watch ? -1 : old_watch;
	s->old_until_ms = now_ms + OLD_MS;
	s->stats.rotations++;
	return 0;
}

static void drain_events(const struct sl_source *s)
{
	char events[4096];

	/* as many as there are now, not as fast as they come */
	for (int i = 0; i < 8 && s->wait_fd >= 0; i++)
		if (read(s->wait_fd, events, sizeof(events)) <= 0)
			break;
}

static int read_file(struct sl_source *s, struct sl_stream *stream, __s64 now_ms)
{
	size_t turn = 16 * SL_READ_BYTES;
	int err = 0;

	drain_events(s);
	if (s->fd < 0 && open_file(s))
		return 0;
	if (s->old_fd >= 0) {
		err = read_up(s, s->old_fd, stream, &turn);
		if (err || now_ms >= s->old_until_ms)
			drop_old(s);
	}
	look_at_size(s, stream);
	err = read_up(s, s->fd, stream, &turn);
	if (err)
		return err;
	if (turn && is_another(s)) {
		/* what was written between the last read and the renaming */
		err = read_up(s, s->fd, stream, &turn);
		if (!err)
			err = rotate(s, stream, now_ms);
		return err == -ENOENT ? 0 : err ? err : 1;
	}
	return !turn;
}

static void close_file(struct sl_source *s)
{
	drop_old(s);
	if (s->fd >= 0)
		close(s->fd);
	if (s->wait_fd >= 0)
		close(s->wait_fd);
}

static int watch_folder(const char *path)
{
	char *copy = strdup(path);
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd >= 0 && (!copy || inotify_add_watch(fd, dirname(copy), IN_CREATE | IN_MOVED_TO |
						   IN_ONLYDIR) < 0)) {
		close(fd);
		fd = -1;
	}
	free(copy);
	return fd;	/* without it a tick is what there is */
}

int sl_source_follow(const char *path, bool from_start, struct sl_source **out)
{
	struct sl_source *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	*s = (struct sl_source){.read = read_file, .close = close_file, .fd = -1, .old_fd = -1,
				.watch = -1, .old_watch = -1, .wait_fd = watch_folder(path),
				.path = strdup(path)};
	err = s->path ? open_file(s) : -ENOMEM;
	/* one that is still to come is read from its start */
	if (!err && !from_start)
		s->offset = lseek(s->fd, 0, SEEK_END);
	if (err && err != -ENOENT) {
		sl_source_free(s);
		return err;
	}
	*out = s;
	return 0;
}
