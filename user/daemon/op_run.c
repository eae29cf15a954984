// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A member of the group starts a command: `sluice run` through sluiced. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "audit/json.h"
#include "daemon.h"
#include "server.h"

static struct sl_target_group *find_listed(const struct sl_daemon *d, const char *policy)
{
	for (size_t i = 0; d->config && policy && i < d->config->n_runs; i++)
		if (!strcmp(d->config->runs[i]->policy, policy))
			return d->config->runs[i];
	return NULL;
}

/* With those that are. */
static void say_not_listed(struct sl_caller *client, const char *policy)
{
	const struct sl_daemon *d = client->daemon;
	char names[256] = "";
	size_t len = 0;

	for (size_t i = 0; d->config && i < d->config->n_runs && len < sizeof(names); i++)
		len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", i ? ", " : "",
					d->config->runs[i]->policy);
	sl_answer_error(client, "denied", "policy \"%.63s\" is not listed for runs (\"run\" in %s); "
			"listed: %s", policy, d->options->config, *names ? names : "none");
}

/* One that knows nothing of them would start the command without (the client's word: whoever
 * asks could have the names elsewhere, and what he starts could not). */
static bool makes_mounts(const json_t *request)
{
	return json_is_true(json_object_get(request, "mounts"));
}

/* NULL: answered. A renewal that is due is done first: nobody starts under an old policy. */
static struct sl_target_group *ask_leave(struct sl_caller *client, const json_t *request)
{
	const char *policy = json_string_value(json_object_get(request, "policy"));
	struct sl_daemon *d = client->daemon;
	struct sl_target_group *group = find_listed(d, policy);

	if (!policy)
		sl_answer_error(client, "request", "run wants \"policy\", a name");
	else if (!group)
		say_not_listed(client, policy);
	else if (group->given.has_names && !makes_mounts(request))
		sl_answer_error(client, "denied",
				"policy \"%.63s\" has names, which need private mounts, and this client "
				"does not say that it makes them (\"mounts\": true): use the `sluice` of "
				"this sluiced, " SLUICE_VERSION, policy);
	else if (sl_runs_count(d, client->uid) >= d->config->run.limit)
		sl_answer_error(client, "busy", "uid %u has %u runs, as many as it may at once",
				client->uid, d->config->run.limit);
	else
		return group;
	return NULL;
}

/* The run with the process in it, or NULL with the reason in diag. */
static struct sl_run *start(struct sl_caller *client, struct sl_target_group *group, int pidfd,
			    struct sl_diag *diag)
{
	struct sl_run *r = sl_runs_take(client->daemon, group, diag);
	int err = r ? sl_run_peer_check(client, r, diag) : -EINVAL;

	if (!err)
		err = sl_run_peer_move(client, pidfd, r, diag);
	if (err) {
		close(pidfd);
		if (err == -ESRCH) /* whatever it left there */
			sl_run_end(r);
		return NULL;
	}
	err = sl_run_start(r, client->uid, client->pid, pidfd);
	if (!err)
		return r;
	sl_error(diag, NULL, "the end of process %d cannot be seen: %s", client->pid,
		 strerror(-err));
	sl_run_end(r);
	return NULL;
}

void sl_op_run(struct sl_caller *client, const json_t *request)
{
	struct sl_daemon *d = client->daemon;
	struct sl_diag diag = {};
	int pidfd = sl_run_peer_open(client, &diag);
	struct sl_target_group *group = NULL;
	struct sl_run *r;

	if (pidfd < 0) {
		sl_answer_diag(client, "denied", &diag, pidfd);
		sl_diag_free(&diag);
		return;
	}
	group = ask_leave(client, request);
	if (!group) {
		close(pidfd);
		return;
	}
	r = start(client, group, pidfd, &diag);
	if (r)
		sl_answer(client,
			  json_pack("{s:s, s:o, s:o, s:o, s:b}", "policy", group->policy, "name",
				    json_sprintf("%s%s", d->cgroups.mount, r->path), "path",
				    sl_json_text(r->path), "cgroup", sl_json_number(r->id),
				    "names", group->given.has_names));
	else
		sl_answer_diag(client, "denied", &diag, -EINVAL);
	sl_diag_free(&diag);
}
