/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the operations that change something share. */
#ifndef SLUICE_DAEMON_OP_CHANGE_H
#define SLUICE_DAEMON_OP_CHANGE_H

#include "daemon.h"

/* The state locked, also if the one that was open is not the pinned one any more. */
int sl_change_lock(struct sl_daemon *daemon, struct sl_diag *diag);
/* The policy of a request, by its path or as text, and the other options. Afterwards the request
 * has the text. */
int sl_change_load(json_t *request, struct sl_target_group *group, struct sl_diag *diag);

/* ---- op_cgroup.c ---- */

/* The cgroup's path in the hierarchy, as patterns see it; path is one below its mount. */
const char *sl_change_below_mount(const struct sl_cgroups *cgroups, const char *path);
/* *answer is a new reference. */
int sl_change_attach_cgroup(struct sl_daemon *daemon, const char *path, json_t *request,
			    struct sl_target_group *group, json_t **answer, struct sl_diag *diag);
/* It is not given its policy again by itself; what it is called, a new reference. */
json_t *sl_change_release_cgroup(struct sl_daemon *daemon, const struct sl_target *target);
/* Does a target above it judge it now? */
bool sl_change_is_below_another(struct sl_daemon *daemon, const struct sl_target *target);

#endif
