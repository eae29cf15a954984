/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What targets do that is no event of the kernel's: the bytes that they send and get, as
 * `meter` records, rules whose time is over, as `expired` records, and the decisions that are in no
 * event, as `ring-full` and `over-budget` (docs/events.md).
 */
#ifndef SLUICE_DAEMON_LEDGER_H
#define SLUICE_DAEMON_LEDGER_H

#include <jansson.h>

#include "kernel/state.h"

struct sl_ledger;

/* Takes the reference. */
typedef void (*sl_ledger_out)(void *context, json_t *record);

/* losses: the file in which it notes what was told of events that are lost (losses.h); borrowed.
 * NULL: no memory. */
struct sl_ledger *sl_ledger_new(const char *losses, sl_ledger_out out, void *context);
void sl_ledger_free(struct sl_ledger *ledger);

/* Looks at most once a second; tells of bytes every meter_s seconds. What the targets that the first
 * look finds had sent before is nobody's; what they had lost is told. last: tells of all that there is. */
void sl_ledger_look(struct sl_ledger *ledger, const struct sl_state *state, __s64 meter_s,
		    bool last);

/* For sl_state_on_end: the rest of a target that goes. context: the ledger. */
void sl_ledger_end(void *context, const struct sl_state *state, __u32 slot);

#endif
