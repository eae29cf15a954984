// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "loop.h"

#define BATCH 64

/* What is being handed out: a source that is dropped meanwhile is taken out of it. */
static struct epoll_event batch[BATCH];
static int n_batch;

int sl_loop_open(void)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int control(int loop, int op, struct sl_loop_source *source, __u32 events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	return epoll_ctl(loop, op, source->fd, &event) ? -errno : 0;
}

int sl_loop_add(int loop, struct sl_loop_source *source, __u32 events)
{
	return control(loop, EPOLL_CTL_ADD, source, events);
}

int sl_loop_change(int loop, struct sl_loop_source *source, __u32 events)
{
	return control(loop, EPOLL_CTL_MOD, source, events);
}

void sl_loop_drop(int loop, struct sl_loop_source *source)
{
	if (source->fd >= 0)
		control(loop, EPOLL_CTL_DEL, source, 0);
	for (int i = 0; i < n_batch; i++)
		if (batch[i].data.ptr == source)
			batch[i].data.ptr = NULL;
}

int sl_loop_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int sl_loop_turn(int loop, int timeout_ms)
{
	int n = epoll_wait(loop, batch, BATCH, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	n_batch = n;
	for (int i = 0; i < n; i++) {
		struct sl_loop_source *source = batch[i].data.ptr;

		if (source)
			source->ready(source->context, batch[i].events);
	}
	n_batch = 0;
	return 0;
}
