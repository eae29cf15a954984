// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What leads to the ranges of addresses (include/sluice_table.h), so that a search does not
 * halve all of them: parts of equal size of IPv4, and levels above the ranges of IPv6, where
 * addresses stand too close together for that.
 */
#include <errno.h>

#include "internal.h"

#define ROOTS_BITS_MAX 14	/* 128 KiB: 1 % of the table of a million prefixes */
#define RANGES_PER_ROOT 16	/* at least, in the mean: fewer gain nothing */

static __u64 section(size_t entries, size_t first)
{
	return (__u64)entries << 32 | first;
}

/* The ranges stand in t from `first` on. */
static int write_roots(struct words *t, size_t first, size_t n, unsigned bits)
{
	size_t root, from = 0, to = 0;
	__u64 end;

	for (root = 0; root < 1ul << bits; root++) {
		end = (root + 1) << (32 - bits);
		while (to < n && t->v[first + to] >> 32 < end)
			to++;
		if (words_push(t, section(to - from, first + from)))
			return -ENOMEM;
		/* The next part begins in its last range, or with one of its own. */
		from = to < n && t->v[first + to] >> 32 == end ? to : to - 1;
	}
	return 0;
}

int write_index4(struct words *t, __u64 h[SL_HEADER_WORDS])
{
	size_t first = (__u32)h[SL_H_V4], n = h[SL_H_V4] >> 32;
	unsigned bits = 0;

	while (bits < ROOTS_BITS_MAX && n >> (bits + 1) >= RANGES_PER_ROOT)
		bits++;
	if (!bits)
		return 0;
	h[SL_H_V4_ROOTS] = section(1ul << bits, t->n);
	if (write_roots(t, first, n, bits))
		return -ENOMEM;
	return pad(t);
}

/* Every stride-th of n words of t, from `from` on, as a level: to whole chunks. */
static int write_level(struct words *t, size_t from, size_t n, size_t stride)
{
	size_t i;

	for (i = 0; i < n; i += stride)
		if (words_push(t, t->v[from + i]))
			return -ENOMEM;
	while (t->n % SL_CHUNK_WORDS)
		if (words_push(t, ~0ull))
			return -ENOMEM;
	return 0;
}

int write_index6(struct words *t, __u64 h[SL_HEADER_WORDS])
{
	size_t from = (__u32)h[SL_H_V6], n = SL_V6_GROUPS(h[SL_H_V6] >> 32) * SL_V6_GROUP_WORDS;
	size_t stride = SL_V6_GROUP_WORDS;
	__u64 levels[SL_V6_LEVELS];
	size_t i, n_levels = 0;

	if (n <= stride)
		return 0;
	do {
		if (n_levels == SL_V6_LEVELS)
			return -EINVAL;
		levels[n_levels++] = t->n;
		if (write_level(t, from, n, stride))
			return -ENOMEM;
		from = levels[n_levels - 1];
		n = t->n - from;
		stride = SL_CHUNK_WORDS;
	} while (n > SL_CHUNK_WORDS);
	for (i = 0; i < n_levels; i++)
		h[SL_H_V6_LEVELS + i] = levels[n_levels - 1 - i];
	return 0;
}
