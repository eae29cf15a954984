/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* cgroup_table.c: the table of one cgroup. For cgroup_give.c; the state being locked. */
#ifndef SLUICE_DAEMON_CGROUP_TABLE_H
#define SLUICE_DAEMON_CGROUP_TABLE_H

#include "cgroups.h"

/* A number of what the resolved policy says; another says something else. */
__u64 sl_cgroup_meaning(const struct sl_watched_cgroup *watched, const struct sl_policy *resolved);
/* What all targets of the group have in common stays theirs. */
void sl_cgroup_free_resolved(const struct sl_watched_cgroup *watched, struct sl_policy *resolved);

/* Compiled, and put there. 0, or -errno with the reason in diag. */
int sl_cgroup_put_table(struct sl_cgroups *cgroups, struct sl_state *state,
			struct sl_watched_cgroup *watched, const struct sl_cgroup_target *cgroup,
			const struct sl_policy *resolved, struct sl_diag *diag);
/* It has that slot's table; 0 or -errno. */
int sl_cgroup_took(struct sl_state *state, struct sl_watched_cgroup *watched, __u32 slot,
		   __u64 generation, __u64 meaning);

/* To the bit what it would get: it goes on as it is. (A forwarder is made with a generation.) */
bool sl_cgroup_has(struct sl_state *state, const struct sl_watched_cgroup *watched, __u32 slot,
		   const struct sl_policy *resolved);
/* A policy that neither this run nor one before it gave. 0 generation: it has none. */
bool sl_cgroup_is_anothers(struct sl_cgroups *cgroups, struct sl_state *state,
			   const struct sl_watched_cgroup *watched, __u32 slot, __u64 *generation);

#endif
