// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Cgroups as targets: attached, detached. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "complaint.h"
#include "state_internal.h"

/* ---- which there are ---- */

int sl_state_find_cgroup(struct sl_state *s, __u64 id, __u32 *slot)
{
	struct sl_diag none = {};
	struct sl_target t;
	__u64 word;

	sl_state_open_cgroups(s, false, &none);
	sl_diag_free(&none);
	if (s->cgroups < 0 || bpf_map_lookup_elem(s->cgroups, &id, &word) ||
	    sl_state_read_target(s, SL_CGROUP_WORD_SLOT(word), &t) || t.kind != SL_TARGET_CGROUP ||
	    t.cgroup_id != id)
		return -ENOENT;
	*slot = SL_CGROUP_WORD_SLOT(word);
	return 0;
}

static bool is_led_to(struct sl_state *s, __u32 slot, const struct sl_target *t)
{
	__u32 found;

	return !sl_state_find_cgroup(s, t->cgroup_id, &found) && found == slot;
}

bool sl_state_judges_cgroup(struct sl_state *s, __u32 slot, const struct sl_target *t)
{
	struct sl_diag none = {};
	bool judges = !sl_state_open_cgroups(s, false, &none) && (t->flags & SL_TARGET_LIVE) &&
		      is_led_to(s, slot, t) && sl_state_has_links(s, t->point, true);

	sl_diag_free(&none);
	return judges;
}

/* ---- detach ---- */

/* Is there another target of this cgroup? One that was given up half-way leaves such. */
static bool has_target(const struct sl_state *s, __u64 id)
{
	__u32 i;

	for (i = 0; i < SL_SLOTS; i++)
		if (s->targets[i].kind == SL_TARGET_CGROUP && s->targets[i].cgroup_id == id)
			return true;
	return false;
}

/* The word first: from then on the cgroup is judged by a target above, or by none. The
 * slot is not free before that is settled; until then it is no cgroup's. */
void sl_state_forget_cgroup(struct sl_state *s, __u32 slot, const struct sl_target *t)
{
	/* its flows are still gone through */
	const struct sl_target forgotten = {.kind = SL_TARGET_CGROUP, .buckets = t->buckets};
	libbpf_print_fn_t before = sl_complaints_begin();
	struct sl_diag none = {};

	if (!sl_state_open_cgroups(s, false, &none) && is_led_to(s, slot, t))
		bpf_map_delete_elem(s->cgroups, &t->cgroup_id);
	sl_state_write_target(s, slot, &forgotten);
	sl_state_clear_slot(s, slot, t);
	if (s->cgroups >= 0) {
		if (!has_target(s, t->cgroup_id))
			sl_state_drop_witness(s, t->cgroup_id);
		sl_state_write_levels(s, t->point, t->point_level, &none);
		sl_state_drop_point(s, t->point);
	}
	sl_diag_free(&none);
	sl_complaints_end(before);
}

int sl_state_detach_cgroup(struct sl_state *s, const struct sl_cgroup_target *cgroup,
			   struct sl_diag *diag)
{
	int err = sl_state_open_cgroups(s, false, diag);
	struct sl_target t;
	__u32 slot;

	if (err && err != -ENOENT)
		return err;
	if (err || sl_state_find_cgroup(s, cgroup->id, &slot) || sl_state_read_target(s, slot, &t)) {
		sl_error(diag, NULL, "cgroup '%s' has no policy of its own (`sluice status` lists "
			 "those that have one)", cgroup->path);
		return -ENOENT;
	}
	sl_state_forget_cgroup(s, slot, &t);
	return 0;
}

/* ---- attach ---- */

static void name_target(struct sl_target *t, const struct sl_cgroup_target *cgroup)
{
	const char *last = strrchr(cgroup->path, '/');
	size_t n;

	last = last ? last + 1 : cgroup->path;
	n = strlen(last);
	if (n >= sizeof(t->name))
		last += n - (sizeof(t->name) - 1);
	memset(t->name, 0, sizeof(t->name));
	memcpy(t->name, last, strlen(last));
}

/* All but the last step: the programs and the witness are on, and judge nothing. */
static int prepare(struct sl_state *s, const struct sl_cgroup_target *cgroup,
		   const struct sl_point_place *place, struct sl_target *t, __u32 slot,
		   struct sl_diag *diag)
{
	int err = sl_state_add_witness(s, cgroup->id, cgroup->fd, diag);

	if (!err)
		err = sl_state_ensure_links(s, place->id, place->fd, diag);
	if (!err) {
		t->flags |= SL_TARGET_LIVE;
		err = sl_state_write_target(s, slot, t);
	}
	return err ? err : sl_state_write_levels(s, place->id, place->level, diag);
}

/* Its word makes it a target, from one packet to the next. */
static int attach_at(struct sl_state *s, const struct sl_cgroup_target *cgroup,
		     const struct sl_point_place *place, const struct sl_table *table, __u32 *out,
		     struct sl_diag *diag)
{
	struct sl_target t = {.kind = SL_TARGET_CGROUP, .cgroup_id = cgroup->id,
			      .cgroup_level = cgroup->level, .point = place->id,
			      .point_level = place->level, .since_ns = sl_state_boot_ns(),
			      .netns = cgroup->netns ? cgroup->netns : s->netns};
	__u32 slot;
	int err = sl_state_find_room(s, &slot, diag);

