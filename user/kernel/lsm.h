/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The socket family allowlist (bpf/lsm.bpf.c), for kernels that have BPF LSM
 * programs for cgroups (6.0, with "bpf" among the active LSMs). Private to the
 * kernel stage.
 */
#ifndef SLUICE_LSM_H
#define SLUICE_LSM_H

#include <linux/types.h>

#include "policy/diag.h"

/* Maps of the target's main object, by descriptor; borrowed for the call. */
struct sl_lsm_maps {
	int tables, words, stats, hits, budgets, events;
	__u32 slot; /* the target's, in these maps */
};

/*
 * Loads the program with the target's maps and attaches it to the cgroup, where
 * it lives as long as the cgroup, like the others. Then makes sure that the
 * kernel really calls it: a child in the cgroup tries a socket.
 *
 * 0, or nothing is attached and: -EPERM or -EOPNOTSUPP, without a diagnostic
 * (this kernel refuses or ignores LSM programs; go on without), any other
 * -errno with one.
 */
int sl_lsm_attach(int cgroup_fd, const struct sl_lsm_maps *maps, struct sl_diag *diag);

#endif
