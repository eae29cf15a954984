/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* One epoll, and who is called when a descriptor is ready. */
#ifndef SLUICE_DAEMON_LOOP_H
#define SLUICE_DAEMON_LOOP_H

#include <linux/types.h>
#include <stdbool.h>

struct sl_loop_source {
	int fd;					    /* owned by who watches; -1: none */
	void (*ready)(void *context, __u32 events); /* EPOLLIN ... */
	void *context;
};

/* The epoll's descriptor, or -errno; close(2) it. */
int sl_loop_open(void);

/* From here on source is called; it must stay where it is until it is dropped. 0 or -errno. */
int sl_loop_add(int loop, struct sl_loop_source *source, __u32 events);
int sl_loop_change(int loop, struct sl_loop_source *source, __u32 events);
/* Not called any more, not even for what is ready already. */
void sl_loop_drop(int loop, struct sl_loop_source *source);

/* Blocks the signals that say what to do: SIGINT and SIGTERM, SIGHUP, SIGUSR1. Their signalfd,
 * or -1 with errno. SIGPIPE is ignored: whoever reads us may go, and what is enforced stays. */
int sl_loop_signals(void);

/* Waits, and calls what is ready. 0 or -errno. */
int sl_loop_turn(int loop, int timeout_ms);

#endif
