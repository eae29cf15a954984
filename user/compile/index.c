// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Ranges of IPv4 as groups, and what leads to a group (include/sluice_table.h), so that a
 * search does not halve all of them: equal parts of the address space.
 */
#include <errno.h>

#include "internal.h"

#define ROOTS_BITS_MAX 17	/* 512 KiB: 4 % of the table of a million prefixes; more of them push
				 * each other out of the cache */
#define GROUPS_PER_ROOT 1	/* at least, in the mean */
#define GROUPS_WITHOUT 3	/* are found by one search, which comes anyway */

/* A part's entry: the group of its first address, up to that of its last one. */
static __u64 root_of(size_t from, size_t to)
{
	size_t group = from / SL_V4_GROUP, count = to / SL_V4_GROUP - group + 1;

	return group | (count < SL_V4_ROOT_MANY ? count : SL_V4_ROOT_MANY) << SL_V4_ROOT_SHIFT;
}

static int write_roots(const struct compiler *c, struct words *t, size_t n, unsigned bits)
{
	size_t root, from = 0, to;
	__u64 end, word = 0;

	for (root = 0; root < 1ul << bits; root++) {
		end = (root + 1) << (32 - bits);
		while (from + 1 < n && c->v4.v[from + 1] >> 32 <= end - (1ull << (32 - bits)))
			from++;
		for (to = from; to + 1 < n && c->v4.v[to + 1] >> 32 < end;)
			to++;
		word |= root_of(from, to) << 32 * (root % 2);
		from = to;
		if (root % 2) {
			if (words_push(t, word))
				return -ENOMEM;
			word = 0;
		}
	}
	return pad(t);
}

static int write_groups4(const struct compiler *c, struct words *t, size_t n)
{
	size_t first = t->n, i, at, k;
	__u64 *w, range = 0;

	if (words_fill(t, SL_V4_GROUPS(n) * SL_CHUNK_WORDS, 0))
		return -ENOMEM;
	for (i = 0; i < SL_V4_GROUPS(n) * SL_V4_GROUP; i++) {
		at = first + i / SL_V4_GROUP * SL_CHUNK_WORDS;
		k = i % SL_V4_GROUP;
		w = t->v + at;
		range = i < n ? c->v4.v[i] : 0xffffffffull << 32 | (__u32)range;
		w[SL_V4_FIRST_WORD(k)] |= (range >> 32) << 32 * (~k & 1);
		w[SL_V4_CLASS_WORD(k)] |= (__u64)(__u16)range << 16 * (k % 4);
	}
	return 0;
}

int write_ranges4(const struct compiler *c, struct words *t, size_t n, __u64 h[SL_HEADER_WORDS])
{
	unsigned bits = 0;

	while (SL_V4_GROUPS(n) > GROUPS_WITHOUT && bits < ROOTS_BITS_MAX &&
	       SL_V4_GROUPS(n) >> (bits + 1) >= GROUPS_PER_ROOT)
		bits++;
	if (bits) {
		h[SL_H_V4_ROOTS] = section(1ul << bits, t->n);
		if (write_roots(c, t, n, bits))
			return -ENOMEM;
	}
	h[SL_H_V4] = section(SL_V4_GROUPS(n), t->n);
	h[SL_H_RANGES] |= n;
	return write_groups4(c, t, n);
}
