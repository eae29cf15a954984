/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Forwarders of a process that may start none itself: sluiced, which has the kernel's maps
 * in its memory and gives up fork() for good. A child of its early life, the keeper, has
 * neither, keeps the capabilities to give itself up (setuid, setgid, setpcap), and
 * becomes a forwarder as often as it is asked to.
 */
#ifndef SLUICE_FORWARD_KEEPER_H
#define SLUICE_FORWARD_KEEPER_H

#include "compile/compile.h"

/* What one forwarder needs; borrowed. */
struct sl_keeper_task {
	int udp_fd, tcp_fd, gate_fd;
	int text_fd;		/* of sl_keeper_text */
};

/* Forks it, before there are threads or maps. Its socket, which ends it when it is closed;
 * -errno. */
int sl_keeper_start(void);

/* A file in memory: whom the forwarder asks, and the rules' ids. A descriptor, or -errno. */
int sl_keeper_text(const struct sl_policy *resolved, const struct sl_compiled *compiled);

/*
 * Has a forwarder made: its life, a socket that says `r` when it serves or a text why it
 * cannot, and is at its end when the process has ended. Closing it ends the process.
 * -errno: the keeper is gone (-EPIPE, -ECONNRESET), or another error.
 */
int sl_keeper_make(int keeper_fd, const struct sl_keeper_task *task);

#endif
