/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Who in a cgroup can do more to the network than its programs see: CAP_NET_ADMIN makes
 * devices and rewrites packets behind the hooks, CAP_NET_RAW sends frames that no socket's hook
 * sees. So both can answer a question of their own (docs/SECURITY.md).
 */
#ifndef SLUICE_TARGET_POWERS_H
#define SLUICE_TARGET_POWERS_H

#include <stdbool.h>

struct sl_powers {
	int pid;	 /* of the first that has one; 0: nobody */
	bool admin, raw; /* what that one has */
};

/*
 * Looks for a process in the cgroup or below that holds one of them in our own user
 * namespace. In one of its own, which anybody may make, it has them over the network namespaces
 * that belong to that, where what it learns is nobody else's. cgroup: the directory's path.
 * What cannot be looked at (it has ended, it is hidden) is passed over.
 */
void sl_powers_look(const char *cgroup, struct sl_powers *out);

#endif
