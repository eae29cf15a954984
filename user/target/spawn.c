// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* From fork to exec. */
#include <errno.h>
#include <linux/sched.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "policy/policy.h"
#include "target/cgroup.h"
#include "target/confine.h"
#include "target/identity.h"
#include "target/private.h"
#include "target/spawn.h"

static const int caught[] = {
	SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT, SIGTSTP, SIGCHLD,
};

static const char *const step_text[] = {
#define X(name, text) [SL_SPAWN_##name] = text,
	SL_SPAWN_STEPS(X)
#undef X
};

static void child_fail(int report, enum sl_spawn_step step, int err)
{
	struct sl_spawn_error error = {.step = step, .error = -err};

	/* Smaller than PIPE_BUF: whole or not at all. If not, the parent sees
	 * exit status 125 from a command that never ran. */
	if (write(report, &error, sizeof(error)) != sizeof(error))
		_exit(125);
	_exit(125);
}

static void must(int report, enum sl_spawn_step step, int err)
{
	if (err < 0)
		child_fail(report, step, err);
}

/* The address as resolv.conf has it; NULL: none. */
static const char *resolver_of(const struct sl_spawn_options *o, char text[SL_CIDR_TEXT])
{
	return o->resolver ? sl_cidr_format(o->resolver, text) : NULL;
}

static void child_confine(const struct sl_spawn_options *o, int report)
{
	char text[SL_CIDR_TEXT];

	must(report, SL_SPAWN_MOUNTS, sl_confine_mounts());
	if (o->names)
		must(report, SL_SPAWN_MOUNTS, sl_confine_names(resolver_of(o, text)));
	must(report, SL_SPAWN_BOUNDING, sl_identity_drop_bounding());
	must(report, SL_SPAWN_USER, sl_identity_switch(o->identity));
	must(report, SL_SPAWN_CAPABILITIES, sl_identity_drop_capabilities());
	must(report, SL_SPAWN_SCOPE, sl_confine_scope());
	must(report, SL_SPAWN_SECCOMP, sl_confine_seccomp());
	must(report, SL_SPAWN_VERIFY, sl_identity_verify(o->identity));
}

/* execvp() says EACCES for a command that is nowhere if the user may not search
 * one folder of PATH (root's own, under --user): that is "not found". */
static int exec_error(const char *command, int err)
{
	const char *path = getenv("PATH"), *end;
	char file[4096];

	if (err != EACCES || strchr(command, '/') || !path)
		return -err;
	for (; *path; path = *end ? end + 1 : end) {
		end = path + strcspn(path, ":");
		snprintf(file, sizeof(file), "%.*s/%s", end > path ? (int)(end - path) : 1,
			 end > path ? path : ".", command);
		if (!access(file, F_OK))
			return -err;
	}
	return -ENOENT;
}

/* Until the programs are in place. */
static void child_wait(int go)
{
	ssize_t len;
	char byte;

	do
		len = read(go, &byte, 1);
	while (len < 0 && errno == EINTR);
	if (len != 1)
		_exit(125); /* the parent is gone or has given up */
}

static void child_main(const struct sl_spawn_options *o, const struct sl_launch *l)
	__attribute__((noreturn));

static void child_main(const struct sl_spawn_options *o, const struct sl_launch *l)
{
	int report = l->report[1];
	char text[SL_CIDR_TEXT];

	close(l->go[1]);
	must(report, SL_SPAWN_FDS, sl_fds_close(o->fds));
	if (!o->keep_privileges)
		child_confine(o, report);
	else if (o->names)
		must(report, SL_SPAWN_MOUNTS, sl_confine_names_alone(resolver_of(o, text)));
	if (o->keep_privileges && o->identity->source != SL_IDENTITY_CALLER)
		must(report, SL_SPAWN_USER, sl_identity_switch(o->identity));
	must(report, SL_SPAWN_ENVIRONMENT, sl_identity_set_env(o->identity));
	child_wait(l->go[0]);

	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &l->child.old_mask, NULL);
	execvp(o->argv[0], o->argv);
	child_fail(report, SL_SPAWN_EXEC, exec_error(o->argv[0], errno));
	_exit(125);
}

static int take_signals(struct sl_child *c)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
		sigaddset(&set, caught[i]);
	if (sigprocmask(SIG_BLOCK, &set, &c->old_mask))
		return -errno;
	/* Inherited as ignored it would reap the command before we can. */
	sigaction(SIGCHLD, &dfl, &c->old_sigchld);
	c->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return c->signal_fd < 0 ? -errno : 0;
}

