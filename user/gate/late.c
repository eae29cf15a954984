// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The bound on all of a gate: standard input, the socket and the disk alike can make it wait. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "late.h"

#define LOG_SOCKET "/dev/log"

/* A signal handler may neither allocate nor lock, as syslog(3) does: all is there before. */
static struct {
	struct sl_gate_late late;
	size_t said_len;
	char record[600];
	int log_fd;
} at_end = {.log_fd = -1};

static void on_late(int signal_number)
{
	ssize_t ignored = send(at_end.log_fd, at_end.record, strlen(at_end.record),
			       MSG_DONTWAIT | MSG_NOSIGNAL);

	(void)signal_number;
	if (at_end.said_len)
		ignored = write(at_end.late.fd, at_end.late.said, at_end.said_len);
	(void)ignored;
	_exit(at_end.late.status);
}

/* -1: nobody listens. */
static int open_log(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = LOG_SOCKET};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* As syslog(3) writes it. */
static void prepare_record(const struct sl_gate_late *late)
{
	time_t now = time(NULL);
	char when[32] = "";
	struct tm tm;

	if (localtime_r(&now, &tm))
		strftime(when, sizeof(when), "%b %e %T ", &tm);
	snprintf(at_end.record, sizeof(at_end.record), "<%d>%s%s[%d]: %s",
		 LOG_DAEMON | (late->status ? LOG_ERR : LOG_WARNING), when, late->who,
		 (int)getpid(), late->log);
}

static void let_through(int signal_number)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signal_number);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void sl_gate_bound(unsigned seconds, const struct sl_gate_late *late)
{
	alarm(0);
	at_end.late = *late;
	at_end.said_len = late->said ? late->said_len : 0;
	if (at_end.log_fd < 0)
		at_end.log_fd = open_log();
	prepare_record(late);
	signal(SIGALRM, on_late);
	let_through(SIGALRM); /* a runtime that blocks it would have us wait for ever */
	alarm(seconds);
}

void sl_gate_in_time(void)
{
	alarm(0);
}
