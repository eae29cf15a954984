/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The command's life: started inside its cgroup, confined, followed, and its
 * end passed on.
 *
 * Order for `sluice run` (up to sl_spawn_begin before any other thread is started):
 *	sl_fds_scan → sl_cgroup_make → sl_spawn_begin → attach → sl_spawn_go → poll on signal_fd and
 *	whatever else, sl_child_on_signal when it is readable → sl_child_close →
 *	sl_cgroup_kill, sl_cgroup_wait_empty, sl_cgroup_remove → sl_exit_like
 */
#ifndef SLUICE_SPAWN_H
#define SLUICE_SPAWN_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "policy/diag.h"

struct sl_cgroup;
struct sl_cidr;
struct sl_fds;
struct sl_identity;

/* What can fail between fork and exec; the text is what the user reads. */
#define SL_SPAWN_STEPS(X)                                                                          \
	X(FORK, "fork")                                                                            \
	X(CGROUP, "cgroup")                                                                        \
	X(FDS, "closing inherited descriptors")                                                    \
	X(MOUNTS, "private mounts (read-only cgroups)")                                            \
	X(BOUNDING, "emptying the capability bounding set")                                        \
	X(USER, "changing user and groups")                                                        \
	X(CAPABILITIES, "dropping capabilities")                                                   \
	X(SCOPE, "Landlock scope")                                                                 \
	X(SECCOMP, "system call filter")                                                           \
	X(VERIFY, "privileges are not gone")                                                       \
	X(ENVIRONMENT, "environment")                                                              \
	X(EXEC, "exec")

enum sl_spawn_step {
#define X(name, text) SL_SPAWN_##name,
	SL_SPAWN_STEPS(X)
#undef X
		SL_SPAWN_N_STEPS
};

struct sl_spawn_error {
	enum sl_spawn_step step;
	int error; /* errno value, positive */
};

/* All borrowed for the call. */
struct sl_spawn_options {
	char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH as the user */
	const struct sl_identity *identity;
	const struct sl_cgroup *cgroup;
	const struct sl_fds *fds; /* from sl_fds_scan(!keep_privileges, ...) */
	/* Only the descriptors are closed and, with SL_IDENTITY_USER, the ids
	 * changed; capabilities, no_new_privs, mounts, filter: as the caller's. */
	bool keep_privileges;
	bool names; /* the policy has names: they are resolved by DNS alone ... */
	const struct sl_cidr *resolver; /* ... by the forwarder there; NULL: by resolv.conf's */
};

struct sl_child {
	pid_t pid;
	int signal_fd; /* owned; poll it for POLLIN */
	bool ended;    /* status is that of waitpid() */
	int status;
	/* The caller's, given to the command and put back by sl_child_close. */
	sigset_t old_mask;
	struct sigaction old_sigchld;
};

/* A process that will be the command. */
struct sl_launch {
	struct sl_child child;	/* pid 0: there is none */
	int go[2];		/* one byte, and it executes the command; its end, and it ends */
	int report[2];		/* a failed step, or nothing but its end when exec has closed it */
};

/*
 * Makes the process, in the cgroup, and lets it confine itself; it opens no socket, and waits
 * before it executes the command. So what enforces the policy may be put in place meanwhile.
 * From here to sl_child_close, HUP INT QUIT TERM USR1 USR2 WINCH CONT TSTP and
 * CHLD are blocked and come through signal_fd. The command gets the signal mask
 * and the ignored signals that this process had (so `nohup sluice run` works),
 * SIGCHLD and SIGPIPE at their defaults.
 * On failure -errno, *error says where, *out is untouched, nothing is left
 * running; diag gets an error for SL_SPAWN_CGROUP alone (the others are
 * sl_spawn_message's). What fails in the process itself sl_spawn_go tells.
 */
int sl_spawn_begin(const struct sl_spawn_options *options, struct sl_launch *out,
		   struct sl_spawn_error *error, struct sl_diag *diag);

/* Lets it go; returns when the command has been executed or has failed to be, as
 * sl_spawn_begin. *launch is used up in either case. */
int sl_spawn_go(struct sl_launch *launch, struct sl_child *out, struct sl_spawn_error *error);

/* Ends one that was not let go; of pid 0 it does nothing. */
void sl_spawn_abandon(struct sl_launch *launch);

/* Both at once. */
int sl_spawn(const struct sl_spawn_options *options, struct sl_child *out,
	     struct sl_spawn_error *error, struct sl_diag *diag);

/* "exec: curlx: No such file or directory"; returns buf. */
const char *sl_spawn_message(const struct sl_spawn_error *error, const char *command, char *buf,
			     size_t size);
/* 127 command not found, 126 found but not executable, 125 anything else. */
int sl_spawn_exit_code(const struct sl_spawn_error *error);

enum sl_child_state { SL_CHILD_RUNNING, SL_CHILD_ENDED };

/*
 * To be called when signal_fd is readable. Forwards signals that were sent to
 * this process alone; one from the terminal has reached the command already
 * unless it is in another process group. If the command has stopped, this
 * process stops too (here, until it is continued) and then continues it.
 * A state, or -errno.
 */
int sl_child_on_signal(struct sl_child *child);

/* Closes signal_fd and puts the signal mask back; does not touch the process. */
void sl_child_close(struct sl_child *child);

/* Ends this process as the command ended: the same exit code, or the same
 * signal, without a core of ours. */
void sl_exit_like(int status) __attribute__((noreturn));

#endif
