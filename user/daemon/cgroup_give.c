// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* One cgroup: its policy is given, renewed or left alone. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cgroup_table.h"
#include "first_look.h"
#include "pod_cgroup.h"

#define SECOND 1000000000ull

static void complain(struct sl_cgroups *c, struct sl_watched_cgroup *w, const char *change, int err,
		     const struct sl_diag *diag)
{
	const char *first = NULL;

	sl_diag_print(diag, stderr);
	for (size_t i = 0; i < diag->n && !first; i++)
		if (diag->entries[i].severity == SL_ERROR)
			first = diag->entries[i].message;
	snprintf(w->why, sizeof(w->why), "%s", first ? first : strerror(-err));
	c->ops->tell(c->context, change, w, NULL, w->why);
}

static void retry_later(struct sl_cgroups *c)
{
	if (!c->retry_at_ns)
		c->retry_at_ns =
			sl_now_ns() + (c->retries < 6 ? SECOND << c->retries++ : 60 * SECOND);
}

#define SOON_NS (100 * 1000000ull)
#define NEW_NS (3 * SECOND)

bool sl_cgroup_is_soon(const struct sl_watched_cgroup *w, __u64 now)
{
	return w->as.pending && now - w->found_at_ns < NEW_NS;
}

static void look_by(struct sl_cgroups *c, __u64 at)
{
	if (!c->early_at_ns || at < c->early_at_ns)
		c->early_at_ns = at;
}

/* A cgroup that is found as it is made may have no process yet, or its runtime's, which has no uid
 * map and no routes; the others that wait, which may wait for long, do not hold it up. */
static void retry_soon(struct sl_cgroups *c, struct sl_watched_cgroup *w)
{
	__u64 now = sl_now_ns();

	if (sl_cgroup_is_soon(w, now))
		look_by(c, now + SOON_NS);
	retry_later(c);
}

/* The directory, if it still is that cgroup. */
static int open_cgroup(const struct sl_cgroups *c, const struct sl_watched_cgroup *w,
		       struct sl_cgroup_target *out, struct sl_diag *diag)
{
	char *path;
	int err;

	if (asprintf(&path, "%s%s", c->mount, w->path) < 0)
		return -ENOMEM;
	err = sl_cgroup_open_target(path, out, diag);
	free(path);
	if (err || out->id == w->id)
		return err;
	sl_cgroup_close_target(out);
	return -ENOENT;
}

/* A pod's is told to who has given it: see pods.h. */
static void settled(struct sl_cgroups *c, const struct sl_watched_cgroup *w, const char *why)
{
	if (w->of_pod && c->pods)
		c->pods->settled(c->pods_context, w, why);
}

static void given(struct sl_cgroups *c, struct sl_watched_cgroup *w, const char *change,
		  const struct sl_policy *resolved, const struct sl_diag *diag)
{
	struct sl_policy *asks = calloc(1, sizeof(*asks));

	if (asks && !sl_policy_copy_asks(asks, resolved)) {
		sl_policy_free(w->asks);
		w->asks = asks;
	} else {
		sl_policy_free(asks);
	}
	w->as.state = SL_WATCHED_ATTACHED;
	c->retries = 0;
	if (!w->as.group->warned)
		sl_diag_print(diag, stderr);
	w->as.group->warned = true;
	c->ops->tell(c->context, change, w, resolved->name, NULL);
	settled(c, w, NULL);
}

static void isolate(struct sl_cgroups *c, struct sl_state *state, struct sl_watched_cgroup *w,
		    const struct sl_cgroup_target *cgroup, int why, const struct sl_diag *diag)
{
	const struct sl_policy nothing = {.name = (char *)c->isolation, .default_action = SL_DENY};
	struct sl_diag said = {};
	int err = sl_cgroup_put_table(c, state, w, cgroup, &nothing, &said);

	w->as.state = err ? SL_WATCHED_FAILED : SL_WATCHED_ISOLATED;
	w->as.pending = true;
	w->meaning = 0;
	if (err)
		complain(c, w, "failed", err, &said);
	else
		complain(c, w, "isolated", why, diag);
	retry_soon(c, w);
	sl_diag_free(&said);
}

#define EARLY_NS (20 * 1000000ull) /* a runtime makes a pod's root directory */
#define YOUNG_NS (10 * SECOND)	   /* and mostly within this */

/* It was too early to see whose resolvers the pod has. */
static void look_again(struct sl_cgroups *c, struct sl_watched_cgroup *w)
{
	__u64 now = sl_now_ns();

	if (!w->early_since_ns)
		w->early_since_ns = now;
	look_by(c, now + (now - w->early_since_ns < YOUNG_NS ? EARLY_NS : SECOND));
}

/* Without memory it has none, and its veth is not judged. */
static void keep_resolvers(struct sl_watched_cgroup *w, const struct sl_environment *env)
{
	size_t size = env->n_resolvers * sizeof(*env->resolvers);

	free(w->resolvers);
	w->resolvers = size ? malloc(size) : NULL;
	w->n_resolvers = w->resolvers ? env->n_resolvers : 0;
	if (w->resolvers)
		memcpy(w->resolvers, env->resolvers, size);
}

/* What the policy means there; to be freed by free_resolved. */
static int resolve(struct sl_cgroups *c, struct sl_watched_cgroup *w,
		   struct sl_cgroup_target *cgroup, struct sl_policy **out, struct sl_diag *diag)
{
	struct sl_attach_options options = w->as.group->given.attach;
	struct sl_environment env = {};
	int err;

