// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What can be asked of sluiced: hello, status, rules. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit/json.h"
#include "daemon.h"
#include "server.h"
#include "target/powers.h"

void sl_op_hello(struct sl_caller *client, const json_t *request)
{
	struct sl_daemon *d = client->daemon;

	(void)request;
	sl_answer(client,
		  json_pack("{s:s, s:i, s:i, s:s, s:o, s:i, s:b}", "version", SLUICE_VERSION, "abi",
			    (int)sl_state_abi(), "pid", (int)getpid(), "state", d->options->state,
			    "netns", sl_json_number(sl_state_netns(d->devices.state)), "uid",
			    (int)client->uid, "root", sl_caller_is_root(client)));
}

/* ---- status ---- */

static const char *const state_words[] = {
	[SL_WATCHED_WAITING] = "waiting",   [SL_WATCHED_ATTACHED] = "attached",
	[SL_WATCHED_ISOLATED] = "isolated", [SL_WATCHED_LEFT] = "left",
	[SL_WATCHED_FAILED] = "failed",	    [SL_WATCHED_RELEASED] = "released",
};

/* What is known of a device and of a cgroup alike. */
struct known {
	const char *state, *why; /* why NULL or empty: all is well */
	unsigned line;
	bool by_hand, orphan, pending;
};

static json_t *config_json(const struct sl_daemon *d)
{
	const struct sl_reload_state *r = &d->reload;
	char loaded[40], failed[40], reading[40];

	return json_pack(
		"{s:s, s:b, s:o, s:o, s:s?, s:s?, s:s?, s:O?}", "path", d->options->config, "ok", r->ok,
		"reloads", sl_json_number(r->reloads), "failed", sl_json_number(r->failed),
		"loaded", r->loaded_s ? sl_view_time(r->loaded_s, loaded) : NULL, "failed_at",
		r->failed_s ? sl_view_time(r->failed_s, failed) : NULL, "reading",
		d->loading ? sl_view_time(r->started_s, reading) : NULL, "errors", r->errors);
}

static json_t *daemon_json(struct sl_daemon *d, json_t *warnings)
{
	char since[40];

	return json_pack("{s:s, s:i, s:s, s:o, s:o, s:o, s:{s:o, s:i, s:i}, s:o, s:i, s:i}", "version", SLUICE_VERSION, "pid",
			 (int)getpid(), "since", sl_view_time(d->started_s, since), "config",
			 config_json(d), "received", sl_json_number(d->received), "foreign_changes",
			 sl_json_number(d->foreign_changes), "containers", "announced",
			 sl_json_number(d->cgroups.announced), "unannounced",
			 (int)sl_cgroups_unannounced(&d->cgroups), "missed",
			 (int)sl_engines_missed(d), "engines", sl_engines_json(d, warnings), "clients",
			 (int)sl_control_server_clients(d->server), "monitors",
			 (int)sl_control_server_readers(d->server));
}

static bool find_known(struct sl_daemon *d, json_t *target, struct known *out)
{
	json_int_t netns = json_integer_value(json_object_get(target, "netns"));
	__u64 cgroup = (__u64)json_integer_value(json_object_get(target, "cgroup"));
	struct sl_watched_cgroup *c = cgroup ? sl_cgroups_find(&d->cgroups, cgroup) : NULL;
	struct sl_watched *w = NULL;

	if (!cgroup && (__u64)netns == sl_state_netns(d->devices.state))
		w = sl_devices_find(&d->devices, (unsigned)json_integer_value(
							 json_object_get(target, "ifindex")));
	if (c) {
		*out = (struct known){state_words[c->as.state],
				      c->why,
				      c->as.group->line,
				      c->as.by_hand,
				      c->as.orphan,
				      c->as.pending};
	} else if (w) {
		*out = (struct known){state_words[w->as.state],
				      w->why,
				      w->as.group->line,
				      w->as.by_hand,
				      w->as.orphan,
				      w->as.pending};
	}
	return c || w;
}

/* A command that a user started; one of before a restart is known by this alone. */
static void annotate_run(struct sl_daemon *d, json_t *target)
{
	static const char *const words[] = {[SL_RUN_READY] = "ready",
					    [SL_RUN_STARTED] = "started",
					    [SL_RUN_ENDING] = "ending"};
	const struct sl_run *r =
		sl_runs_find(d, (__u64)json_integer_value(json_object_get(target, "cgroup")));

	if (!r)
		return;
	json_object_set_new(target, "name", json_sprintf("%s%s", d->cgroups.mount, r->path));
	json_object_set_new(target, "run",
			    json_pack("{s:s, s:o}", "state", words[r->state], "uid",
				      r->state == SL_RUN_READY ? json_null() :
								 json_integer(r->uid)));
}

/* Of a pod that is not known yet: after a start, until the objects are. Its veth is looked for then. */
static bool may_be_a_pods(const struct sl_daemon *d, const json_t *target)
{
	__u64 cgroup = (__u64)json_integer_value(json_object_get(target, "cgroup"));

	for (size_t i = 0; cgroup && i < d->pods.n; i++)
		if (d->pods.list[i].id == cgroup)
			return true;
	return !cgroup && sl_pods_unknown(&d->pods, 0);
}

