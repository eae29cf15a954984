/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Who looks at the processes of a cgroup in place of a caller that may not: their
 * namespaces and files take CAP_SYS_PTRACE and CAP_SYS_ADMIN, which sluiced gives up
 * (user/daemon/lookout.h). A pointer that is NULL: the caller itself.
 */
#ifndef SLUICE_TARGET_LOOKOUT_H
#define SLUICE_TARGET_LOOKOUT_H

#include "resolve/resolve.h"
#include "target/processes.h"
#include "target/uid_map.h"

struct sl_lookout {
	/* As sl_cgroup_look. */
	int (*environment)(const struct sl_lookout *lookout, int cgroup_fd,
			   struct sl_environment *env, __u64 *netns);
	/* As sl_uid_map_look. */
	void (*uids)(const struct sl_lookout *lookout, int cgroup_fd, struct sl_uid_map *map);
};

/*
 * The network as a process in the cgroup or below sees it, with the resolv.conf of its
 * root; without one, the caller's. *netns: the cookie of its network namespace, 0: the
 * caller's. cgroup_fd: the cgroup's directory; foreign: of processes.h. -EACCES: the caller may not
 * look; or -errno. Free with sl_environment_free.
 */
int sl_cgroup_look(int cgroup_fd, sl_foreign_fn *foreign, struct sl_environment *env, __u64 *netns);

#endif
