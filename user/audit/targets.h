/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the numbers in events of many targets mean: the target's name, its policy's
 * and its rules' names, read from the pinned state, a table that is in force holding
 * its own labels.
 */
#ifndef SLUICE_AUDIT_TARGETS_H
#define SLUICE_AUDIT_TARGETS_H

#include "audit/record.h"
#include "kernel/state.h"

struct sl_audit_targets;

/* The state is borrowed. NULL: no memory. */
struct sl_audit_targets *sl_audit_targets_new(struct sl_state *state, __s64 boot_epoch_ns);
void sl_audit_targets_free(struct sl_audit_targets *targets);

/* The wall clock was set: events are dated by it from here on. */
void sl_audit_targets_clock(struct sl_audit_targets *targets, __s64 boot_epoch_ns);

/* The names for an event. A generation that is gone, and was never seen by this reader,
 * has none for its policy and rules (who switches drains first: sl_state_on_switched); a target
 * that is gone has none at all, though another has its slot. Valid until the next call. */
const struct sl_audit_names *sl_audit_targets_names(struct sl_audit_targets *targets,
						    const struct sl_event *event);

#endif