static void annotate_whose(struct sl_daemon *d, json_t *target)
{
	bool here = json_is_true(json_object_get(target, "here"));
	json_int_t ifindex = here ? json_integer_value(json_object_get(target, "ifindex")) : 0;
	json_t *whose = sl_daemon_whose(d, (__u64)json_integer_value(json_object_get(target, "cgroup")),
					(unsigned)ifindex);

	json_object_update(target, whose);
	json_decref(whose);
}

/* A container's root is held by what it has not: with this (--privileged) it mounts the hierarchy, and moves. */
static void warn_of_leaving(json_t *warnings, const char *path, const char *name)
{
	struct sl_powers has;

	sl_powers_look(path, sl_pod_is_monitor, SL_POWERS_LEAVE, &has);
	if (has.pid)
		json_array_append_new(warnings,
				      json_sprintf("%s: process %d of the container has CAP_SYS_ADMIN (--privileged?): "
						   "it may leave its cgroup, and its policy with it; take that "
						   "from it, or judge its veth, too (docs/containers.md)",
						   name, has.pid));
}

/* What the daemon knows of a target, beside what the kernel holds. */
static void annotate(struct sl_daemon *d, json_t *target, json_t *warnings)
{
	struct known known = {.state = "not followed"};
	bool followed = find_known(d, target, &known);
	char *name;

	annotate_run(d, target);
	annotate_whose(d, target);
	name = sl_escaped(json_string_value(json_object_get(target, "name")));

	json_object_set_new(target, "state", json_string(known.state));
	json_object_set_new(target, "why",
			    known.why && *known.why ? sl_json_text(known.why) : json_null());
	json_object_set_new(target, "line",
			    known.line && !known.by_hand ? json_integer(known.line) : json_null());
	json_object_set_new(target, "by_hand", json_boolean(known.by_hand));
	if (known.orphan)
		json_array_append_new(warnings,
				      json_sprintf("%s: no target of the configuration matches it "
						   "any more; it keeps its policy "
						   "until `sluice detach`",
						   name));
	if (known.pending)
		json_array_append_new(warnings,
				      json_sprintf("%s: %s: %s", name, known.state, known.why));
	if (json_object_get(target, "container"))
		warn_of_leaving(warnings, json_string_value(json_object_get(target, "name")), name);
	if (!followed && json_is_true(json_object_get(target, "managed")))
		json_array_append_new(warnings,
				      json_sprintf(may_be_a_pods(d, target) ?
						   "%s: of a pod that is not known yet: it keeps its "
						   "policy until then" :
						   "%s: given by an earlier configuration, and "
						   "matched by none; it keeps its "
						   "policy until `sluice detach`",
						   name));
	free(name);
}

/* What matches, and is not judged by what it should be. */
static void warn_of_state(json_t *warnings, const char *name, enum sl_watched_state state,
			  const char *why)
{
	if (state == SL_WATCHED_RELEASED)
		json_array_append_new(warnings, json_sprintf("%s: NOT ENFORCED: detached by hand; "
							     "`sluice apply` gives it its policy "
							     "again",
							     name));
	else if (state == SL_WATCHED_FAILED)
		json_array_append_new(warnings, json_sprintf("%s: NOT ENFORCED: %s", name, why));
	else if (state == SL_WATCHED_LEFT)
		json_array_append_new(warnings,
				      json_sprintf("%s: has another policy than the "
						   "configuration's: from `sluice attach` or "
						   "the libvirt hook",
						   name));
}

static void warn_of_forwarders(const struct sl_daemon *d, json_t *warnings)
{
	for (size_t i = 0; i < d->forwarders.n; i++)
		if (!d->forwarders.list[i]->ready)
			json_array_append_new(warnings,
					      json_sprintf("%s: its forwarder does not serve (yet): "
							   "its names are not resolved",
							   d->forwarders.list[i]->path));
}

static void warn_of_cgroups(const struct sl_daemon *d, json_t *warnings)
{
	if (!d->cgroups.mount && (d->cgroups.n_groups || d->pods.on))
		json_array_append_new(warnings,
				      json_string("cgroups: NOT ENFORCED: no cgroup2 file system is "
						  "mounted where sluiced runs; mount one at "
						  "/sys/fs/cgroup and restart it"));
}

static void warn_of_open(const struct sl_daemon *d, json_t *warnings)
{
	warn_of_forwarders(d, warnings);
	warn_of_cgroups(d, warnings);
	for (size_t i = 0; i < d->devices.n_devices; i++) {
		const struct sl_watched *w = &d->devices.devices[i];

		warn_of_state(warnings, w->device.name, w->as.state, w->why);
	}
	for (size_t i = 0; i < d->cgroups.n; i++) {
		const struct sl_watched_cgroup *w = &d->cgroups.list[i];
		char *name = sl_escaped(w->path);

		warn_of_state(warnings, name ? name : "?", w->as.state, w->why);
		free(name);
	}
}