static void close_pair(int fds[2])
{
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* Lets the child go and waits for exec. 0, or -errno with *error. */
static int let_go(struct sl_launch *l, struct sl_spawn_error *error)
{
	struct sl_spawn_error got;
	ssize_t len;

	/* EPIPE if it has been killed: its status tells, SIGPIPE must not. */
	signal(SIGPIPE, SIG_IGN);
	if (write(l->go[1], "g", 1) != 1)
		return 0;
	close(l->report[1]);
	l->report[1] = -1;
	do
		len = read(l->report[0], &got, sizeof(got));
	while (len < 0 && errno == EINTR);
	if (len != sizeof(got))
		return 0;
	*error = got;
	return -got.error;
}

/* A child that is born in the cgroup. Moving one there takes the whole system's
 * cgroup lock for writing, a grace period: 8 ms. */
static pid_t fork_into(const struct sl_cgroup *cgroup)
{
	struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD,
				  .cgroup = (__u64)cgroup->dir_fd};

	return syscall(SYS_clone3, &args, sizeof(args));
}

/* A child in the cgroup, by either way. In the child 0; else its pid or -errno. */
static pid_t fork_in_cgroup(const struct sl_spawn_options *o, struct sl_spawn_error *error,
			    struct sl_diag *diag)
{
	pid_t pid = fork_into(o->cgroup);
	int err;

	if (pid >= 0)
		return pid;
	pid = fork();	/* a filter around us may know no clone3 */
	if (pid < 0) {
		*error = (struct sl_spawn_error){SL_SPAWN_FORK, errno};
		return -errno;
	}
	err = pid ? sl_cgroup_add(o->cgroup, pid, diag) : 0;
	if (!err)
		return pid;
	*error = (struct sl_spawn_error){SL_SPAWN_CGROUP, -err};
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return err;
}

int sl_spawn_begin(const struct sl_spawn_options *options, struct sl_launch *out,
		   struct sl_spawn_error *error, struct sl_diag *diag)
{
	struct sl_launch l = {.child = {.signal_fd = -1}, .go = {-1, -1}, .report = {-1, -1}};
	int err;

	*error = (struct sl_spawn_error){.step = SL_SPAWN_FORK};
	err = take_signals(&l.child);
	if (!err && (pipe2(l.go, O_CLOEXEC) || pipe2(l.report, O_CLOEXEC)))
		err = -errno;
	if (err)
		error->error = -err;
	else
		l.child.pid = fork_in_cgroup(options, error, diag);
	if (!err && !l.child.pid)
		child_main(options, &l);
	if (!err && l.child.pid > 0) {
		*out = l;
		return 0;
	}
	close_pair(l.go);
	close_pair(l.report);
	sl_child_close(&l.child);
	return err ? err : l.child.pid;
}

int sl_spawn_go(struct sl_launch *launch, struct sl_child *out, struct sl_spawn_error *error)
{
	struct sigaction old_pipe;
	int err;

	sigaction(SIGPIPE, NULL, &old_pipe);
	err = let_go(launch, error);
	sigaction(SIGPIPE, &old_pipe, NULL);
	if (err) {
		sl_spawn_abandon(launch);
		return err;
	}
	close_pair(launch->go);
	close_pair(launch->report);
	*out = launch->child;
	launch->child.pid = 0;
	return 0;
}

void sl_spawn_abandon(struct sl_launch *launch)
{
	if (!launch->child.pid)
		return;
	kill(launch->child.pid, SIGKILL);
	while (waitpid(launch->child.pid, NULL, 0) < 0 && errno == EINTR)
		;
	close_pair(launch->go);
	close_pair(launch->report);
	sl_child_close(&launch->child);
	launch->child.pid = 0;
}

int sl_spawn(const struct sl_spawn_options *options, struct sl_child *out,
	     struct sl_spawn_error *error, struct sl_diag *diag)
{
	struct sl_launch l;
	int err = sl_spawn_begin(options, &l, error, diag);

	return err ? err : sl_spawn_go(&l, out, error);
}

const char *sl_spawn_message(const struct sl_spawn_error *error, const char *command, char *buf,
			     size_t size)
{
	const char *text = error->step < SL_SPAWN_N_STEPS ? step_text[error->step] : "?";

	if (error->step == SL_SPAWN_EXEC)
		snprintf(buf, size, "%s: %s: %s%s", text, command, strerror(error->error),
			 sl_exec_hint(error->error, command));
	else
		snprintf(buf, size, "%s: %s", text, strerror(error->error));
	return buf;
}

int sl_spawn_exit_code(const struct sl_spawn_error *error)
{
	if (error->step != SL_SPAWN_EXEC)
		return 125;
	return error->error == ENOENT ? 127 : 126;
}
