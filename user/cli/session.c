// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * One run: policy -> table -> cgroup -> programs attached -> command -> report.
 * The programs are in place before the command is executed; the process that will execute it
 * confines itself while they are loaded.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/state.h"
#include "policy/text.h"
#include "run.h"

#define DRAIN_MS 250		/* the ring buffer is drained at least this often */
#define KILL_WAIT_MS 5000

/* Without -p: nothing leaves but loopback. */
static const char default_policy[] = "sluice: 1\n"
				     "name: default\n"
				     "rules:\n"
				     "  - allow: \"@loopback\"\n"
				     "    id: loopback\n";

struct session {
	const struct sl_run_options *options;
	struct sl_policy *policy;
	struct sl_compiled compiled;
	struct sl_identity identity;
	struct sl_fds fds;
	struct sl_cgroup2 hierarchy;
	struct sl_cgroup cgroup;
	struct sl_kernel *kernel;
	struct sl_report report;
	struct sl_open_points open_points;
	struct sl_launch launch;
	struct sl_child child;
	struct sl_forward forward;
	bool started, left;
};

static int load_default(const struct sl_resolve_options *options, struct sl_policy **out,
			struct sl_diag *diag)
{
	struct sl_policy *parsed;
	int err = sl_policy_parse(default_policy, strlen(default_policy), "default",
				  SL_PARSE_POLICY, &parsed, diag);

	if (err)
		return err;
	err = sl_resolve(parsed, NULL, options, out, diag);
	sl_policy_free(parsed);
	return err;
}

static int load_policy(struct session *s, struct sl_diag *diag)
{
	struct sl_resolve_options resolve = {.trust_clock = s->options->trust_clock,
					     .hosts = "/etc/hosts"};
	struct sl_compile_options compile = {.generation = 1,
					     .boot_epoch_ns = sl_boot_epoch_ns()};
	int err;

	if (s->options->policy)
		err = sl_policy_load(s->options->policy, &resolve, &s->policy, diag);
	else
		err = load_default(&resolve, &s->policy, diag);
	if (err)
		return err;
	if (s->options->audit)
		s->policy->mode = SL_MODE_AUDIT;
	if (s->policy->dns.forward) {
		err = sl_forward_open(&s->forward, s->policy->dns.has_listen ?
				      &s->policy->dns.listen : NULL, diag);
		if (err)
			return err;
		compile.forwarder = &s->forward.address;
	}
	return sl_compile(s->policy, &compile, &s->compiled, diag);
}

static int make_target(struct session *s, struct sl_diag *diag)
{
	int err = sl_cgroup2_find(&s->hierarchy, diag);

	if (err)
		return err;
	sl_cgroup_sweep(&s->hierarchy);
	return sl_cgroup_make(&s->hierarchy, &s->cgroup, diag);
}

/* In a cgroup namespace no path tells the true depth: the kernel does, of the cgroup that we
 * are in. */
static bool find_level(struct session *s)
{
	const __u64 *ids;
	struct stat st;
	int level;

	if (s->cgroup.level_exact)
		return true;
	level = stat(s->hierarchy.own, &st) ? -1 : sl_cgroup_above(st.st_ino, &ids);
	if (level >= 0)
		s->cgroup.level = (unsigned)level + 1;
	return level >= 0;
}

/* Without the level a task cannot be compared with the target (reason foreign-task);
 * everything else holds. */
static int enforce(struct session *s, struct sl_diag *diag)
{
	bool exact = find_level(s);
	struct sl_kernel_options options = {
		.cgroup_id = exact ? s->cgroup.id : 0,
		.cgroup_level = s->cgroup.level,
		.uids = s->compiled.has_uids,
		.only = true,
		.table = &s->compiled.table,
	};
	int err = sl_kernel_load(&options, &s->kernel, diag);

	return err ? err : sl_kernel_attach_cgroup(s->kernel, s->cgroup.dir_fd, diag);
}

static int begin(struct session *s, struct sl_spawn_error *error, struct sl_diag *diag)
{
	struct sl_spawn_options options = {.argv = s->options->command, .identity = &s->identity,
					   .cgroup = &s->cgroup, .fds = &s->fds,
					   .keep_privileges = s->options->keep_privileges,
					   .names = s->compiled.table.words[SL_H_FLAGS] &
						    SL_F_NAMES,
					   .resolver = s->policy->dns.forward ?
						       &s->forward.address : NULL};

	return sl_spawn_begin(&options, &s->launch, error, diag);
}

/* Everything before the command is executed. error: of the process that will be it; none if its
 * number is 0. */
static int prepare(struct session *s, struct sl_spawn_error *error, struct sl_diag *diag)
{
	int err = sl_identity_check_caller(diag);

	if (!err)
		err = sl_identity_resolve(s->options->user, s->options->keep_privileges,
					  &s->identity, diag);
	if (!err)
		err = sl_fds_scan(!s->options->keep_privileges, &s->fds, diag);
	if (!err)
		err = load_policy(s, diag);
	if (!err && s->policy->dns.forward)
		err = sl_forward_start(&s->forward, s->policy, &s->compiled, diag);
	if (!err)
		err = make_target(s, diag);
	if (!err)
		err = begin(s, error, diag);
	if (!err)
		err = enforce(s, diag);
	if (!err && s->policy->dns.forward)
		err = sl_forward_connect(&s->forward, s->kernel, s->cgroup.dir_fd, diag);
	if (!err)
		err = sl_confine_open_points(&s->identity, s->options->keep_privileges,
					     &s->hierarchy, &s->open_points);
	return err ? err : sl_report_open(&s->report, s->options, s->policy, &s->compiled,
					  &s->cgroup);
}

