// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Targets whose device or cgroup is gone, or that were given up half-way, are found and
 * forgotten. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "state_internal.h"

/* Of those in use, for each target that is attached: more than one, so that what is
 * gone is found sooner than it gathers; few, so that attaching the thousandth costs what
 * the first did. */
#define SWEEP_SOME 16

/* A device that may be there but that nothing judges any more, or that judges it elsewhere,
 * stays, until it is detached or attached again: `status` says so, as long as it is so. */
static bool is_gone(struct sl_state *s, __u32 slot, const struct sl_target *t)
{
	if (t->kind == SL_TARGET_CGROUP)
		return sl_state_is_cgroup_over(s, slot, t);
	if (t->kind != SL_TARGET_DEVICE || sl_state_is_linked(s, t))
		return false;
	return !(t->flags & SL_TARGET_LIVE) || !sl_state_may_live(s, t);
}

static bool netns_in_use(const struct sl_state *s, __u64 netns)
{
	__u32 i;

	for (i = 0; i < SL_SLOTS; i++)
		if (s->targets[i].kind == SL_TARGET_DEVICE && s->targets[i].netns == netns &&
		    !sl_state_is_pending(s, i))
			return true;
	return false;
}

static void remove_netns(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(path);
}

/* A namespace that is gone leaves its directory: no link of it is on a device. */
static void sweep_netns(const struct sl_state *s)
{
	DIR *dir = opendir(s->path);
	struct dirent *entry;
	char *path;

	while (dir && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "netns-", 6) ||
		    strtoull(entry->d_name + 6, NULL, 10) == s->netns)
			continue;
		path = sl_state_pin(s, false, "%s", entry->d_name);
		if (path && !netns_in_use(s, strtoull(entry->d_name + 6, NULL, 10)))
			remove_netns(path);
		free(path);
	}
	if (dir)
		closedir(dir);
}

/* Forgets it if it is gone; how many that are. */
static int sweep_slot(struct sl_state *s, __u32 slot)
{
	struct sl_target t = s->targets[slot];

	if (sl_state_is_pending(s, slot) || !is_gone(s, slot, &t))
		return 0;
	if (t.kind == SL_TARGET_CGROUP)
		sl_state_forget_cgroup(s, slot, &t);
	else
		sl_state_forget_target(s, slot, &t);
	return 1;
}

int sl_state_sweep(struct sl_state *s)
{
	int n = 0;
	__u32 i;

	if (!s->path)
		return 0;
	for (i = 0; i < SL_SLOTS; i++)
		n += sweep_slot(s, i);
	sweep_netns(s);
	sl_state_sweep_points(s);
	return n;
}

void sl_state_sweep_some(struct sl_state *s)
{
	__u32 i, at = s->info.swept, used = 0;

	if (!s->path)
		return;
	for (i = 0; i < SL_SLOTS && used < SWEEP_SOME; i++, at++) {
		if (at >= SL_SLOTS) {
			at = 0;
			sweep_netns(s);
		}
		if (s->targets[at].kind == SL_TARGET_FREE)
			continue;
		sweep_slot(s, at);
		used++;
	}
	if (used) {
		s->info.swept = at;
		sl_state_write_info(s);
	}
}

int sl_state_find_room(struct sl_state *s, __u32 *slot, struct sl_diag *diag)
{
	int err = sl_state_find_free(s, slot);

	if (!err)
		return 0;
	sl_state_sweep(s);
	sl_state_settle(s);
	err = sl_state_find_free(s, slot);
	if (err)
		sl_error(diag, NULL, "%u targets are attached, no more have room; detach one "
			 "(`sluice status` lists them)", SL_SLOTS);
	return err;
}

