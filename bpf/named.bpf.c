// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The cgroup programs of policies that name names: verifying what reads DNS takes time
 * that others need not pay. */
#define SL_NAMES 1

#include "sluice.bpf.c"
