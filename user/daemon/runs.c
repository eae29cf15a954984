// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The cgroups of runs: kept ready, given out, removed, renewed with their policies. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon.h"
#include "op_change.h"

#define SECOND 1000000000ull

struct sl_run *sl_runs_find(const struct sl_daemon *d, __u64 id)
{
	for (struct sl_run *r = d->runs.list; r; r = r->next)
		if (r->id == id)
			return r;
	return NULL;
}

uid_t sl_runs_owner(struct sl_daemon *d, const struct sl_event *event)
{
	for (const struct sl_run *r = d->runs.list; r; r = r->next)
		if (r->state != SL_RUN_READY && r->slot == event->slot &&
		    event->generation >= r->generation)
			return r->uid;
	return 0;
}

unsigned sl_runs_count(const struct sl_daemon *d, uid_t uid)
{
	unsigned n = 0;

	for (const struct sl_run *r = d->runs.list; r; r = r->next)
		n += r->state != SL_RUN_READY && r->uid == uid;
	return n;
}

/* ---- made ---- */

/* The cgroup obeys the policy, by hand: no pattern of the configuration takes it over. */
int sl_runs_enforce(struct sl_daemon *d, const char *path, __u64 id, struct sl_target_group *group,
		    struct sl_diag *diag)
{
	struct sl_watched_cgroup *w = sl_cgroups_find(&d->cgroups, id);
	int err;

	if (!w)
		w = sl_cgroups_add(&d->cgroups, path, id, group);
	if (!w)
		return -ENOMEM;
	w->as.by_hand = true;
	w->as.state = SL_WATCHED_FAILED; /* until it has something */
	err = sl_change_lock(d, diag);
	if (!err) {
		err = sl_cgroup_give_now(&d->cgroups, d->devices.state, w, diag);
		sl_state_unlock(d->devices.state);
	}
	if (err)
		sl_cgroups_drop(&d->cgroups, w);
	return err;
}

/* A fresh cgroup, and its path in the hierarchy; owned. */
static int make_directory(struct sl_daemon *d, char **path)
{
	char *real;
	int err;

	if (asprintf(path, "%s/" SL_RUN_PREFIX "%d-%u", d->runs.place, getpid(), d->runs.serial++) <
	    0)
		return -ENOMEM;
	err = asprintf(&real, "%s%s", d->cgroups.mount, *path) < 0 ? -ENOMEM : 0;
	if (!err) {
		err = mkdir(real, 0755) ? -errno : 0;
		free(real);
	}
	if (err)
		free(*path);
	return err;
}

static int judge(struct sl_run *r, struct sl_target_group *group, struct sl_diag *diag)
{
	struct sl_cgroups *cgroups = &r->daemon->cgroups;
	const struct sl_watched_cgroup *w;
	int err = sl_runs_enforce(r->daemon, r->path, r->id, group, diag);

	w = err ? NULL : sl_cgroups_find(cgroups, r->id);
	if (!w)
		return err ? err : -ENOENT;
	r->group = sl_target_group_get(group);
	r->generation = w->generation;
	r->slot = w->slot;
	return 0;
}

static struct sl_run *make(struct sl_daemon *d, struct sl_target_group *group, struct sl_diag *diag)
{
	struct sl_run *r = NULL;
	char *path;
	int err = make_directory(d, &path);

	if (!err) {
		r = sl_run_open(d, path); /* if not, the next sluiced removes it */
		err = r ? judge(r, group, diag) : -EMFILE;
		free(path);
	}
	if (!err)
		return r;
	sl_error(diag, NULL, "no cgroup for a run in %s: %s", d->runs.place, strerror(-err));
	if (r)
		sl_run_remove(r);
	return NULL;
}

/* ---- work ---- */

static bool is_whole(struct sl_daemon *d, const struct sl_run *r)
{
	const struct sl_watched_cgroup *w = sl_cgroups_find(&d->cgroups, r->id);

	return w && w->as.state == SL_WATCHED_ATTACHED && w->generation && !w->as.renew &&
	       !w->as.pending && !sl_cgroup_broken(d->devices.state, w);
}

static unsigned count_ready(const struct sl_daemon *d, const struct sl_target_group *group)
{
	unsigned n = 0;

	for (const struct sl_run *r = d->runs.list; r; r = r->next)
		n += r->state == SL_RUN_READY && r->group == group;
	return n;
}

