// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Ranges of IPv6 as groups, and the levels that lead to a group (include/sluice_table.h): by the
 * upper halves of addresses, and those that begin or end within a /64 by whole addresses.
 */
#include <errno.h>
#include <string.h>

#include "internal.h"

#define RANGE_WORDS 3	/* as the compiler has them: high, low, class */

/* Both kinds of groups while they are written; without words they are only counted. */
struct groups {
	__u64 *upper, *full;	/* the first block, the first full group */
	size_t n_upper, n_full;
	__u64 class;		/* of the last upper one */
};

static void put_upper(struct groups *g, __u64 high, __u64 class)
{
	size_t i = g->n_upper % SL_V6_GROUP;
	__u64 *w;

	if (g->upper) {
		w = g->upper + g->n_upper / SL_V6_GROUP * SL_CHUNK_WORDS;
		w[i] = high >> 1;
		w[SL_V6_LOWEST] |= (high & 1) << (48 + i);
		if (!i)
			w[SL_V6_CLASS_WORD(0)] |= g->class;
		w[SL_V6_CLASS_WORD(i + 1)] |= class << 16 * ((i + 1) % 4);
	}
	g->class = class;
	g->n_upper++;
}

static void put_full(struct groups *g, __u64 high, __u64 low, __u64 class)
{
	size_t i = g->n_full % SL_FULL_GROUP;
	__u64 *w;

	if (g->full) {
		w = g->full + g->n_full / SL_FULL_GROUP * SL_FULL_GROUP_WORDS;
		w[SL_FULL_HIGH(i)] = high;
		w[SL_FULL_LOW(i)] = low;
		w[SL_FULL_CLASS_WORD(i)] |= class << 16 * (i % 4);
	}
	g->n_full++;
}

/* Behind the last range. */
static void pad_full(struct groups *g)
{
	__u64 class = SL_FULL_CLASS((g->n_full - 1) % SL_FULL_GROUP,
				    g->full[(g->n_full - 1) / SL_FULL_GROUP * SL_FULL_GROUP_WORDS +
					    SL_FULL_CLASS_WORD((g->n_full - 1) % SL_FULL_GROUP)]);

	while (g->n_full % SL_FULL_GROUP)
		put_full(g, ~0ull, ~0ull, class);
}

/*
 * The ranges that begin with one upper half: one that begins with it is one by upper halves, the others
 * are full. What follows a full one is divided from it only where it is by upper halves
 * itself: with hosts and nothing else, all are full, and one range leads to them.
 */
static void split(struct groups *g, const __u64 *r, size_t n)
{
	const __u64 *end = r + n * RANGE_WORDS, *next;
	__u64 class = 0, behind = 0;
	bool full = false;

	for (; r < end; r = next) {
		for (next = r + RANGE_WORDS; next < end && *next == *r;)
			next += RANGE_WORDS;
		if (next == r + RANGE_WORDS && !r[1]) {
			if (full && behind < r[0])
				put_upper(g, behind, class);
			put_upper(g, r[0], (__u16)r[2]);
			full = false;
		} else {
			if (!full) {
				put_upper(g, r[0], SL_V6_FULL);
				if (r[1])
					put_full(g, r[0], 0, class);
			}
			for (; r < next; r += RANGE_WORDS)
				put_full(g, r[0], r[1], (__u16)r[2]);
			full = true;
			behind = next[-RANGE_WORDS] + 1;
		}
		class = (__u16)next[-1];
	}
}

static size_t parts(size_t n, size_t size)
{
	return (n + size - 1) / size;
}

/* How many of n blocks or groups a child of the highest level leads to. */
static size_t highest_stride(size_t n)
{
	size_t stride = 1;

	while (stride * SL_V6_CHILDREN < n)
		stride *= SL_V6_CHILDREN;
	return n < 2 ? 0 : stride;
}

/* Room for the levels; levels: the header's words. */
static int reserve_levels(struct words *t, size_t n, __u64 *levels)
{
	size_t stride = highest_stride(n);

	for (; stride; stride /= SL_V6_CHILDREN) {
		*levels++ = t->n;
		if (words_fill(t, parts(parts(n, stride), SL_V6_CHILDREN) * SL_CHUNK_WORDS,
			       SL_V6_NO_KEY))
			return -ENOMEM;
	}
	return 0;
}

/* words: the table's; keys: the upper half of the first address of each of n, `size` words apart. */
static void write_levels(__u64 *words, const __u64 *levels, size_t n, const __u64 *keys,
			 size_t size, unsigned shift)
{
	size_t stride = highest_stride(n), child;
	__u64 *w;

	for (; stride; stride /= SL_V6_CHILDREN, levels++) {
		w = words + *levels;
		for (child = 0; child * stride < n; child++)
			if (child % SL_V6_CHILDREN)
				*w++ = keys[child * stride * size] >> shift;
	}
}

static int align(struct words *t, size_t words)
{
	return words_fill(t, (words - t->n % words) % words, 0);
}

/* Room for blocks and for full groups. */
static int reserve_groups(struct words *t, size_t n_blocks, size_t n_full,
			  __u64 h[SL_HEADER_WORDS])
{
	size_t first, i;

	if (align(t, SL_V6_BLOCK_WORDS))
		return -ENOMEM;
	first = t->n;
	h[SL_H_V6] = section(n_blocks, first);
	if (words_fill(t, n_blocks * SL_V6_BLOCK_WORDS, SL_V6_NO_KEY))
		return -ENOMEM;
	for (i = first; i < t->n; i++)
		if (i % SL_CHUNK_WORDS >= SL_V6_GROUP)
			t->v[i] = 0;
	h[SL_H_FULL] = section(n_full, t->n);
	return words_fill(t, n_full * SL_FULL_GROUP_WORDS, 0);
}

int write_ranges6(const struct compiler *c, struct words *t, size_t n, __u64 h[SL_HEADER_WORDS])
{
	size_t n_blocks, n_full;
	struct groups g = {};

	split(&g, c->v6.v, n);
	n_blocks = SL_V6_BLOCKS(g.n_upper);
	n_full = SL_FULL_GROUPS(g.n_full);
	h[SL_H_RANGES] |= (__u64)g.n_upper << 32;
	h[SL_H_FULL_RANGES] = g.n_full;
	if (reserve_levels(t, n_blocks, h + SL_H_V6_LEVELS) ||
	    reserve_levels(t, n_full, h + SL_H_FULL_LEVELS) || reserve_groups(t, n_blocks, n_full, h))
		return -ENOMEM;
	g = (struct groups){.upper = t->v + (__u32)h[SL_H_V6], .full = t->v + (__u32)h[SL_H_FULL]};
	split(&g, c->v6.v, n);
	if (n_full)
		pad_full(&g);
	write_levels(t->v, h + SL_H_V6_LEVELS, n_blocks, g.upper, SL_V6_BLOCK_WORDS, 0);
	write_levels(t->v, h + SL_H_FULL_LEVELS, n_full, g.full, SL_FULL_GROUP_WORDS, 1);
	return 0;
}