	options.lookout = c->lookout;
	options.foreign = sl_pod_is_monitor;
	sl_cgroup_environment(&options, cgroup, &env);
	if (!sl_first_look_holds(c, w, &env) && !w->as.group->given.common.outline)
		look_again(c, w);
	else
		w->early_since_ns = 0;
	if (w->as.group->given.common.outline) {
		sl_environment_free(&env);
		*out = w->as.group->given.common.outline;
		return 0;
	}
	err = sl_cgroup_resolve(cgroup, &options, &env, out, diag);
	if (!err && options.enforce)
		(*out)->mode = SL_MODE_ENFORCE;
	if (!err)
		keep_resolvers(w, &env);
	sl_environment_free(&env);
	return err;
}

/* On what is there: adopted, or given. */
static void settle(struct sl_cgroups *c, struct sl_state *state, struct sl_watched_cgroup *w,
		   struct sl_cgroup_target *cgroup, __u32 slot, __u64 has_generation,
		   struct sl_diag *diag)
{
	struct sl_policy *resolved = NULL;
	int err = resolve(c, w, cgroup, &resolved, diag);

	if (err && has_generation) {
		sl_cgroup_took(state, w, slot, has_generation, 0);
		w->as.state = SL_WATCHED_ATTACHED;
		w->as.pending = true;
		complain(c, w, "kept", err, diag);
		retry_later(c);
	} else if (err) {
		isolate(c, state, w, cgroup, err, diag);
	} else if (has_generation && !w->generation && sl_cgroup_has(state, w, slot, resolved)) {
		sl_cgroup_took(state, w, slot, has_generation, sl_cgroup_meaning(w, resolved));
		given(c, w, "adopted", resolved, diag);
	} else {
		err = sl_cgroup_put_table(c, state, w, cgroup, resolved, diag);
		if (!err)
			given(c, w, "attached", resolved, diag);
	}
	if (err && w->as.state == SL_WATCHED_WAITING) {
		w->as.state = SL_WATCHED_FAILED;
		complain(c, w, "failed", err, diag);
		retry_later(c);
	}
	sl_cgroup_free_resolved(w, resolved);
	if (err && w->as.pending)
		settled(c, w, w->why);
}

void sl_cgroup_give(struct sl_cgroups *c, struct sl_state *state, struct sl_watched_cgroup *w)
{
	struct sl_cgroup_target cgroup;
	struct sl_diag diag = {};
	__u64 generation = 0;
	__u32 slot = 0;
	int err = open_cgroup(c, w, &cgroup, &diag);

	if (!err) {
		if (!sl_state_find_cgroup(state, w->id, &slot) &&
		    sl_cgroup_is_anothers(c, state, w, slot, &generation)) {
			if (w->as.state != SL_WATCHED_LEFT)
				c->ops->tell(c->context, "left", w, NULL,
					     "it has a policy already, from `sluice attach`");
			w->as.state = SL_WATCHED_LEFT;
		} else {
			settle(c, state, w, &cgroup, slot, generation, &diag);
		}
		sl_cgroup_close_target(&cgroup);
	} else if (err != -ENOENT) { /* that would be gone: the next walk finds out */
		w->as.state = SL_WATCHED_FAILED;
		complain(c, w, "failed", err, &diag);
		retry_later(c);
	}
	sl_diag_free(&diag);
}

int sl_cgroup_give_now(struct sl_cgroups *c, struct sl_state *state, struct sl_watched_cgroup *w,
		       struct sl_diag *diag)
{
	struct sl_policy *resolved = NULL;
	struct sl_cgroup_target cgroup;
	int err = open_cgroup(c, w, &cgroup, diag);

	if (err)
		return err;
	err = resolve(c, w, &cgroup, &resolved, diag);
	if (!err)
		err = sl_cgroup_put_table(c, state, w, &cgroup, resolved, diag);
	if (!err)
		given(c, w, "attached", resolved, diag);
	sl_cgroup_free_resolved(w, resolved);
	sl_cgroup_close_target(&cgroup);
	return err;
}

void sl_cgroup_renew(struct sl_cgroups *c, struct sl_state *state, struct sl_watched_cgroup *w)
{
	struct sl_policy *resolved = NULL;
	struct sl_cgroup_target cgroup;
	struct sl_diag diag = {};
	int err = open_cgroup(c, w, &cgroup, &diag);

	w->as.renew = false;
	if (err) {
		sl_diag_free(&diag);
		return;
	}
	err = resolve(c, w, &cgroup, &resolved, &diag);
	if (!err && w->meaning && sl_cgroup_meaning(w, resolved) == w->meaning) {
		w->as.pending = false;
		w->why[0] = 0;
		settled(c, w, NULL);
	} else if (!err) {
		err = sl_cgroup_put_table(c, state, w, &cgroup, resolved, &diag);
		if (!err)
			given(c, w, "renewed", resolved, &diag);
	}
	if (err) {
		if (!w->as.pending)
			complain(c, w, "kept", err, &diag);
		w->as.pending = true;
		retry_soon(c, w);
		settled(c, w, w->why);
	}
	sl_cgroup_free_resolved(w, resolved);
	sl_cgroup_close_target(&cgroup);
	sl_diag_free(&diag);
}

const char *sl_cgroup_broken(const struct sl_state *state, const struct sl_watched_cgroup *w)
{
	struct sl_seal seal;
	__u32 slot;
	int err = sl_state_find_cgroup((struct sl_state *)state, w->id, &slot);

	if (err == -ENOENT || (!err && slot != w->slot))
		return "somebody detached it";
	err = sl_state_seal(state, w->slot, &seal);
	if (err)
		return err == -ENOENT ? "somebody detached it" : NULL;
	if (!seal.leads)
		return "somebody took the programs off the cgroup";
	return sl_seal_broken(&w->seal, &seal);
}
