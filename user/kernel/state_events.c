// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Reading the state: events, by one process at a time. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "state_internal.h"

/* ---- whose they are ---- */

/* Who holds a flock on the file: flock(2) does not say, /proc/locks does. 0: unknown
 * (a process of other process ids). */
static int holder_of(const char *path)
{
	unsigned long long inode;
	int pid, found = 0;
	char *line = NULL;
	struct stat st;
	size_t size = 0;
	FILE *in = stat(path, &st) ? NULL : fopen("/proc/locks", "re");

	while (in && !found && getline(&line, &size, in) > 0)
		if (sscanf(line, "%*u: FLOCK %*s WRITE %d %*x:%*x:%llu", &pid, &inode) == 2 &&
		    inode == st.st_ino && pid > 0)
			found = pid;
	free(line);
	if (in)
		fclose(in);
	return found;
}

static int refuse_reader(const struct sl_state *s, const char *lock, struct sl_diag *diag)
{
	int pid = holder_of(lock);
	char who[40] = "another process";

	if (pid)
		snprintf(who, sizeof(who), "process %d", pid);
	sl_error(diag, NULL, "%s: the events are being read by %s (`monitor`, or `watch` with --log "
		 "or -v), and what one takes the other does not see: end it, or look at its log", s->path,
		 who);
	return -EBUSY;
}

/* A directory, since a bpf file system has no other files. */
int sl_state_claim_events(struct sl_state *s, struct sl_diag *diag)
{
	char *lock;
	int fd, err = 0;

	if (!s->path || s->reader_fd >= 0)
		return 0;
	lock = sl_state_pin(s, false, "reader");
	if (!lock)
		return -ENOMEM;
	fd = mkdir(lock, 0700) && errno != EEXIST ? -1 :
		     open(lock, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB))
		err = -errno;
	if (err == -EWOULDBLOCK)
		err = refuse_reader(s, lock, diag);
	else if (err)
		sl_error(diag, NULL, "%s: %s", lock, strerror(-err));
	if (err && fd >= 0)
		close(fd);
	if (!err)
		s->reader_fd = fd;
	free(lock);
	return err;
}

int sl_state_events_reader(const struct sl_state *s)
{
	char *lock = s->path ? sl_state_pin(s, false, "reader") : NULL;
	int pid = lock ? holder_of(lock) : 0;

	free(lock);
	return pid;
}

/* ---- them ---- */

static int on_event(void *context, void *data, size_t size)
{
	struct sl_state *s = context;

	if (size >= sizeof(struct sl_event))
		s->handler(s->context, data);
	return 0;
}

static int open_ring(struct sl_state *s)
{
	struct sl_diag ignored = {};
	int err = sl_state_claim_events(s, &ignored);

	sl_diag_free(&ignored);
	if (err)
		return err;
	if (!s->ring)
		s->ring = ring_buffer__new(s->maps[SL_M_EVENTS], on_event, s, NULL);
	return s->ring ? 0 : -errno;
}

int sl_state_events_fd(struct sl_state *s)
{
	int err = open_ring(s);

	return err ? err : ring_buffer__epoll_fd(s->ring);
}

int sl_state_drain(struct sl_state *s, sl_event_handler handler, void *context)
{
	int err = open_ring(s);

	if (err)
		return err;
	sl_state_tell_ends(s);
	s->handler = handler;
	s->context = context;
	return ring_buffer__consume(s->ring);
}
