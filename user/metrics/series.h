/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The series that there are, a bounded number of them. A family's samples are added, then
 * printed together; what is over the maximum is one series whose labels are all `other`.
 */
#ifndef SLUICE_METRICS_SERIES_H
#define SLUICE_METRICS_SERIES_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct sl_series;

enum sl_series_type { SL_COUNTER, SL_GAUGE };

/* NULL: no memory. max: of series with a line of their own; each family may have one more,
 * `other`. */
struct sl_series *sl_series_new(size_t max);
void sl_series_free(struct sl_series *series);

/* Between these, each family once. */
void sl_series_begin(struct sl_series *series);
/* Series that were not seen since sl_series_begin are forgotten. */
void sl_series_end(struct sl_series *series);

/* The samples that follow are of this family; labels: their names, at most 5. */
void sl_series_family(struct sl_series *series, FILE *out, const char *name,
		      enum sl_series_type type, const char *help, const char *const *labels);
/* Values in the order of the labels; NULL is "". Samples with equal labels are added. */
void sl_series_add(struct sl_series *series, const char *const *values, __u64 value);
/* Prints the family's samples. */
void sl_series_print(struct sl_series *series, FILE *out);

/* Lines of the last round, and the series that are in `other`, or left out since a
 * gauge has no sum. */
size_t sl_series_shown(const struct sl_series *series);
size_t sl_series_folded(const struct sl_series *series);
bool sl_series_failed(const struct sl_series *series);	/* no memory */

#endif
