/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which records `sluice monitor` shows: lists of patterns, fnmatch(3). One that is NULL or
 * empty holds nothing back; of the others one pattern must match. */
#ifndef SLUICE_DAEMON_FILTER_H
#define SLUICE_DAEMON_FILTER_H

#include <jansson.h>
#include <stdbool.h>

#define SL_FILTER_MAX 64 /* patterns in a list */

struct sl_filter {
	json_t *targets, *verdicts, *rules, *names; /* owned */
};

bool sl_filter_wants(const struct sl_filter *filter, const json_t *record);
void sl_filter_free(struct sl_filter *filter);

#endif
