/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Bursts as one record: the first event of a (verdict, rule, reason,
 * destination, port, process) is handed on at once; what repeats within the
 * window is handed on once, with its count, when the window ends. The end of a flow is
 * handed on as it is.
 */
#ifndef SLUICE_AGGREGATE_H
#define SLUICE_AGGREGATE_H

#include <stdbool.h>

#include "sluice_abi.h"

#define SL_AGGREGATE_WINDOW_NS 1000000000ull

typedef void (*sl_aggregate_out)(void *context, const struct sl_event *event, __u64 count);

struct sl_aggregate;

/* NULL when out of memory. Holds at most 1,024 windows; the oldest ends early. */
struct sl_aggregate *sl_aggregate_new(sl_aggregate_out out, void *context);
void sl_aggregate_add(struct sl_aggregate *aggregate, const struct sl_event *event);

/* Ends the windows that are over at now_ns (boot time); ~0 ends all. */
void sl_aggregate_flush(struct sl_aggregate *aggregate, __u64 now_ns);

/* True if a window is open: flush again within SL_AGGREGATE_WINDOW_NS. */
bool sl_aggregate_pending(const struct sl_aggregate *aggregate);
void sl_aggregate_free(struct sl_aggregate *aggregate); /* does not flush */

#endif
