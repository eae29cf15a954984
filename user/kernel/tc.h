/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A program on a device of the caller's network namespace: by a tcx link (6.6), before
 * every other; else as the first filter of a clsact queueing discipline. Private to the
 * kernel stage.
 */
#ifndef SLUICE_TC_H
#define SLUICE_TC_H

#include <stdbool.h>

#include "sluice_abi.h"

/* A tcx link of a program on a device: its descriptor, or -errno. -EINVAL: this
 * kernel has no tcx. Ends with the last descriptor or pin. direction: SL_EGRESS is
 * what the workload sends (ingress of the device). */
int sl_tcx_link(int prog_fd, unsigned ifindex, enum sl_direction direction);

/* Puts a program (-1: none, only looks) into a tcx link in the place of the one in it, in one
 * step. 0; -ENOLINK: the
 * device is gone; -EXDEV: no tcx link of this direction; -errno. */
int sl_tcx_replace(const char *pin, enum sl_direction direction, int prog_fd);

/* The interface of a tcx link by a pin's path: > 0, 0 if the device is gone, -errno. */
int sl_tcx_ifindex(const char *pin);
int sl_tcx_link_ifindex(const char *pin, __u32 *id);	/* ... and the link's id */

/* Is that link on the device? 1, 0 or -errno (-ENODEV: there is no device). */
int sl_tcx_has_link(unsigned ifindex, enum sl_direction direction, __u32 id);

/* The program that a device runs first, by tcx. 0: none; -errno. */
int sl_tcx_first(unsigned ifindex, enum sl_direction direction, __u32 *program);

/* clsact: attaches; *made_qdisc tells whether there was none. 0 or -errno: -EEXIST
 * means that the place, or an ingress qdisc, is somebody else's. */
int sl_clsact_attach(int prog_fd, unsigned ifindex, enum sl_direction direction,
		     bool *made_qdisc);
/* Puts it in the place of the program that is in ours, in one step. */
int sl_clsact_replace(int prog_fd, unsigned ifindex, enum sl_direction direction);
int sl_clsact_detach(unsigned ifindex, enum sl_direction direction);
int sl_clsact_remove_qdisc(unsigned ifindex);
/* The program in our place; 0: none. */
__u32 sl_clsact_program(unsigned ifindex, enum sl_direction direction);
/* Is the program with this id attached in our place? */
bool sl_clsact_is_attached(unsigned ifindex, enum sl_direction direction, __u32 prog_id);

#endif
