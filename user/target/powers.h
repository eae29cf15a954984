/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Who in a cgroup can do more than its programs see: CAP_NET_ADMIN makes devices and rewrites packets
 * behind the hooks, CAP_NET_RAW sends frames that no socket's hook sees. So both can answer a
 * question of their own (docs/SECURITY.md). CAP_SYS_ADMIN mounts the hierarchy, and leaves.
 */
#ifndef SLUICE_TARGET_POWERS_H
#define SLUICE_TARGET_POWERS_H

#include <linux/capability.h>
#include <linux/types.h>

#include "target/processes.h"

#define SL_POWER(capability) (1ull << (capability))
#define SL_POWERS_NET (SL_POWER(CAP_NET_ADMIN) | SL_POWER(CAP_NET_RAW))
#define SL_POWERS_LEAVE SL_POWER(CAP_SYS_ADMIN)

struct sl_powers {
	int pid;   /* of the first that has one; 0: nobody */
	__u64 has; /* what of the wanted that one has */
};

/*
 * Looks for a process in the cgroup or below that holds one of the wanted in our own user
 * namespace. In one of its own, which anybody may make, it has them over the network namespaces
 * that belong to that, where what it learns is nobody else's. cgroup: the directory's path;
 * foreign: of processes.h.
 * What cannot be looked at (it has ended, it is hidden) is passed over.
 */
void sl_powers_look(const char *cgroup, sl_foreign_fn *foreign, __u64 wanted,
		    struct sl_powers *out);

#endif
