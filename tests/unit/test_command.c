// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * user/target: how the command ends, and its signals.
 * Parts that need root say so and are skipped without it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <pty.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "command_run.h"
#include "target_tools.h"

static void unreadable_path(void)
{
	setenv("PATH", "/usr/bin:/proc/1/fd", 1); /* 0500 */
}

static void exit_codes_pass_through(void **state)
{
	int status;

	need_root();
	assert_int_equal(run_all(&(struct run){.argv = ARGV("true")}, out, sizeof(out)), 0);
	status = run_all(&(struct run){.argv = ARGV("sh", "-c", "exit 42")}, out, sizeof(out));
	assert_int_equal(WEXITSTATUS(status), 42);
	status = run_all(&(struct run){.argv = ARGV("/no/curlx")}, out, sizeof(out));
	assert_int_equal(WEXITSTATUS(status), 127);
	assert_line(out, "exec: /no/curlx: No such file or directory; it, or what its first line (#!) "
		    "names, is not there");
	status = run_all(
		&(struct run){.user = "nobody", .argv = ARGV("curlx"), .prepare = unreadable_path},
		out, sizeof(out));
	assert_int_equal(WEXITSTATUS(status), 127);
	status = run_all(&(struct run){.argv = ARGV("/etc/passwd")}, out, sizeof(out));
	assert_int_equal(WEXITSTATUS(status), 126);
	status =
		run_all(&(struct run){.argv = ARGV("sh", "-c", "kill -SEGV $$")}, out, sizeof(out));
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV && !WCOREDUMP(status));
	status =
		run_all(&(struct run){.argv = ARGV("sh", "-c", "kill -KILL $$")}, out, sizeof(out));
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void wait_until_confined(pid_t pid)
{
	char path[64], text[4096];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	do {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
		close(fd);
		text[len > 0 ? len : 0] = '\0';
	} while (len > 0 && !strstr(text, "State:\tZ") &&
		 (!strstr(text, "Seccomp:\t2") || !strstr(text, "State:\tS")));
	printf("confined: %s\n", strstr(text, "Seccomp:\t2") ? "yes" : "no");
	fflush(stdout);
}

/* What enforces the policy is put in place meanwhile. */
static void the_command_is_not_executed_before_it_is_let_go(void **state)
{
	struct run r = {.argv = ARGV("echo", "executed"), .meanwhile = wait_until_confined};

	need_root();
	assert_int_equal(run_all(&r, out, sizeof(out)), 0);
	assert_string_equal(out, "confined: yes\nexecuted\n");
	r.abandon = true;
	assert_int_equal(WEXITSTATUS(run_all(&r, out, sizeof(out))), 126);
	assert_line(out, "confined: yes");
	assert_null(strstr(out, "executed"));
}

static void nothing_survives_the_command(void **state)
{
	char *argv[] = {"sh", "-c", "setsid sleep 1000 >/dev/null & echo $!", NULL};
	struct pollfd p = {.events = POLLIN};
	int pid;

	need_root();
	assert_int_equal(run_all(&(struct run){.argv = argv}, out, sizeof(out)), 0);
	pid = atoi(out);
	assert_true(pid > 1);
	/* Gone, or dead and not yet reaped by init. */
	p.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (p.fd >= 0) {
		assert_int_equal(poll(&p, 1, 0), 1);
		close(p.fd);
	}
}

/* ---- signals ------------------------------------------------------------ */

static void signals_are_forwarded(void **state)
{
	char *argv[] = {"sh", "-c",
			"trap 'exit 42' TERM; trap 'echo usr' USR1; echo ready; "
			"while :; do sleep 0.02; done",
			NULL};
	int fd;
	pid_t pid;

	need_root();
	pid = start(&(struct run){.user = "nobody", .argv = argv}, &fd);
	read_until(fd, "ready", out, sizeof(out));
	kill(pid, SIGUSR1);
	read_until(fd, "usr", out, sizeof(out));
	kill(pid, SIGTERM);
	assert_int_equal(WEXITSTATUS(wait_for(pid, 0)), 42);
	close(fd);
}

