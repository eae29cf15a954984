/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What was blocked, for a person: grouped by destination, rule and process. */
#ifndef SLUICE_SUMMARY_H
#define SLUICE_SUMMARY_H

#include <stdio.h>

#include "record.h"

struct sl_summary;

struct sl_summary *sl_summary_new(void);	/* NULL when out of memory */
void sl_summary_add(struct sl_summary *summary, const struct sl_event *event);

/* Prints the groups, most frequent first, at most max of them, each line with
 * the prefix `sluice: `. Nothing if there are none. */
void sl_summary_print(const struct sl_summary *summary, const struct sl_audit_names *names,
		      size_t max, FILE *out);
void sl_summary_free(struct sl_summary *summary);

#endif
