/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SLUICE_KERNEL_EFFECTIVE_H
#define SLUICE_KERNEL_EFFECTIVE_H

#include <stdbool.h>

/*
 * Does each program that judges the processes of one cgroup judge those of the other too,
 * at every hook of cgroups? Both are descriptors of directories. false also if it cannot be
 * told. A process that is moved from one to the other escapes nothing then.
 */
bool sl_cgroup_keeps_programs(int from, int to);

#endif
