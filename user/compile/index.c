// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Ranges of addresses as groups, and what leads to a group (include/sluice_table.h), so that a
 * search does not halve all of them: equal parts of IPv4, and levels above the groups of
 * IPv6, where addresses stand too close together for that.
 */
#include <errno.h>

#include "internal.h"

#define ROOTS_BITS_MAX 17	/* 512 KiB: 4 % of the table of a million prefixes; more of them push
				 * each other out of the cache */
#define GROUPS_PER_ROOT 1	/* at least, in the mean */
#define GROUPS_WITHOUT 3	/* are found by one search, which comes anyway */
#define RANGE6_WORDS 3		/* as the compiler has them: high, low, class */

static __u64 section(size_t entries, size_t first)
{
	return (__u64)entries << 32 | first;
}

static int push(struct words *t, size_t n, __u64 word)
{
	while (n--)
		if (words_push(t, word))
			return -ENOMEM;
	return 0;
}

/* ---- IPv4 ---- */

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

	if (push(t, SL_V4_GROUPS(n) * SL_CHUNK_WORDS, 0))
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

/* ---- IPv6 ---- */

static __u64 group6_high(const struct compiler *c, size_t group)
{
	return c->v6.v[group * SL_V6_GROUP * RANGE6_WORDS];
}

/* A level, each of whose children leads to `stride` groups. */
static int write_level(const struct compiler *c, struct words *t, size_t n_groups, size_t stride)
{
	size_t children = (n_groups + stride - 1) / stride, child, i;

	for (i = 0; i < children; i += SL_V6_CHILDREN)
		for (child = i + 1; child < i + SL_V6_CHILDREN; child++)
			if (words_push(t, child < children ? group6_high(c, child * stride) :
							     ~0ull))
				return -ENOMEM;
	return 0;
}

static int write_levels(const struct compiler *c, struct words *t, size_t n_groups,
			__u64 h[SL_HEADER_WORDS])
{
	size_t stride = 1, level;

	if (n_groups < 2)
		return 0;
	while (stride * SL_V6_CHILDREN < n_groups)
		stride *= SL_V6_CHILDREN;
	for (level = 0; stride; level++, stride /= SL_V6_CHILDREN) {
		if (level == SL_V6_LEVELS)
			return -EINVAL;
		h[SL_H_V6_LEVELS + level] = t->n;
		if (write_level(c, t, n_groups, stride))
			return -ENOMEM;
	}
	return 0;
}

static int write_groups6(const struct compiler *c, struct words *t, size_t n)
{
	size_t first = t->n, i, k;
	const __u64 *r = c->v6.v;
	__u64 *w, class = 0;

	if (push(t, SL_V6_GROUPS(n) * SL_V6_GROUP_WORDS, 0))
		return -ENOMEM;
	for (i = 0; i < SL_V6_GROUPS(n) * SL_V6_GROUP; i++, r += RANGE6_WORDS) {
		w = t->v + first + i / SL_V6_GROUP * SL_V6_GROUP_WORDS;
		k = i % SL_V6_GROUP;
		class = i < n ? (__u16)r[2] : class;
		w[SL_V6_HIGH(k)] = i < n ? r[0] : ~0ull;
		w[SL_V6_LOW(k)] = i < n ? r[1] : ~0ull;
		w[SL_V6_CLASS_WORD(k)] |= class << 16 * (k % 4);
	}
	return 0;
}

int write_ranges6(const struct compiler *c, struct words *t, size_t n, __u64 h[SL_HEADER_WORDS])
{
	int err = write_levels(c, t, SL_V6_GROUPS(n), h);

	if (!err && t->n % SL_V6_GROUP_WORDS)
		err = push(t, SL_V6_GROUP_WORDS - t->n % SL_V6_GROUP_WORDS, 0);
	h[SL_H_V6] = section(SL_V6_GROUPS(n), t->n);
	h[SL_H_RANGES] |= (__u64)n << 32;
	return err ? err : write_groups6(c, t, n);
}

/* ---- for those who look through all ranges ---- */

size_t sl_ranges(const struct sl_table *t, int family)
{
	size_t n, words;
	__u64 at;

	if (t->n_words < SL_HEADER_WORDS)
		return 0;
	at = t->words[family == 4 ? SL_H_V4 : SL_H_V6];
	n = family == 4 ? SL_V4_RANGES(t->words) : SL_V6_RANGES(t->words);
	words = family == 4 ? SL_V4_GROUPS(n) * SL_CHUNK_WORDS : SL_V6_GROUPS(n) * SL_V6_GROUP_WORDS;
	return (__u32)at + words <= t->n_words ? n : 0;
}

__u32 sl_range_at(const __u64 *words, int family, size_t i, __u64 *high, __u64 *low)
{
	const __u64 *w = words + (__u32)words[family == 4 ? SL_H_V4 : SL_H_V6];

	if (family == 4) {
		w += i / SL_V4_GROUP * SL_CHUNK_WORDS;
		i %= SL_V4_GROUP;
		*high = 0;
		*low = SL_V4_FIRST(i, w[SL_V4_FIRST_WORD(i)]);
		return SL_V4_CLASS(i, w[SL_V4_CLASS_WORD(i)]);
	}
	w += i / SL_V6_GROUP * SL_V6_GROUP_WORDS;
	i %= SL_V6_GROUP;
	*high = w[SL_V6_HIGH(i)];
	*low = w[SL_V6_LOW(i)];
	return SL_V6_CLASS(i, w[SL_V6_CLASS_WORD(i)]);
}
