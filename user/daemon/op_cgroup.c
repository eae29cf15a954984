// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Cgroups in attach and detach. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/json.h"
#include "first_look.h"
#include "hand.h"
#include "op_change.h"

const char *sl_change_below_mount(const struct sl_cgroups *c, const char *path)
{
	size_t n = strlen(c->mount);

	return !strncmp(path, c->mount, n) && (path[n] == '/' || !path[n]) ? path + n : path;
}

static json_t *attached_json(struct sl_daemon *d, const struct sl_cgroup_target *cgroup,
			     const struct sl_watched_cgroup *w, const struct sl_diag *diag)
{
	struct sl_target t = {};
	char *point;
	json_t *j;

	sl_state_target(d->devices.state, w->slot, &t);
	point = t.point == t.cgroup_id
			? strdup(cgroup->path)
			: sl_state_cgroup_path(&(struct sl_target){.cgroup_id = t.point});
	j = json_pack("{s:o, s:o, s:s, s:o, s:o, s:i, s:o}", "name", sl_json_text(cgroup->path),
		      "cgroup", sl_json_number(cgroup->id), "policy", w->as.group->given.name,
		      "generation", sl_json_number(w->generation), "via", sl_json_text(point),
		      "slot", (int)w->slot, "warnings", sl_json_diag(diag, SL_WARNING));
	free(point);
	return j;
}

/* What it had stays in force if the new policy cannot be given. */
static int give(struct sl_daemon *d, struct sl_watched_cgroup *w, struct sl_target_group *group,
		struct sl_diag *diag)
{
	struct sl_target_group *old = w->as.group;
	bool by_hand = w->as.by_hand;
	int err = sl_change_lock(d, diag);

	if (err)
		return err;
	w->as.group = sl_target_group_get(group);
	w->as.by_hand = true;
	err = sl_cgroup_give_now(&d->cgroups, d->devices.state, w, diag);
	sl_state_unlock(d->devices.state);
	if (!err) {
		sl_target_group_put(old);
		w->as.orphan = false;
		return 0;
	}
	sl_target_group_put(group);
	w->as.group = old;
	w->as.by_hand = by_hand;
	return err;
}

static int attach(struct sl_daemon *d, const struct sl_cgroup_target *cgroup,
		  struct sl_target_group *group, const json_t *request, json_t **answer,
		  struct sl_diag *diag)
{
	struct sl_watched_cgroup *w = sl_cgroups_find(&d->cgroups, cgroup->id);
	bool made = !w;
	int err;

	if (!w)
		w = sl_cgroups_add(&d->cgroups,
				   sl_change_below_mount(&d->cgroups, cgroup->path), cgroup->id,
				   group);
	if (!w)
		return -ENOMEM;
	if (made)
		w->as.state = SL_WATCHED_FAILED; /* until it has something */
	err = give(d, w, group, diag);
	if (err && made)
		sl_cgroups_drop(&d->cgroups, w);
	if (err)
		return err;
	sl_hand_note_cgroup(d, w, request);
	*answer = attached_json(d, cgroup, w, diag);
	return 0;
}

int sl_change_attach_cgroup(struct sl_daemon *d, const char *path, json_t *request,
			    struct sl_target_group *group, json_t **answer, struct sl_diag *diag)
{
	struct sl_cgroup_target cgroup;
	int err;

	if (!d->cgroups.mount)
		return sl_error(diag, NULL, "this host has no cgroup2 hierarchy");
	err = sl_cgroup_open_target(path, &cgroup, diag);
	if (err)
		return err;
	group->given.of_cgroup = true;
	err = sl_change_load(request, group, diag);
	if (!err)
		err = attach(d, &cgroup, group, request, answer, diag);
	sl_cgroup_close_target(&cgroup);
	return err;
}

/* Where a target's cgroup is, or was; owned. One of an earlier configuration is not watched. */
static char *place_of(const struct sl_daemon *d, const struct sl_watched_cgroup *w,
		      const struct sl_target *t)
{
	char *path;

	if (!w)
		return sl_state_cgroup_name(t);
	return asprintf(&path, "%s%s", d->cgroups.mount, w->path) < 0 ? NULL : path;
}

json_t *sl_change_release_cgroup(struct sl_daemon *d, const struct sl_target *t)
{
	struct sl_watched_cgroup *w = sl_cgroups_find(&d->cgroups, t->cgroup_id);
	char *path = place_of(d, w, t);
	json_t *name = sl_json_text(path ? path : t->name);

	free(path);
	if (!w)
		return name;
	sl_hand_forget_cgroup(d, w->id);
	sl_first_look_forget(&d->cgroups, w->id);
	if (w->as.by_hand || w->as.orphan) {
		sl_cgroups_drop(&d->cgroups, w);
	} else {
		w->as.state = SL_WATCHED_RELEASED;
		w->generation = w->meaning = 0;
		w->as.pending = w->as.renew = false;
	}
	return name;
}

bool sl_change_is_below_another(struct sl_daemon *d, const struct sl_target *t)
{
	const struct sl_watched_cgroup *w = sl_cgroups_find(&d->cgroups, t->cgroup_id);
	struct sl_cgroup_target cgroup;
	struct sl_diag ignored = {};
	char *path = place_of(d, w, t);
	bool found = false;
	__u32 slot;

	if (path && !sl_cgroup_open_target(path, &cgroup, &ignored)) {
		for (unsigned i = 0; i < cgroup.level && !found; i++)
			found = !sl_state_find_cgroup(d->devices.state, cgroup.ids[i], &slot);
		sl_cgroup_close_target(&cgroup);
	}
	sl_diag_free(&ignored);
	free(path);
	return found;
}
