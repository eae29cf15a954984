/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What was ever seen: values of first-seen rules, and since when their groups are known.
 * Bounded, kept in a file between runs. It holds hashes, no text of a record.
 *
 * Fails loud: a value that had no room is new again. A group that has no room is not
 * learned, so all its values are told; no flood of values takes a group's place.
 */
#ifndef SLUICE_ALERTS_MEMORY_H
#define SLUICE_ALERTS_MEMORY_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define SL_MEMORY_KEY 16	/* bytes of a hash */

struct sl_alert_memory;

/* NULL when out of memory. What was not seen for forget_ns is forgotten. */
struct sl_alert_memory *sl_alert_memory_new(size_t values, size_t groups, __s64 forget_ns);
void sl_alert_memory_free(struct sl_alert_memory *memory);

/* Seen now. True if it was not known, so it is from now on; *err: 0 or -ENOMEM. */
bool sl_alert_memory_value(struct sl_alert_memory *memory, const unsigned char *key,
			   __s64 now_ns, int *err);
/* The time at which the group was first seen, now if it is new. False if there is no room. */
bool sl_alert_memory_group(struct sl_alert_memory *memory, const unsigned char *key,
			   __s64 now_ns, __s64 *first_ns);

/* Values that were dropped for room so far. */
__u64 sl_alert_memory_dropped(const struct sl_alert_memory *memory);

/*
 * The file. Loading one that is not there is no error; of one that is not what save wrote
 * nothing is taken: -EINVAL. Saving replaces it whole; with nothing changed it does nothing.
 * 0 or -errno.
 */
int sl_alert_memory_load(struct sl_alert_memory *memory, const char *path);
int sl_alert_memory_save(struct sl_alert_memory *memory, const char *path);

#endif
