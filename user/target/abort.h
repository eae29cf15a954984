/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Connections that cannot go on. What a command or a cgroup sends on a TCP connection is denied by
 * dropping it, which TCP takes for loss: the program would wait for a quarter of an hour. So
 * its socket is closed under it (SOCK_DESTROY, linux/sock_diag.h; kernels with
 * CONFIG_INET_DIAG_DESTROY), and the program's next call says ECONNABORTED.
 */
#ifndef SLUICE_TARGET_ABORT_H
#define SLUICE_TARGET_ABORT_H

#include <stdbool.h>

#include "sluice_abi.h"

struct mnl_socket;

/* Is a socket of that cgroup the target's that the event is of? A namespace of the target's own
 * may have the addresses of ours: other cgroups' sockets are left alone. */
typedef bool sl_abort_is_of(void *context, const struct sl_event *event, __u64 cgroup_id);

struct sl_abort {
	struct mnl_socket *netlink; /* owned; NULL: connections are left to time out */
	sl_abort_is_of *is_of;
	void *context;
};

/* For the caller's network namespace. Without rights, or where the kernel cannot do it,
 * nothing will be aborted. */
void sl_abort_open(struct sl_abort *abort, sl_abort_is_of *is_of, void *context);
void sl_abort_close(struct sl_abort *abort);

/* Aborts the connection that the event is about, if what it sent was denied there: a
 * question over TCP, a TLS hello. True if the kernel did. */
bool sl_abort_connection(struct sl_abort *abort, const struct sl_event *event);

#endif
