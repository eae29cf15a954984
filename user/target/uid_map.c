// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/nsfs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/text.h"
#include "processes.h"
#include "uid_map.h"

#define MAX_NESTING 33	/* user namespaces: user_namespaces(7) */

int sl_uid_map_read(FILE *in, struct sl_uid_map *map)
{
	struct sl_uid_range range, *slot;
	int got;

	while ((got = fscanf(in, "%" SCNu32 " %" SCNu32 " %" SCNu32, &range.inside, &range.outside,
			     &range.count)) == 3) {
		slot = SL_ADD(map->ranges, map->n);
		if (!slot)
			return -ENOMEM;
		*slot = range;
	}
	if (ferror(in))
		return -EIO;
	return got == EOF ? 0 : -EINVAL;
}

/* ---- the namespace that holds all the others ---- */

struct search {
	struct sl_uid_map *map;
	int top;		/* the user namespace, or -1 */
	ino_t nested;		/* one that is known to be below it */
	bool any_nested;
	int err;
};

static ino_t number_of(int ns_fd)
{
	struct stat st;

	return fstat(ns_fd, &st) ? 0 : st.st_ino;
}

static bool is_below(int ns_fd, int top_fd)
{
	ino_t top = number_of(top_fd);
	int fd = ioctl(ns_fd, NS_GET_PARENT), parent;
	bool found = false;

	for (int i = 0; fd >= 0 && !found && i < MAX_NESTING; i++) {
		found = number_of(fd) == top;
		parent = found ? -1 : ioctl(fd, NS_GET_PARENT);
		close(fd);
		fd = parent;
	}
	if (fd >= 0)
		close(fd);
	return found;
}

static int read_map(int proc_fd, struct sl_uid_map *map)
{
	int fd = openat(proc_fd, "uid_map", O_RDONLY | O_CLOEXEC), err;
	FILE *in = fd < 0 ? NULL : fdopen(fd, "r");

	if (!in) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	map->n = 0;
	err = sl_uid_map_read(in, map);
	fclose(in);
	return err;
}

/* The process may have entered another namespace before its map was read. */
static void adopt(struct search *s, int proc_fd, int ns_fd)
{
	int err = read_map(proc_fd, s->map), again = openat(proc_fd, "ns/user", O_RDONLY | O_CLOEXEC);

	if (again < 0 || number_of(again) != number_of(ns_fd))
		s->err = -ESTALE;
	else
		s->err = err;
	if (again >= 0)
		close(again);
	if (s->top >= 0)
		close(s->top);
	s->top = ns_fd;
}

/* Takes ns_fd over. */
static void weigh(struct search *s, int proc_fd, int ns_fd)
{
	ino_t number = number_of(ns_fd);

	if (s->top < 0) {
		adopt(s, proc_fd, ns_fd);
		return;
	}
	if (number == number_of(s->top) || (s->any_nested && number == s->nested)) {
		close(ns_fd);
	} else if (is_below(ns_fd, s->top)) {
		s->nested = number;
		s->any_nested = true;
		close(ns_fd);
	} else if (is_below(s->top, ns_fd)) {
		s->any_nested = true;
		s->nested = number_of(s->top);
		adopt(s, proc_fd, ns_fd);
	} else {
		close(ns_fd);
		s->err = -EMLINK;
	}
}

static bool look_at(void *context, int proc_fd)
{
	struct search *s = context;
	int ns_fd = openat(proc_fd, "ns/user", O_RDONLY | O_CLOEXEC);

	if (ns_fd >= 0)
		weigh(s, proc_fd, ns_fd);
	else if (errno != ESRCH && errno != ENOENT)
		s->err = -errno;
	return s->err != 0;
}

static bool is_own(int ns_fd)
{
	int own = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
	bool same = own >= 0 && number_of(own) == number_of(ns_fd);

	if (own >= 0)
		close(own);
	return same;
}

static enum sl_uid_map_state judge(const struct search *s)
{
	if (s->err)
		return s->err == -EMLINK ? SL_UID_MAP_SEVERAL : SL_UID_MAP_UNREADABLE;
	if (s->top < 0)
		return SL_UID_MAP_NOBODY;
	if (s->any_nested && is_own(s->top))
		return SL_UID_MAP_SEVERAL;
	return s->map->n ? SL_UID_MAP_FOUND : SL_UID_MAP_EMPTY;
}

void sl_uid_map_look(int cgroup_fd, sl_foreign_fn *foreign, struct sl_uid_map *map)
{
	struct search s = {.map = map, .top = -1};

	sl_each_process(cgroup_fd, foreign, look_at, &s);
	map->state = judge(&s);
	if (s.top >= 0)
		close(s.top);
}

static const char *const reasons[SL_UID_MAP_STATES] = {
	[SL_UID_MAP_FOUND] = "its user namespace maps no such uid (/proc/PID/uid_map)",
	[SL_UID_MAP_NOBODY] = "the cgroup has no process whose user namespace could be looked at; "
			      "start the container first, or write the host's uid",
	[SL_UID_MAP_SEVERAL] = "its processes are in several user namespaces, and none but the "
			       "host's holds them all; write the host's uid",
	[SL_UID_MAP_EMPTY] = "its user namespace has no uid map yet",
	[SL_UID_MAP_UNREADABLE] = "the uid map of its processes cannot be read",
};

int sl_uid_map_host(const struct sl_uid_map *map, __u32 inside, __u32 *outside, const char **why)
{
	for (size_t i = 0; map->state == SL_UID_MAP_FOUND && i < map->n; i++) {
		const struct sl_uid_range *range = &map->ranges[i];

		if (inside >= range->inside && inside - range->inside < range->count) {
			*outside = range->outside + (inside - range->inside);
			return 0;
		}
	}
	*why = reasons[map->state];
	return -ENOENT;
}

void sl_uid_map_free(struct sl_uid_map *map)
{
	free(map->ranges);
	map->ranges = NULL;
	map->n = 0;
}