static void ignore_hup(void)
{
	signal(SIGHUP, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
}

static void dispositions_are_the_callers(void **state)
{
	unsigned long ignored, blocked, callers = 1UL << (SIGHUP - 1);
	struct sigaction was;

	need_root();
	for (int sig = 1; sig < 32; sig++)	/* a job in the background ignores SIGINT */
		if (sig != SIGCHLD && !sigaction(sig, NULL, &was) && was.sa_handler == SIG_IGN)
			callers |= 1UL << (sig - 1);
	assert_int_equal(run_all(&(struct run){.argv = PROBE("status"), .prepare = ignore_hup}, out,
				 sizeof(out)),
			 0);
	assert_int_equal(
		sscanf(strstr(out, "SigBlk:"), "SigBlk: %lx SigIgn: %lx", &blocked, &ignored), 2);
	assert_true(blocked == 0);
	/* 32 and 33 are the C library's: some callers (make) leave them ignored */
	assert_int_equal(ignored & 0x7fffffff, callers);
}

static void stop_and_continue_together(void **state)
{
	char *argv[] = {"sh", "-c", "kill -STOP $$; kill -STOP $$; exit 7", NULL};
	int fd;
	pid_t pid;

	need_root();
	pid = start(&(struct run){.argv = argv}, &fd);
	for (int i = 0; i < 2; i++) {
		assert_true(WIFSTOPPED(wait_for(pid, WUNTRACED)));
		kill(pid, SIGCONT);
	}
	assert_int_equal(WEXITSTATUS(wait_for(pid, 0)), 7);
	close(fd);
}

/* On a terminal: ^C reaches the command once, ^Z stops both, fg continues both. */
static void terminal_signals_come_once(void **state)
{
	/* not a shell: a ^Z between its vfork and exec stops the child alone, and the
	 * shell, which waits for it uninterruptibly, never counts as stopped */
	char *argv[] = {"/usr/bin/python3", "-c",
			"import signal, sys\n"
			"n = 0\n"
			"def interrupt(*_):\n"
			"    global n\n"
			"    n += 1\n"
			"    print(f'int={n}', flush=True)\n"
			"def terminate(*_):\n"
			"    print(f'total={n}', flush=True)\n"
			"    sys.exit(9)\n"
			"signal.signal(signal.SIGINT, interrupt)\n"
			"signal.signal(signal.SIGTERM, terminate)\n"
			"print('ready', flush=True)\n"
			"while True:\n"
			"    signal.pause()\n",
			NULL};
	struct run r = {.argv = argv};
	int master;
	pid_t leader, pid = 0;

	need_root();
	fflush(NULL);
	leader = forkpty(&master, NULL, NULL, NULL);
	assert_true(leader >= 0);
	if (!leader) {
		int status;

		/* Stands for the shell: it waits, and continues the job. */
		signal(SIGINT, SIG_IGN);
		signal(SIGTTOU, SIG_IGN);
		pid = fork();
		if (!pid) {
			setpgid(0, 0);
			tcsetpgrp(0, getpid());
			signal(SIGINT, SIG_DFL);
			signal(SIGTTOU, SIG_DFL);
			supervise(&r);
		}
		while (waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status)) {
			printf("stopped=%d\n", WSTOPSIG(status));
			fflush(stdout);
			kill(-pid, SIGCONT);
			kill(pid, SIGTERM);
		}
		_exit(WEXITSTATUS(status));
	}
	read_until(master, "ready", out, sizeof(out));
	assert_int_equal(write(master, "\003", 1), 1);
	read_until(master, "int=1", out, sizeof(out));
	assert_int_equal(write(master, "\003", 1), 1);
	read_until(master, "int=2", out, sizeof(out));
	assert_int_equal(write(master, "\032", 1), 1);
	read_until(master, "total=2", out, sizeof(out));
	assert_non_null(strstr(out, "stopped="));
	assert_int_equal(WEXITSTATUS(wait_for(leader, 0)), 9);
	close(master);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exit_codes_pass_through),
		cmocka_unit_test(the_command_is_not_executed_before_it_is_let_go),
		cmocka_unit_test(nothing_survives_the_command),
		cmocka_unit_test(signals_are_forwarded),
		cmocka_unit_test(dispositions_are_the_callers),
		cmocka_unit_test(stop_and_continue_together),
		cmocka_unit_test(terminal_signals_come_once),
	};

	if (argc > 1)
		return probe_status();
	/* A caller's sudo would decide whom the runs below become. */
	unsetenv("SUDO_UID");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
