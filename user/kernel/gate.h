/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the forwarder asks the kernel (include/sluice_forward.h): the programs of a target
 * judge a question and learn an answer that comes from a process of ours, as they do for
 * a packet.
 */
#ifndef SLUICE_KERNEL_GATE_H
#define SLUICE_KERNEL_GATE_H

#include <stddef.h>

#include "kernel.h"
#include "state.h"
#include "sluice_forward.h"

/*
 * Loads the program over a target's maps: its descriptor, owned by the caller, or -errno.
 * Whoever holds it needs no privilege to ask. The target has names.
 */
int sl_kernel_gate(const struct sl_kernel *kernel, struct sl_diag *diag);

/* Marks a socket, and those that it will accept, as the forwarder's: the target's
 * questions reach no others. 0 or -errno. */
int sl_kernel_mark_forwarder(const struct sl_kernel *kernel, int socket_fd);

/* The same for a cgroup of the pinned state, by its slot. */
int sl_state_gate(const struct sl_state *state, __u32 slot, struct sl_diag *diag);
int sl_state_mark_forwarder(const struct sl_state *state, int socket_fd);

/*
 * Asks about a message (at most SL_ASK_MESSAGE_MAX bytes). ask: what and, for a question,
 * whose it is; the answer's fields are filled in. An enum sl_ask_verdict, or -errno.
 */
int sl_gate_ask(int gate_fd, struct sl_ask *ask, const void *message, size_t length);

#endif
