/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The processes of a cgroup: those in it first, then those of the cgroups below. */
#ifndef SLUICE_TARGET_PROCESSES_H
#define SLUICE_TARGET_PROCESSES_H

#include <stdbool.h>

/* proc_fd: its directory in /proc, open during the call only. Its files say ESRCH or
 * ENOENT once it has ended. true: that was enough. */
typedef bool sl_process_fn(void *context, int proc_fd);

/* Is the cgroup of that name none of the workload's, though it stands directly below dir_fd, the
 * workload's cgroup? */
typedef bool sl_foreign_fn(int dir_fd, const char *name);

/*
 * Calls fn for each process until it is content; true if it was. dir_fd: the cgroup's
 * directory, which is only read. A process that our pid namespace cannot see is passed
 * over, and so is what is deeper than 128 cgroups (an open directory each), and what is
 * foreign (NULL: nothing is). Those that fork meanwhile may be missed.
 */
bool sl_each_process(int dir_fd, sl_foreign_fn *foreign, sl_process_fn *fn, void *context);

#endif
