/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Records of docs/events.md as the rules that they ask for: what a program reached for that was
 * denied (or would have been, in audit mode), and what it was allowed if that was logged.
 * What is in a record was chosen by the program that is confined: every text of it is
 * checked to be a name or an address, or is shown in a comment alone.
 */
#ifndef SLUICE_CONVERT_RECORDS_H
#define SLUICE_CONVERT_RECORDS_H

#include <stdio.h>

#include "alerts/fields.h"
#include "policy/diag.h"

#define SL_WISHES_MAX 4096 /* different destinations; what asks for more is no list */

struct sl_records;

/* policy: whose records count, borrowed; NULL: there must be one policy. NULL when out of
 * memory. */
struct sl_records *sl_records_new(const char *policy);
void sl_records_free(struct sl_records *records);

/* A sl_record_fn (alerts/stream.h); records is a struct sl_records. */
void sl_records_take(void *records, struct sl_alert_record *record);

/* Is there a policy in them? 0, -ENOMEM, or -EINVAL, reported: no decisions at all, more
 * than one policy, too many destinations. file: whose records they are, for the errors. */
int sl_records_check(const struct sl_records *records, const char *file, struct sl_diag *diag);

/* The policy, with what its reader should know in comments. */
void sl_records_print(const struct sl_records *records, FILE *out);

#endif
