/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Memory for many small things that go together: taken piece by piece, given back as a whole. */
#ifndef SLUICE_POLICY_ARENA_H
#define SLUICE_POLICY_ARENA_H

#include <stddef.h>

struct sl_arena_block;

/* Zeroed, it is empty. */
struct sl_arena {
	struct sl_arena_block *blocks;	/* owned; the first one is taken from */
	char *at;			/* what is left of it */
	size_t left;
};

/* n elements of a size, which are not zeroed, for any type; n may be 0. NULL: no memory. */
void *sl_arena_take(struct sl_arena *arena, size_t n, size_t size);
void sl_arena_free(struct sl_arena *arena);

#endif
