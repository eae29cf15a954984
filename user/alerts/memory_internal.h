/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* memory.c and memory_file.c; nothing else includes it. */
#ifndef SLUICE_ALERTS_MEMORY_INTERNAL_H
#define SLUICE_ALERTS_MEMORY_INTERNAL_H

#include "memory.h"

enum { SL_SEEN_VALUE, SL_SEEN_GROUP, SL_SEEN_KINDS };

struct sl_seen {
	unsigned char key[SL_MEMORY_KEY];
	__s64 first_ns, last_ns;	/* Unix time; first_ns of groups alone */
	struct sl_seen *chain, *older, *newer;
};

/* In a table, and in the order in which they were last seen. */
struct sl_seen_kind {
	struct sl_seen **table, *oldest, *newest;
	size_t n, size, max;	/* size: a power of two or 0 */
};

struct sl_alert_memory {
	struct sl_seen_kind kinds[SL_SEEN_KINDS];
	__s64 forget_ns;
	__u64 dropped;
	bool changed;
};

/* The newest; NULL when out of memory. It must not be there. */
struct sl_seen *sl_seen_add(struct sl_seen_kind *kind, const unsigned char *key);
void sl_seen_drop(struct sl_seen_kind *kind, struct sl_seen *seen);
struct sl_seen *sl_seen_find(struct sl_seen_kind *kind, const unsigned char *key);

#endif
