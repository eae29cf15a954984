// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The command's life after exec: signals to it, its stops, its end. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "target/spawn.h"

/* Would the command not get this signal by itself? */
static bool must_forward(const struct sl_child *child, const struct signalfd_siginfo *info)
{
	/* The kernel sends the terminal's signals to the whole foreground group.
	 * (A job-control shell is in one of its own, and we in none that is in
	 * the foreground: then what came to us came to us alone.) */
	if (info->ssi_code > 0)
		return getpgid(child->pid) != getpgrp();
	/* `kill 0` in the command: it has had it. */
	return (pid_t)info->ssi_pid != child->pid;
}

/*
 * The shell that started us waits for us to stop, not for the command. SIGSTOP,
 * since the terminal's own stop signals do nothing in an orphaned group.
 */
static void stop_with(const struct sl_child *child)
{
	const struct timespec at_once = {0};
	sigset_t cont;

	/* init of a pid namespace cannot stop itself: leave the command stopped,
	 * whoever stopped it continues it. */
	if (getpid() == 1)
		return;
	raise(SIGSTOP);
	/* The SIGCONT that woke us is still queued. */
	sigemptyset(&cont);
	sigaddset(&cont, SIGCONT);
	while (sigtimedwait(&cont, NULL, &at_once) > 0)
		;
	kill(child->pid, SIGCONT);
}

static int reap(struct sl_child *child)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(child->pid, &status, WNOHANG | WUNTRACED)) != 0) {
		if (pid < 0 && errno == EINTR)
			continue;
		if (pid < 0)
			return -errno;
		if (!WIFSTOPPED(status)) {
			child->ended = true;
			child->status = status;
			return 0;
		}
		stop_with(child);
	}
	return 0;
}

int sl_child_on_signal(struct sl_child *child)
{
	struct signalfd_siginfo info;
	ssize_t len;
	int err;

	while (!child->ended) {
		len = read(child->signal_fd, &info, sizeof(info));
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0 && errno == EAGAIN)
			break;
		if (len != sizeof(info))
			return len < 0 ? -errno : -EIO;
		if (info.ssi_signo == SIGCHLD) {
			err = reap(child);
			if (err)
				return err;
		} else if (must_forward(child, &info)) {
			kill(child->pid, (int)info.ssi_signo);
		}
	}
	return child->ended ? SL_CHILD_ENDED : SL_CHILD_RUNNING;
}

void sl_child_close(struct sl_child *child)
{
	if (child->signal_fd < 0)
		return;
	close(child->signal_fd);
	child->signal_fd = -1;
	sigaction(SIGCHLD, &child->old_sigchld, NULL);
	sigprocmask(SIG_SETMASK, &child->old_mask, NULL);
}

void sl_exit_like(int status)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t set;
	int sig;

	if (WIFEXITED(status))
		exit(WEXITSTATUS(status));
	sig = WTERMSIG(status);
	fflush(NULL);
	/* Not RLIMIT_CORE: a core_pattern with a pipe does not look at 0. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	sigaction(sig, &dfl, NULL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	raise(sig);
	_exit(128 + sig);
}