/* With an argument's words in it: what would steer the terminal is escaped. */
static void say(const char *text)
{
	fputs("sluice run: ", stderr);
	sl_put_text(text, stderr);
	fputc('\n', stderr);
}

static void say_why_not(const struct session *s, const struct sl_spawn_error *error)
{
	char text[512];

	if (error->step != SL_SPAWN_CGROUP)
		say(sl_spawn_message(error, s->options->command[0], text, sizeof(text)));
}

static int start(struct session *s, struct sl_spawn_error *error)
{
	int err = sl_spawn_go(&s->launch, &s->child, error);

	s->started = !err;
	return err;
}

static int supervise(struct session *s)
{
	struct pollfd polls[3] = {{.fd = s->child.signal_fd, .events = POLLIN},
				  {.fd = sl_kernel_events_fd(s->kernel), .events = POLLIN},
				  {.fd = s->forward.pid_fd, .events = POLLIN}};
	int state = SL_CHILD_RUNNING;

	while (state == SL_CHILD_RUNNING) {
		if (poll(polls, 3, DRAIN_MS) < 0 && errno != EINTR)
			return -errno;
		sl_report_drain(&s->report, s->kernel);
		if (polls[2].revents) {
			say("the forwarder has ended: names are not resolved any more; what was "
			    "learned, and all that the policy denies, holds");
			polls[2] = (struct pollfd){.fd = -1};
		}
		if (polls[0].revents)
			state = sl_child_on_signal(&s->child);
	}
	return state < 0 ? state : 0;
}

static void wait_for_rest(struct session *s)
{
	while (sl_cgroup_wait_empty(&s->cgroup, DRAIN_MS) == -ETIMEDOUT)
		sl_report_drain(&s->report, s->kernel);
}

/* What is still running is waited for, left, or killed. */
static void finish(struct session *s)
{
	if (s->options->wait && s->started)
		wait_for_rest(s);
	if (s->options->leave && s->started && sl_cgroup_populated(&s->cgroup) > 0) {
		fprintf(stderr, "sluice: left running, enforced, in %s\n", s->cgroup.path);
		s->left = true;
		return;
	}
	sl_cgroup_kill(&s->cgroup);
	if (sl_cgroup_wait_empty(&s->cgroup, KILL_WAIT_MS))
		fprintf(stderr, "sluice: %s: processes that cannot be killed remain, enforced\n",
			s->cgroup.path);
	else
		sl_cgroup_remove(&s->cgroup);
}

static void print_open_points(const struct session *s)
{
	size_t i;

	if (s->options->quiet)
		return;
	for (i = 0; i < s->fds.n_closed; i++)
		fprintf(stderr, "sluice: not passed on: descriptor %d (%s)\n",
			s->fds.closed[i].fd, s->fds.closed[i].what);
	for (i = 0; i < s->open_points.n; i++)
		fprintf(stderr, "sluice: open: %s\n", s->open_points.lines[i]);
}

static void session_free(struct session *s)
{
	sl_forward_close(&s->forward, s->left);
	sl_report_close(&s->report);
	sl_kernel_free(s->kernel);
	sl_cgroup_close(&s->cgroup);
	sl_cgroup2_free(&s->hierarchy);
	sl_fds_free(&s->fds);
	sl_open_points_free(&s->open_points);
	sl_identity_free(&s->identity);
	sl_compiled_free(&s->compiled);
	sl_policy_free(s->policy);
}

int sl_session(const struct sl_run_options *options)
{
	struct session s = {.options = options, .forward = SL_FORWARD_NONE,
			    .cgroup = {.dir_fd = -1, .events_fd = -1}};
	struct sl_spawn_error error = {};
	struct sl_diag diag = {};
	int status = SL_EXIT_RUN, err;

	/* A reader of ours that goes away ends neither the run nor its record. */
	signal(SIGPIPE, SIG_IGN);
	err = prepare(&s, &error, &diag);
	if (!err)
		err = start(&s, &error);
	if (error.error) {
		status = sl_spawn_exit_code(&error);
		say_why_not(&s, &error);
	} else if (err && err != -EINVAL && !diag.n_errors && !s.started) {
		sl_error(&diag, NULL, "sluice run: %s", strerror(-err));
	}
	sl_spawn_abandon(&s.launch);
	if (!err) {
		err = supervise(&s);
		if (err)
			sl_error(&diag, NULL, "sluice run: the command cannot be watched any more, and "
				 "its exit status is unknown: %s", strerror(-err));
	}
	sl_diag_print(&diag, stderr);
	if (s.started)
		sl_child_close(&s.child);
	if (s.cgroup.path)
		finish(&s);
	if (s.started) {
		sl_kernel_tell_ends(s.kernel, !s.left);
		sl_report_end(&s.report, s.kernel);
		print_open_points(&s);
	}
	session_free(&s);
	sl_diag_free(&diag);
	if (s.started && s.child.ended)
		sl_exit_like(s.child.status);
	return status;
}
