/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What is in force, as JSON: `sluice status` and `sluice rules`, from the pins or through
 * sluiced. New references; NULL: no memory. */
#ifndef SLUICE_DAEMON_VIEW_H
#define SLUICE_DAEMON_VIEW_H

#include <jansson.h>

#include "target/device.h"

/* How the warning of a veth begins, behind its name and a colon. */
#define SL_VIEW_PEER_OPEN "a veth whose other end is not guarded"

/* ---- view.c ---- */

/* Adds all of them to targets, and what is to be warned of, texts, to warnings. 0 or
 * -errno. */
int sl_view_targets(struct sl_state *state, json_t *targets, json_t *warnings);

/* The target of a device by its name, or of a cgroup by its path. 0; -ENOENT: it has none;
 * else -errno, with the reason in diag where there is more to say. */
int sl_view_find(struct sl_state *state, const char *name, bool is_cgroup, __u32 *slot,
		 struct sl_target *target, struct sl_diag *diag);

/* RFC 3339 of a Unix time and of a boot time, UTC, seconds. Returns buf. */
const char *sl_view_time(__s64 seconds, char buf[40]);
const char *sl_view_boot_time(__u64 boot_ns, char buf[40]);

/* ---- view_rules.c ---- */

/* [{rule, reason, count, last, idle_s, bytes}] of a slot, most decisions first, rules that have
 * decided nothing too. idle_s: since the last decision, null if there was none. NULL: see
 * *err, -errno as sl_state_table. */
json_t *sl_view_rules(struct sl_state *state, __u32 slot, int *err);

#endif