	if (err)
		return err;
	name_target(&t, cgroup);
	err = table ? sl_state_fill_slot(s, &t, table, slot, diag) :
		      sl_state_write_target(s, slot, &t);
	if (!err)
		err = prepare(s, cgroup, place, &t, slot, diag);
	if (!err)
		err = sl_state_lead_cgroup(s, &t, slot);
	if (!err) {
		*out = slot;
		return 0;
	}
	if (!diag->n_errors)
		sl_say_why(diag, cgroup->path, err);
	sl_state_forget_cgroup(s, slot, &t);
	return err;
}

/* Where the programs are to be, or are. */
static int explain_point(const struct sl_cgroup_target *cgroup, int err, struct sl_diag *diag)
{
	if (err != -EXDEV)
		sl_say_why(diag, cgroup->path, err);
	else
		sl_error(diag, NULL, "cgroup '%s': a cgroup above all that its mount shows carries the "
			 "programs, and the same pins; give it its policy where that one is seen",
			 cgroup->path);
	return err;
}

static int attach_new(struct sl_state *s, const struct sl_cgroup_target *cgroup,
		      const struct sl_table *table, __u32 *slot, struct sl_diag *diag)
{
	struct sl_point_place place;
	int err = sl_state_find_point(s, cgroup, &place);

	if (err)
		return explain_point(cgroup, err, diag);
	if (place.id != cgroup->id)	/* two on its path: one that was left half folded */
		sl_state_fold_points(s, &place, cgroup);
	err = attach_at(s, cgroup, &place, table, slot, diag);
	if (!err && place.id == cgroup->id)
		sl_state_fold_points(s, &place, NULL);
	close(place.fd);
	return err;
}

/* What somebody took off is attached again. */
static int repair(struct sl_state *s, const struct sl_cgroup_target *cgroup,
		  const struct sl_target *t, struct sl_diag *diag)
{
	struct sl_point_place place;
	int err;

	if (sl_state_has_links(s, t->point, true) && sl_state_has_witness(s, t->cgroup_id))
		return 0;
	err = sl_state_open_point(cgroup, t->point_level, &place);
	if (err)
		return explain_point(cgroup, err, diag);
	err = sl_state_ensure_links(s, place.id, place.fd, diag);
	if (!err)
		err = sl_state_write_levels(s, place.id, place.level, diag);
	close(place.fd);
	return err ? err : sl_state_add_witness(s, cgroup->id, cgroup->fd, diag);
}

static int switch_cgroup(struct sl_state *s, const struct sl_cgroup_target *cgroup, __u32 slot,
			 const struct sl_table *table, struct sl_diag *diag)
{
	struct sl_target t;
	int err = sl_state_read_target(s, slot, &t);

	if (!err)
		err = repair(s, cgroup, &t, diag);
	if (err)
		return err;
	/* netns stays: by it sockets were told apart, and flows are */
	return s->words[slot] ? sl_state_switch_slot(s, slot, table, diag) :
				sl_state_fill_slot(s, &t, table, slot, diag); /* was held */
}

static int open_to_attach(struct sl_state *s, struct sl_diag *diag)
{
	int err = sl_state_open_cgroups(s, true, diag);

	if (err == -ENOENT)
		err = sl_error(diag, NULL, "this state is not pinned, and cgroups need that");
	else if (err && !diag->n_errors)
		sl_say_why(diag, s->path, err);
	return err;
}

int sl_state_attach_cgroup(struct sl_state *s, const struct sl_cgroup_target *cgroup,
			   const struct sl_table *table, __u32 *slot, struct sl_diag *diag)
{
	libbpf_print_fn_t before = sl_complaints_begin();
	int err = open_to_attach(s, diag);
	__u32 found;

	if (!err) {
		sl_state_sweep_some(s);
		if (sl_state_find_cgroup(s, cgroup->id, &found)) {
			err = attach_new(s, cgroup, table, slot, diag);
		} else {
			err = switch_cgroup(s, cgroup, found, table, diag);
			if (!err)
				*slot = found;
		}
	}
	sl_complaints_end(before);
	return err;
}

int sl_state_hold_cgroup(struct sl_state *s, const struct sl_cgroup_target *cgroup,
			 struct sl_diag *diag)
{
	libbpf_print_fn_t before = sl_complaints_begin();
	int err = open_to_attach(s, diag);
	__u32 slot;

	if (!err && sl_state_find_cgroup(s, cgroup->id, &slot))
		err = attach_new(s, cgroup, NULL, &slot, diag);
	sl_complaints_end(before);
	return err;
}

/* ---- its end ---- */

/* Where somebody took the witness off the cgroup itself is asked for; what cannot be told is not
 * over. */
bool sl_state_is_cgroup_over(struct sl_state *s, __u32 slot, const struct sl_target *t)
{
	struct sl_diag none = {};
	int err = sl_state_open_cgroups(s, false, &none), fd;

	sl_diag_free(&none);
	if (err)	/* what cannot be looked at is not taken off */
		return false;
	if (!(t->flags & SL_TARGET_LIVE) || !is_led_to(s, slot, t))
		return true;
	if (sl_state_has_witness(s, t->cgroup_id))
		return false;
	fd = sl_state_open_cgroup_id(t->cgroup_id);
	if (fd >= 0)
		close(fd);
	return fd == -ESTALE;
}
