// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A container that is about to start: what the gates (user/gate) ask. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "audit/json.h"
#include "op_change.h"
#include "server.h"

static const char *text_of(const json_t *request, const char *key)
{
	return json_string_value(json_object_get(request, key));
}

static int read_container(const json_t *request, struct sl_container *out, struct sl_diag *diag)
{
	const char *id = text_of(request, "id"), *name = text_of(request, "name");
	int err;

	if (!id || !text_of(request, "cgroup"))
		return sl_error(diag, NULL, "container wants \"id\" and \"cgroup\"");
	err = sl_container_make(id, name ? name : id, json_object_get(request, "labels"), out);
	return err == -EINVAL ? sl_error(diag, NULL,
					 "a container's id and name have 1 to %d bytes, an id has "
					 "no /",
					 SL_CONTAINER_TEXT_MAX)
			      : err;
}

/* Its group gives it what it should have; a policy that cannot be resolved there isolates. */
static int give(struct sl_daemon *d, struct sl_watched_cgroup *w, struct sl_target_group *group,
		struct sl_diag *diag)
{
	int err = sl_change_lock(d, diag);

	if (err)
		return err;
	sl_assign(&w->as, group);
	w->as.orphan = false;
	if (w->as.state == SL_WATCHED_ATTACHED || w->as.state == SL_WATCHED_ISOLATED)
		sl_cgroup_renew(&d->cgroups, d->devices.state, w);
	else
		sl_cgroup_give(&d->cgroups, d->devices.state, w);
	sl_state_unlock(d->devices.state);
	return 0;
}

static json_t *given_json(const struct sl_watched_cgroup *w, const char *policy)
{
	static const char *const words[] = {
		[SL_WATCHED_WAITING] = "waiting",   [SL_WATCHED_ATTACHED] = "attached",
		[SL_WATCHED_ISOLATED] = "isolated", [SL_WATCHED_LEFT] = "left",
		[SL_WATCHED_FAILED] = "failed",	    [SL_WATCHED_RELEASED] = "released",
	};

	return json_pack("{s:b, s:s, s:s, s:o, s:o, s:o}", "matched", 1, "policy", policy, "state",
			 words[w->as.state], "cgroup", sl_json_number(w->id), "generation",
			 sl_json_number(w->generation), "why",
			 *w->why ? sl_json_text(w->why) : json_null());
}

/* *answer is a new reference. container is taken over. */
static int attach(struct sl_daemon *d, const struct sl_cgroup_target *cgroup, const char *path,
		  struct sl_container *container, struct sl_target_group *group, json_t **answer,
		  struct sl_diag *diag)
{
	struct sl_watched_cgroup *w = sl_cgroups_find(&d->cgroups, cgroup->id);
	int err;

	if (!w)
		w = sl_cgroups_add(&d->cgroups, path, cgroup->id, group);
	if (!w)
		return -ENOMEM;
	d->cgroups.announced++;
	w->announced = true;
	err = sl_cgroups_name(w, container);
	if (!err && !w->as.by_hand)
		err = give(d, w, group, diag);
	if (!err)
		*answer = given_json(w, group->policy);
	return err;
}

/* What the target asks for and cannot be had is no container that starts. */
static int judge_veths(struct sl_daemon *d, const char *path, const struct sl_target_group *group,
		       json_t **answer, struct sl_diag *diag)
{
	const char *why = sl_veths_now(d, path);

	if (!why || !group->has_veths)
		return 0;
	json_decref(*answer);
	*answer = NULL;
	return sl_error(diag, NULL, "the target of line %u has \"veth: true\": %s", group->line, why);
}

/* A choice that is not listed is refused: what is not listed would be of the caller's making. */
static bool is_refused(const struct sl_container *container, const struct sl_target_group *group)
{
	const char *choice = sl_container_choice(container);

	return choice && group->of == SL_GROUP_OF_CONTAINERS && strcmp(choice, group->policy);
}

static void refuse(struct sl_caller *client, const struct sl_container *container,
		   const struct sl_target_group *group)
{
	sl_answer_error(
		client, "choice",
		"the container's %s is \"%.63s\", which the target of line %u does not list "
		"(\"choice\" in sluiced.yaml)",
		SL_CONTAINER_CHOICE, sl_container_choice(container), group->line);
}

/* A runtime in another cgroup namespace (Docker in Docker, LXC) names its cgroups from there. */
static int open_cgroup(const struct sl_daemon *d, const char *name, struct sl_cgroup_target *out,
		       struct sl_diag *diag)
{
	char path[PATH_MAX];

	int n = snprintf(path, sizeof(path), "%s%s", d->cgroups.mount, name);

	if (*name == '/' && n < (int)sizeof(path) && access(path, F_OK) && access(name, F_OK))
		return sl_error(diag, NULL,
				"cgroup '%.160s': sluiced sees none of that name; does the runtime "
				"run in a container, with cgroups of its own? What it starts is "
				"judged as that container is, and needs no hook there",
				name);
	return sl_cgroup_open_target(name, out, diag);
}

void sl_op_container(struct sl_caller *client, const json_t *request)
{
	struct sl_daemon *d = client->daemon;
	struct sl_container container = {};
	struct sl_target_group *group = NULL;
	struct sl_cgroup_target cgroup = {};
	struct sl_diag diag = {};
	json_t *answer = NULL;
	const char *path = NULL;
	int err = read_container(request, &container, &diag);
	bool opened = false;

	if (!err && !d->cgroups.mount)
		err = sl_error(&diag, NULL, "this host has no cgroup2 hierarchy");
	if (!err)
		err = open_cgroup(d, text_of(request, "cgroup"), &cgroup, &diag);
	opened = !err && cgroup.path;
	if (opened) {
		path = sl_change_below_mount(&d->cgroups, cgroup.path);
		group = sl_cgroups_match(&d->cgroups, path, &container);
	}
	if (err || (group && is_refused(&container, group))) {
		if (err)
			sl_answer_diag(client, "failed", &diag, err);
		else
			refuse(client, &container, group);
	} else if (!group) {
		sl_veths_now(d, path); /* of the pod that it is in */
		sl_answer(client, json_pack("{s:b}", "matched", 0));
	} else {
		err = attach(d, &cgroup, path, &container, group, &answer, &diag);
		if (!err)
			err = judge_veths(d, path, group, &answer, &diag);
		if (err)
			sl_answer_diag(client, "failed", &diag, err);
		else
			sl_answer(client, answer);
	}
	if (opened)
		sl_cgroup_close_target(&cgroup);
	sl_container_free(&container);
	sl_diag_free(&diag);
}
