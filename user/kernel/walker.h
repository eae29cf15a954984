/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* bpf/sweep.bpf.c: goes through the flows of a target, over the maps of its programs. */
#ifndef SLUICE_WALKER_H
#define SLUICE_WALKER_H

#include "sluice_sweep.h"

/* The descriptor of a map by its name, borrowed; -1: there is none, and an empty one does. */
typedef int (*sl_walker_map)(const void *context, const char *name);

/* Loads the program: a descriptor, close(2) it; or -errno. */
int sl_walker_load(sl_walker_map map, const void *context);

/* Settles all flows of the slot. 0 or -errno. */
int sl_walker_run(int walker_fd, __u32 slot, enum sl_settle why);

#endif
