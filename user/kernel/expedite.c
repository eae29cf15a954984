// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "expedite.h"

#define BEGIN 'b'
#define END 'e'
#define READY 'r' /* the guard: what ends the other one does not end it any more */

static struct {
	int knob_fd, guard_fd; /* -1: not open */
	bool guarded; /* the guard was heard of */
	unsigned depth;
	bool forbidden;
	bool ours; /* we have written, and are to write 0 */
} own = {.knob_fd = -1, .guard_fd = -1};

/* ---- the number ---- */

static int get(int fd, int *value)
{
	char text[16] = "", *end;
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	long number;

	if (n < 0)
		return -errno;
	number = strtol(text, &end, 10);
	if (end == text)
		return -EINVAL;
	*value = (int)number;
	return 0;
}

static int set(int fd, int value)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d\n", value);

	return pwrite(fd, text, (size_t)len, 0) == len ? 0 : -EIO;
}

/* What is not ours somebody else has written meanwhile. */
static void put_back(int fd)
{
	int value = 0;

	if (!get(fd, &value) && value == SL_EXPEDITE_OURS)
		set(fd, 0);
}

int sl_expedite_read(const char *path, int *value)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = fd < 0 ? -errno : get(fd, value);

	if (fd >= 0)
		close(fd);
	return err;
}

/* ---- the guard ---- */

/* It holds two descriptors, and may nothing. */
static void give_up_all(int knob_fd, int from)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {};
	unsigned low = (unsigned)(knob_fd < from ? knob_fd : from);
	unsigned high = (unsigned)(knob_fd < from ? from : knob_fd);

	if (low > 0)
		close_range(0, low - 1, 0);
	if (high > low + 1)
		close_range(low + 1, high - 1, 0);
	close_range(high + 1, ~0u, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	syscall(SYS_capset, &header, none);
}

/* Whoever ends the other one's process group, terminal or unit does not end this. */
static void outlive(void)
{
	static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGUSR1, SIGUSR2,
				      SIGALRM, SIGTSTP};
	sigset_t none;

	setsid();
	for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_NAME, "sluice-guard", 0, 0, 0);
}

static void guard(int knob_fd, int from) __attribute__((noreturn));

static void guard(int knob_fd, int from)
{
	struct pollfd news = {.fd = from, .events = POLLIN};
	bool begun = false;
	char byte = READY;
	int ready;

	outlive();
	give_up_all(knob_fd, from);
	send(from, &byte, 1, 0);
	for (;;) {
		ready = poll(&news, 1, begun ? SL_EXPEDITE_LIMIT_MS : -1);
		if (ready > 0 && read(from, &byte, 1) != 1)
			break;
		if (!ready)
			put_back(knob_fd);
		if (ready >= 0)
			begun = ready && byte == BEGIN;
	}
	if (begun)
		put_back(knob_fd);
	_exit(0);
}

static int start_guard(int knob_fd)
{
	int pair[2], err;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pid = fork();
	if (!pid)
		guard(knob_fd, pair[1]);
	err = -errno;
	close(pair[1]);
	if (pid > 0)
		return pair[0];
	close(pair[0]);
	return err;
}

static bool tell_guard(char what)
{
	char ready;

	if (!own.guarded)
		own.guarded = read(own.guard_fd, &ready, 1) == 1;
	return own.guarded && send(own.guard_fd, &what, 1, MSG_NOSIGNAL) == 1;
}

/* ---- ours ---- */

int sl_expedite_open(void)
{
	int fd, err;

	if (own.knob_fd >= 0)
		return 0;
	fd = open(SL_EXPEDITE_KNOB, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	put_back(fd);
	err = start_guard(fd);
	if (err < 0) {
		close(fd);
		return err;
	}
	own.knob_fd = fd;
	own.guard_fd = err;
	own.guarded = false;
	return 0;
}

void sl_expedite_close(void)
{
	if (own.knob_fd < 0)
		return;
	if (own.ours)
		put_back(own.knob_fd);
	close(own.knob_fd);
	close(own.guard_fd);
	own.knob_fd = own.guard_fd = -1;
	own.ours = false;
}

void sl_expedite_allow(bool allowed)
{
	own.forbidden = !allowed;
}

/* What is ours already is another Sluice's, or was one's that is dead: put back in any case. */
void sl_expedite_begin(void)
{
	int value = 0;

	if (own.depth++ || own.knob_fd < 0 || own.forbidden || get(own.knob_fd, &value) ||
	    (value && value != SL_EXPEDITE_OURS))
		return;
	if (!tell_guard(BEGIN)) { /* nobody would put it back */
		sl_expedite_close();
		return;
	}
	own.ours = value || !set(own.knob_fd, SL_EXPEDITE_OURS);
}

void sl_expedite_end(void)
{
	if (--own.depth || !own.ours)
		return;
	put_back(own.knob_fd);
	tell_guard(END);
	own.ours = false;
}
