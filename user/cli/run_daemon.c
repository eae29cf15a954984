// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * `sluice run -p NAME` of one who is not root: sluiced moves this process into a cgroup that
 * is judged already, and it becomes the command. Nothing of Sluice stays beside it: signals,
 * job control and the exit status are the command's own, and sluiced sees its end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "policy/text.h"
#include "run.h"
#include "target/private.h"

static bool ends_in(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && !strcmp(text + n - m, end);
}

bool sl_run_is_by_daemon(const struct sl_run_options *o)
{
	return geteuid() && o->policy && strcmp(o->policy, "-") && !strchr(o->policy, '/') &&
	       !ends_in(o->policy, ".yaml") && !ends_in(o->policy, ".yml") &&
	       !ends_in(o->policy, ".json");
}

static const char *unsupported(const struct sl_run_options *o)
{
	return o->audit		    ? "--audit"
	       : o->log		    ? "--log"
	       : o->user	    ? "--user"
	       : o->wait	    ? "--wait"
	       : o->leave	    ? "--leave"
	       : o->keep_privileges ? "--keep-privileges"
	       : o->trust_clock	    ? "--trust-clock"
				    : NULL;
}

static int complain(const char *what, int err)
{
	fprintf(stderr, "sluice run: %s: %s\n", what, strerror(-err));
	return SL_EXIT_RUN;
}

/* What this process has become in the kernel's eyes, not what an answer says. */
static bool is_moved(const json_t *answer)
{
	const char *told = json_string_value(json_object_get(answer, "path"));
	const char *last = told ? strrchr(told, '/') : NULL, *own_last;
	FILE *in = fopen("/proc/self/cgroup", "re");
	char *own = NULL;
	bool moved = false;

	if (in && last && !sl_cgroup2_own_path(in, &own)) {
		own_last = strrchr(own, '/');
		moved = own_last && !strcmp(own_last, last);
	}
	if (in)
		fclose(in);
	free(own);
	return moved;
}

/* *names: the policy has names, and the command needs mounts of its own. The control socket
 * is closed by exec. */
static int move(const struct sl_run_options *o, bool *names)
{
	struct sl_control *control;
	json_t *answer;
	int err = sl_control_find(false, &control);

	if (err == -ENOENT)
		fprintf(stderr, "sluice run: no sluiced runs here; without it a policy is a file, "
				"and this needs root: `sudo sluice run -p FILE`\n");
	if (err)
		return SL_EXIT_RUN;
	answer = sl_control_get(control, "run",
				json_pack("{s:s, s:b}", "policy", o->policy, "mounts", 1));
	if (!answer)
		return SL_EXIT_RUN;
	if (!is_moved(answer)) {
		fputs("sluice run: sluiced says that this process was moved, and it was not\n",
		      stderr);
		return SL_EXIT_RUN;
	}
	if (o->verbose)
		fprintf(stderr, "sluice: policy %s, in %s; what is blocked: `sluice monitor`\n",
			o->policy, json_string_value(json_object_get(answer, "name")));
	*names = json_is_true(json_object_get(answer, "names"));
	json_decref(answer);
	return 0;
}

static void tell_fds(const struct sl_run_options *o, const struct sl_fds *fds)
{
	for (size_t i = 0; !o->quiet && i < fds->n_closed; i++)
		fprintf(stderr, "sluice: not passed on: descriptor %d (%s)\n", fds->closed[i].fd,
			fds->closed[i].what);
}

int sl_run_by_daemon(const struct sl_run_options *o)
{
	const char *option = unsupported(o);
	struct sl_diag diag = {};
	struct sl_fds fds = {};
	bool names = false;
	int err, status;

	if (option)
		return sl_usage("run",
				"%s needs root: through sluiced (-p NAME) the policy is "
				"the administrator's",
				option);
	err = sl_fds_scan(true, &fds, &diag);
	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	if (err)
		return diag.n_errors ? SL_EXIT_RUN : complain("inherited descriptors", err);
	status = move(o, &names);
	if (!status) {
		tell_fds(o, &fds);
		err = sl_fds_close(&fds);
		if (err < 0)
			status = complain("closing inherited descriptors", err);
	}
	sl_fds_free(&fds);
	if (status)
		return status;
	return names ? sl_private_become_with_mounts(o->command) : sl_private_become(o->command);
}