/* A group that has too few. */
static struct sl_target_group *find_wanting(const struct sl_daemon *d)
{
	for (size_t i = 0; d->config && i < d->config->n_runs; i++)
		if (count_ready(d, d->config->runs[i]) < SL_RUNS_READY)
			return d->config->runs[i];
	return NULL;
}

struct sl_run *sl_runs_take(struct sl_daemon *d, struct sl_target_group *group,
			    struct sl_diag *diag)
{
	if (!d->cgroups.mount)
		sl_error(diag, NULL, "this host has no cgroup2 hierarchy");
	if (!d->cgroups.mount || (!d->runs.place && sl_runs_open_place(d, diag)))
		return NULL;
	for (struct sl_run *r = d->runs.list; r; r = r->next)
		if (r->state == SL_RUN_READY && r->group == group && is_whole(d, r))
			return r;
	return make(d, group, diag);
}

/* Those that have ended; false: one cannot be removed yet. */
static bool reap(struct sl_daemon *d)
{
	bool all = true;

	for (struct sl_run *r = d->runs.list, *next; r; r = next) {
		next = r->next;
		if (r->state != SL_RUN_ENDING)
			continue;
		if (sl_run_is_populated(r)) {
			all = false;
			continue;
		}
		sl_run_tell_end(r);
		if (sl_run_remove(r))
			all = false;
	}
	return all;
}

bool sl_runs_want_work(const struct sl_daemon *d)
{
	__u64 at = d->runs.retry_at_ns;

	return d->cgroups.mount && d->ready && (at ? sl_now_ns() >= at : !!find_wanting(d));
}

void sl_runs_work(struct sl_daemon *d)
{
	struct sl_target_group *group;
	struct sl_diag diag = {};
	bool well;

	if (!sl_runs_want_work(d))
		return;
	d->runs.retry_at_ns = 0;
	well = reap(d);
	group = find_wanting(d);
	if (group && !d->runs.place)
		well = !sl_runs_open_place(d, &diag) && well;
	else if (group)
		well = make(d, group, &diag) && well;
	if (!well)
		d->runs.retry_at_ns = sl_now_ns() + SECOND / 10;
	if (diag.n_errors) {
		sl_diag_print(&diag, stderr);
		d->runs.retry_at_ns = sl_now_ns() + 5 * SECOND;
	}
	sl_diag_free(&diag);
}

/* ---- the configuration ---- */

struct sl_target_group *sl_runs_group(const struct sl_daemon *d, const char *policy)
{
	for (size_t i = 0; d->config && i < d->config->n_runs; i++)
		if (!strcmp(d->config->runs[i]->policy, policy))
			return d->config->runs[i];
	return NULL;
}

/* Names could be asked past the gate by a command that has no mounts of its own. */
bool sl_run_may_follow(const struct sl_run *r, const struct sl_target_group *group)
{
	return r->state == SL_RUN_READY || r->names || !group->given.has_names;
}

/* A run follows its policy's file; one whose policy is listed no more keeps what it has. */
static void regroup(struct sl_daemon *d, struct sl_run *r)
{
	struct sl_target_group *group = r->group ? sl_runs_group(d, r->group->policy) : NULL;
	struct sl_watched_cgroup *w = sl_cgroups_find(&d->cgroups, r->id);

	if (!group) {
		if (r->state == SL_RUN_READY)
			sl_run_remove(r);
		return;
	}
	if (!sl_run_may_follow(r, group)) {
		fprintf(stderr, "sluiced: %s keeps what it has: policy \"%s\" has names now, and its "
			"command was started without the mounts that they need\n", r->path,
			group->policy);
		return;
	}
	sl_target_group_put(r->group);
	r->group = sl_target_group_get(group);
	if (!w)
		return;
	sl_assign(&w->as, group);
	w->as.renew = true;
}

void sl_runs_regroup(struct sl_daemon *d)
{
	for (struct sl_run *r = d->runs.list, *next; r; r = next) {
		next = r->next;
		regroup(d, r);
	}
	d->runs.retry_at_ns = 0;
}

void sl_runs_close(struct sl_daemon *d)
{
	while (d->runs.list)
		if (d->runs.list->state != SL_RUN_READY || sl_run_remove(d->runs.list))
			sl_run_forget(d->runs.list);
	free(d->runs.place);
}
