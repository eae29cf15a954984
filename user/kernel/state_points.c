// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Attach points: cgroups that carry the programs (state_links.c). One is enough on a path:
 * the programs find the nearest target. Where a target comes to stand above others, their
 * attach points are folded into its own: each target's word is changed to say so, then
 * the links below go.
 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "complaint.h"
#include "state_internal.h"

/* ---- attach points ---- */

/* So many levels up. */
static int open_above(int fd, unsigned levels)
{
	char path[3 * SL_CGROUP_LEVELS + 2] = ".";
	unsigned i;

	for (i = 0; i < levels; i++)
		memcpy(path + 1 + 3 * i, "/..", 4);
	fd = openat(fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int sl_state_open_point(const struct sl_cgroup_target *cgroup, unsigned level,
			struct sl_point_place *place)
{
	int fd = level > cgroup->level ? -EINVAL :
		 level < cgroup->top   ? -EXDEV :
					 open_above(cgroup->fd, cgroup->level - level);

	if (fd < 0)
		return fd;
	*place = (struct sl_point_place){.id = cgroup->ids[level], .level = level, .fd = fd};
	return 0;
}

int sl_state_find_point(const struct sl_state *s, const struct sl_cgroup_target *cgroup,
			struct sl_point_place *place)
{
	unsigned level = 0;

	while (level < cgroup->level && !sl_state_has_links(s, cgroup->ids[level], false))
		level++;
	return sl_state_open_point(cgroup, level, place);
}

/* Of a target that was forgotten nothing is left in its slot but that it is no other's
 * yet. */
static bool is_of(const struct sl_target *t, __u64 point)
{
	return t->kind == SL_TARGET_CGROUP && (t->point == point || t->point_before == point);
}

static bool is_used(const struct sl_state *s, __u64 point)
{
	__u32 i;

	for (i = 0; i < SL_SLOTS; i++)
		if (is_of(&s->targets[i], point))
			return true;
	return false;
}

void sl_state_drop_point(struct sl_state *s, __u64 id)
{
	if (!is_used(s, id))
		sl_state_drop_links(s, id);
}

/* ---- levels ---- */

static int add_level(struct sl_point *p, __u32 level)
{
	__u32 at = 0;

	while (at < p->n && p->levels[at] > level)
		at++;
	if (at < p->n && p->levels[at] == level)
		return 0;
	if (p->n == SL_POINT_LEVELS)
		return -E2BIG;
	memmove(&p->levels[at + 1], &p->levels[at], (p->n - at) * sizeof(*p->levels));
	p->levels[at] = level;
	p->n++;
	return 0;
}

/* Those of its own targets, and of those that a lower attach point judges: it might be
 * below this one, whose programs would else take their sockets for a higher target's. */
int sl_state_write_levels(struct sl_state *s, __u64 id, __u32 level, struct sl_diag *diag)
{
	struct sl_point p = {.cgroup_id = id, .level = level};
	const struct sl_target *t;
	int err = 0;
	__u32 i;

	for (i = 0; i < SL_SLOTS && !err; i++) {
		t = &s->targets[i];
		if (is_of(t, id) || (t->kind == SL_TARGET_CGROUP && t->point_level > level))
			err = add_level(&p, t->cgroup_level);
	}
	if (!err && bpf_map_update_elem(s->points, &id, &p, 0))
		err = -errno;
	if (err == -E2BIG)
		sl_error(diag, NULL, "targets at more than %u different depths below one cgroup: "
			 "the programs follow no more", SL_POINT_LEVELS);
	else if (err)
		sl_say_why(diag, "the cgroup's attach point cannot be written", err);
	return err;
}

int sl_state_lead_cgroup(const struct sl_state *s, const struct sl_target *t, __u32 slot)
{
	__u64 word = SL_CGROUP_WORD(t->cgroup_id, t->point_level, slot);

	return bpf_map_update_elem(s->cgroups, &t->cgroup_id, &word, 0) ? -errno : 0;
}

/* ---- folding ---- */

static int end_move(const struct sl_state *s, __u32 slot, struct sl_target *t)
{
	int err = sl_state_lead_cgroup(s, t, slot);

	t->point_before = 0;
	return err ? err : sl_state_write_target(s, slot, t);
}

/* Targets of a fold that was given up: their words say what they said before, or the new. */
static void end_moves(const struct sl_state *s)
{
	struct sl_target t;
	__u32 i;

	for (i = 0; i < SL_SLOTS; i++) {
		t = s->targets[i];
		if (t.kind == SL_TARGET_CGROUP && t.point_before)
			end_move(s, i, &t);
	}
}

/* The word alone says who judges; until it is changed both attach points are in use,
 * whoever dies meanwhile. */
static int move_target(struct sl_state *s, __u32 slot, struct sl_target *t,
		       const struct sl_point_place *place)
{
	int err = t->point_before ? end_move(s, slot, t) : 0;

	if (err)
		return err;
	t->point_before = t->point;
	t->point = place->id;
	t->point_level = place->level;
	err = sl_state_write_target(s, slot, t);
	return err ? err : end_move(s, slot, t);
}

static void fold(struct sl_state *s, __u64 point, const struct sl_point_place *place)
{
	struct sl_target t;
	__u32 i;

	for (i = 0; i < SL_SLOTS; i++) {
		t = s->targets[i];
		if (is_of(&t, point) && t.point != place->id && move_target(s, i, &t, place))
			return;	/* stays: each target is judged by one of the two */
	}
	sl_state_drop_point(s, point);
}

static bool is_below(const struct sl_target *t, const struct sl_point_place *place,
		     const struct sl_cgroup_target *cgroup)
{
	if (t->kind != SL_TARGET_CGROUP || t->point_level <= place->level)
		return false;
	if (cgroup && t->point_level <= cgroup->level && cgroup->ids[t->point_level] == t->point)
		return true;
	return sl_state_is_below(t->point, place->id, place->level);
}

void sl_state_fold_points(struct sl_state *s, const struct sl_point_place *place,
			  const struct sl_cgroup_target *cgroup)
{
	__u32 i;

	for (i = 0; i < SL_SLOTS; i++)
		if (is_below(&s->targets[i], place, cgroup))
			fold(s, s->targets[i].point, place);
}

/* ---- sweep ---- */

struct owner {
	__u64 id, point, before;
};

static size_t list_owners(const struct sl_state *s, struct owner *owners)
{
	const struct sl_target *t;
	size_t n = 0;
	__u32 i;

	for (i = 0; i < SL_SLOTS; i++) {
		t = &s->targets[i];
		if (t->kind == SL_TARGET_CGROUP)
			owners[n++] = (struct owner){t->cgroup_id, t->point, t->point_before};
	}
	return n;
}

static void sweep_folder(struct sl_state *s, __u64 id, const struct owner *owners, size_t n)
{
	bool point = false, target = false;
	size_t i;

	for (i = 0; i < n; i++) {
		point |= owners[i].point == id || owners[i].before == id;
		target |= owners[i].id == id;
	}
	if (!point)
		sl_state_drop_point(s, id);
	if (!target)
		sl_state_drop_witness(s, id);
}

void sl_state_sweep_points(struct sl_state *s)
{
	struct sl_diag none = {};
	int err = sl_state_open_cgroups(s, false, &none);
	char *folder = err ? NULL : sl_state_pin(s, false, SL_CGROUPS_FOLDER);
	DIR *dir = folder ? opendir(folder) : NULL;
	struct owner *owners = dir ? calloc(SL_SLOTS, sizeof(*owners)) : NULL;
	struct dirent *entry;
	size_t n = 0;
	__u64 id;

	if (owners) {
		end_moves(s);
		n = list_owners(s, owners);
	}
	while (owners && (entry = readdir(dir))) {
		id = strtoull(entry->d_name, NULL, 10);
		if (id)
			sweep_folder(s, id, owners, n);
	}
	if (dir)
		closedir(dir);
	sl_diag_free(&none);
	free(owners);
	free(folder);
}
