/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* `sluice rules --dev`, `--cgroup`. */
#ifndef SLUICE_CLI_HITS_H
#define SLUICE_CLI_HITS_H

#include <linux/types.h>
#include <stdbool.h>

/* Prints the decisions of a device's or a cgroup's target by rule; the exit status.
 * unused_s: only rules that decided nothing for so long; 0: all. */
int sl_hits_show(const char *name, bool is_cgroup, __s64 unused_s, bool json);

#endif
