/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Decisions of a target that are in no event, because the ring buffer was full or the target was over
 * its event budget: what has been told of them, also by the sluiced of before. One file, `losses`,
 * beside the socket, where a reboot empties it as it does the pins.
 */
#ifndef SLUICE_DAEMON_LOSSES_H
#define SLUICE_DAEMON_LOSSES_H

#include <jansson.h>

#include "sluice_abi.h"

/* Since the target was attached. */
struct sl_losses {
	__u64 ring, closes; /* decisions, and ends of flows, that found the ring buffer full */
	__u64 budget;
};

/* The file beside that socket; owned by the caller. NULL: no memory. */
char *sl_losses_path(const char *socket);
/* What the file holds; owned by the caller, NULL: nothing (said, if it cannot be read). */
json_t *sl_losses_read(const char *path);
/* Of the target that was attached at that time (boot time), in that slot; else all zero. */
struct sl_losses sl_losses_recall(const json_t *memory, __u32 slot, __u64 since_ns);
void sl_losses_add(json_t *memory, __u32 slot, __u64 since_ns, const struct sl_losses *told);
/* Whole or not at all; said if it cannot be. */
void sl_losses_write(const char *path, const json_t *memory);

#endif
