/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* `sluice rules --dev`, `--cgroup`. */
#ifndef SLUICE_CLI_HITS_H
#define SLUICE_CLI_HITS_H

#include <stdbool.h>

/* Prints the decisions of a device's or a cgroup's target by rule; the exit status. */
int sl_hits_show(const char *name, bool is_cgroup, bool json);

#endif
