/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Whom a cgroup may ask (`resolvers: system`, @resolvers) and what its resolver puts behind a
 * name stand in a file that the workload may write. So the first look that finds a process counts, for as
 * long as it is a target, for the next sluiced too: a file each, beside the socket. Where that
 * found no file of its own, the host's counts, as it is now.
 */
#ifndef SLUICE_DAEMON_FIRST_LOOK_H
#define SLUICE_DAEMON_FIRST_LOOK_H

#include "daemon.h"

/* Makes the directory, and forgets whose targets are gone; failing is said. */
void sl_first_look_open(struct sl_daemon *daemon);

/* env: what is seen now; its resolvers and search domains become those that count. False: it was
 * too early to see a pod's, and the host's count until the next look, which is to be soon. */
bool sl_first_look_holds(const struct sl_cgroups *cgroups, const struct sl_watched_cgroup *watched,
			 struct sl_environment *env);

void sl_first_look_forget(const struct sl_cgroups *cgroups, __u64 id);

#endif