static void warn_of_config(const struct sl_daemon *d, json_t *warnings)
{
	const json_t *error = json_array_get(d->reload.errors, 0);
	const char *file = json_string_value(json_object_get(error, "file"));

	if (d->reload.ok)
		return;
	json_array_append_new(
		warnings,
		json_sprintf("%s is not loaded, what was loaded before goes on: %s:%lld:%lld: %s",
			     d->options->config, file ? file : "?",
			     (long long)json_integer_value(json_object_get(error, "line")),
			     (long long)json_integer_value(json_object_get(error, "column")),
			     json_string_value(json_object_get(error, "message"))));
}

/* His own alone, and nothing of the host's. */
static void answer_user(struct sl_caller *client, json_t *targets)
{
	struct sl_daemon *d = client->daemon;
	json_t *own = json_array(), *target, *ignored = json_array();
	struct sl_run *run;
	char since[40];
	size_t i;

	json_array_foreach(targets, i, target)
	{
		run = sl_runs_find(d, (__u64)json_integer_value(json_object_get(target, "cgroup")));
		if (!run || run->state == SL_RUN_READY || run->uid != client->uid)
			continue;
		annotate(d, target, ignored);
		json_array_append(own, target);
	}
	sl_answer(client, json_pack("{s:{s:s, s:i, s:s}, s:o, s:[]}", "daemon", "version",
				    SLUICE_VERSION, "pid", (int)getpid(), "since",
				    sl_view_time(d->started_s, since), "targets", own, "warnings"));
	json_decref(targets);
	json_decref(ignored);
}

void sl_op_status(struct sl_caller *client, const json_t *request)
{
	struct sl_daemon *d = client->daemon;
	json_t *targets = json_array(), *warnings = json_array(), *target;
	int err = sl_view_targets(d->devices.state, targets, warnings);
	size_t i;

	(void)request;
	if (err) {
		json_decref(targets);
		json_decref(warnings);
		sl_answer_error(client, "failed", "the pinned state cannot be read: %s",
				strerror(-err));
		return;
	}
	if (!sl_caller_is_root(client)) {
		json_decref(warnings);
		answer_user(client, targets);
		return;
	}
	json_array_foreach(targets, i, target) annotate(d, target, warnings);
	sl_veths_fold(d, warnings);
	warn_of_open(d, warnings);
	if (d->ring.fd < 0)
		json_array_append_new(warnings, json_string("another process reads the events, "
							    "as `sluice monitor` from before"));
	warn_of_config(d, warnings);
	sl_answer(client,
		  json_pack("{s:o, s:o, s:o, s:o, s:o}", "daemon", daemon_json(d, warnings), "targets", targets,
			    "sinks", sl_daemon_sinks_json(d, warnings), "kubernetes",
			    sl_pods_json(d, warnings), "warnings", warnings));
}

/* ---- rules ---- */

/* By the text alone: what else there is on the host is not told. */
static bool owns(const struct sl_caller *client, const char *cgroup)
{
	const struct sl_daemon *d = client->daemon;
	const char *mount = d->cgroups.mount ? d->cgroups.mount : "";
	size_t n = strlen(mount);

	for (const struct sl_run *r = d->runs.list; r; r = r->next)
		if (r->state != SL_RUN_READY && r->uid == client->uid &&
		    (!strcmp(cgroup, r->path) || (!strncmp(cgroup, mount, n) &&
						  !strcmp(cgroup + n, r->path))))
			return true;
	return false;
}

void sl_op_rules(struct sl_caller *client, const json_t *request)
{
	struct sl_state *state = client->daemon->devices.state;
	const char *cgroup = json_string_value(json_object_get(request, "cgroup"));
	const char *device = json_string_value(json_object_get(request, "device"));
	struct sl_diag diag = {};
	struct sl_target target;
	json_t *rows = NULL;
	char since[40];
	__u32 slot;
	int err;

	if (!device == !cgroup) {
		sl_answer_error(client, "request", "rules wants \"device\" or \"cgroup\"");
		return;
	}
	if (!sl_caller_is_root(client) && !(cgroup && owns(client, cgroup))) {
		sl_answer_error(client, "not-found", "no run of yours: `sluice status` lists them");
		return;
	}
	err = sl_view_find(state, device ? device : cgroup, !device, &slot, &target, &diag);
	if (!err)
		rows = sl_view_rules(state, slot, &err);
	if (err == -ENOENT && !diag.n_errors)
		sl_error(&diag, NULL,
			 "%s '%s' has no policy (`sluice status` lists those that "
			 "have one)",
			 device ? "device" : "cgroup", device ? device : cgroup);
	if (rows)
		sl_answer(client, json_pack("{s:o, s:s}", "rules", rows, "since",
					    sl_view_boot_time(target.since_ns, since)));
	else
		sl_answer_diag(client, err == -ENOENT ? "not-found" : "failed", &diag, err);
	sl_diag_free(&diag);
}
