/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The first step of a verdict: from an address to its class. Part of sluice_reader.h.
 */
#ifndef SLUICE_CLASSES_H
#define SLUICE_CLASSES_H

#include "sluice_lacks.h"
#include "sluice_search.h"

/* The class of an IPv4 address in its group, which word `at` begins: that of the last range that
 * begins at most there. */
SL_INLINE __u64 sl_group4_class(const __u64 *page, __u32 at, __u32 address)
{
	const sl_half *first = (const sl_half *)sl_page_chunk(page, at);
	__u64 above = (__u64)address + 1, less = 0;
	__u32 range;
	int i;

#pragma GCC unroll 10
	for (i = 0; i < SL_V4_GROUP; i++)	/* in whatever order the halves are */
		less += sl_less63(first[i], above);
	range = (__u32)less - 1;
	SL_BARRIER(range);
	return SL_V4_CLASS(range, sl_page_word(page, at + SL_V4_CLASS_WORD(range)));
}

/* The groups that an address may be in, of all: the first one and how many. */
SL_INLINE int sl_table_root4(sl_table_map m, struct sl_place *p, __u64 roots, __u32 address,
			     __u32 *first, __u32 *count)
{
	__u32 at = (__u32)((__u64)address * (roots >> 32) >> 32), root;
	__u64 word;

	if (!(roots >> 32))
		return 0;
	if (!sl_place_word(m, p, (__u32)roots + at / 2, &word))
		return -1;
	root = word >> 32 * (at & 1);
	*first = root & SL_V4_ROOT_GROUP;
	*count = root >> SL_V4_ROOT_SHIFT == SL_V4_ROOT_MANY ? *count - *first :
							       root >> SL_V4_ROOT_SHIFT;
	return 0;
}

SL_INLINE int sl_table_find4(sl_table_ref t, sl_table_map m, struct sl_place *p,
			     const __u64 *head, __u32 address, __u64 *class)
{
	__u32 count = head[SL_H_V4] >> 32, first = 0, at = (__u32)head[SL_H_V4];

	if (sl_table_root4(m, p, head[SL_H_V4_ROOTS], address, &first, &count) ||
	    sl_table_locate(t, m, p, at + first * SL_CHUNK_WORDS, count, SL_CHUNK_SHIFT, address,
			    &at))
		return -1;
	*class = sl_group4_class(p->page, at, address);
	return 0;
}

/* How many of the first n words of a chunk are below, which is at most 2^63. */
SL_INLINE __u32 sl_chunk_count(const __u64 *chunk, int n, __u64 below)
{
	__u64 less = 0;
	int i;

#pragma GCC unroll 8
	for (i = 0; i < n; i++)
		less += sl_less63(chunk[i], below);
	return (__u32)less;
}

/* By levels, which the header has at this word: the last block or group that begins with at most
 * `high`, or one behind it if that is even. */
SL_INLINE int sl_table_descend(sl_table_map m, struct sl_place *p, const __u64 *head, __u32 levels,
			     __u64 high, __u32 *group)
{
	int i, n = SL_MAY(SL_LACKS_RANGES6) ? SL_V6_LEVELS : SL_FEW_GROUPS6_LEVELS;
	__u32 at = (__u32)sl_hidden_zero(high), level;

	for (i = 0; i < n; i++) {
		level = (__u32)sl_page_word(head, levels + i);
		if (!level)
			break;
		level += SL_CHUNK_WORDS * at;
		if (!sl_place_go(m, p, level))
			return -1;
		at = SL_V6_CHILDREN * at + sl_chunk_count(sl_page_chunk(p->page, level),
							  SL_CHUNK_WORDS, (high >> 1) + 1);
		at ^= (__u32)sl_hidden_zero(high);
		SL_BARRIER(at);
	}
	*group = at;
	return 0;
}

/* The class of a range by upper halves in its block, which word `at` begins. Two ranges may have the
 * same 63 bits: the last one that was counted may begin one behind. */
SL_INLINE __u64 sl_block6_class(const __u64 *page, __u32 at, __u64 high)
{
	__u64 key = high >> 1, odd, less = 0;
	__u32 range, i;

	range = sl_page_upper(page, at);	/* the first line, too */
	SL_BARRIER(range);
#pragma GCC unroll 8
	for (i = 1; i < SL_V6_BLOCK_GROUPS; i++)
		less += sl_less63(sl_page_word(page, at + i * SL_CHUNK_WORDS), key + 1);
	at += SL_CHUNK_WORDS * (__u32)less;
	range = sl_chunk_count(sl_page_chunk(page, at), SL_V6_GROUP, key + 1);
	odd = sl_page_word(page, at + SL_V6_LOWEST) >> 48 << 1;
	SL_BARRIER(range);
	range -= (__u32)(odd >> range & ~high &
			 sl_less63(sl_page_word(page, at + range - 1) ^ key, 1));
	SL_BARRIER(range);
	return SL_V6_CLASS(range, sl_page_word(page, at + SL_V6_CLASS_WORD(range)));
}

/* The class of an address that is in a range of this full group; section: SL_H_FULL. 0, or -1 if it
 * cannot be read; *found is SL_NO_CLASS if the group begins behind the address. */
#define SL_NO_CLASS (~0ull)
SL_INLINE int sl_full_class(sl_table_map m, struct sl_place *p, __u64 section, __u32 group,
			    __u64 high, __u64 low, __u64 *found)
{
	__u32 word = (__u32)section + group * SL_FULL_GROUP_WORDS, at, i;
	__u64 behind = 0;
	const __u64 *w;

	if (group >= section >> 32 || !sl_place_go(m, p, word))
		return -1;
	w = sl_page_pair(p->page, word);
#pragma GCC unroll 7
	for (i = 0; i < SL_FULL_GROUP; i++)
		behind += sl_less6(high, low, w[i], w[SL_CHUNK_WORDS + i]);
	*found = SL_NO_CLASS;
	if (behind == SL_FULL_GROUP)
		return 0;
	at = SL_FULL_GROUP - 1 - (__u32)behind;
	SL_BARRIER(at);
	*found = sl_page_word(p->page, word + SL_FULL_CLASS_WORD(at));
	*found = SL_FULL_CLASS(at, *found);
	return 0;
}

/* Does the full group, which this word begins, begin behind the address? */
SL_INLINE __u32 sl_full_is_behind(const __u64 *page, __u32 word, __u64 high, __u64 low)
{
	const __u64 *w = sl_page_pair(page, word);

	return sl_less6(high, low, w[0], w[SL_CHUNK_WORDS]);
}

/* Without the levels: where several full groups begin with the same upper half. */
SL_READER int sl_table_search6(sl_table_ref t, __u64 section, __u64 a_high, __u64 a_low,
			       __u64 *found)
{
	__u32 at = 0, count = section >> 32, half, word;
	struct sl_place p = {.number = SL_NONE};
	sl_table_map m = sl_table_open(t);
	int i, steps = SL_MAY(SL_LACKS_RANGES6) ? SL_SEARCH_STEPS : SL_FEW_GROUPS6_STEPS;
	const __u64 *page;

	if (!m || !found || !count)
		return -1;
	for (i = 0; i < steps && count > 1; i++) {
		half = count / 2;
		word = (__u32)section + (at + half) * SL_FULL_GROUP_WORDS;
		page = sl_table_page(m, word);
		if (!page)
			return -1;
		at += half * (sl_full_is_behind(page, word, a_high, a_low) ^ 1);
		count -= half;
		SL_BARRIER(at);
		SL_BARRIER(count);
	}
	return count <= 1 ? sl_full_class(m, &p, section, at, a_high, a_low, found) : -1;
}

/* With them; *found is SL_NO_CLASS if they do not lead there. */
SL_READER int sl_table_full6(sl_table_ref t, __u64 high, __u64 low, __u64 *found)
{
	sl_table_map m = sl_table_open(t);
	const __u64 *head = m ? sl_table_page(m, 0) : NULL;
	__u32 group = 0, word;
	struct sl_place p;

	if (!head || !found)
		return -1;
	p = sl_place_begin(head);
	if (sl_table_descend(m, &p, head, SL_H_FULL_LEVELS, high, &group))
		return -1;
	word = (__u32)head[SL_H_FULL] + group * SL_FULL_GROUP_WORDS;
	if (!sl_place_go(m, &p, word))
		return -1;
	group -= sl_full_is_behind(p.page, word, high, low);
	SL_BARRIER(group);
	return sl_full_class(m, &p, head[SL_H_FULL], group, high, low, found);
}

SL_INLINE int sl_table_find6(sl_table_ref t, sl_table_map m, struct sl_place *p,
			     const __u64 *head, __u64 high, __u64 low, __u64 *class)
{
	__u64 section = head[SL_H_V6];
	__u32 block = 0, word;

	if (sl_table_descend(m, p, head, SL_H_V6_LEVELS, high, &block))
		return -1;
	word = (__u32)section + block * SL_V6_BLOCK_WORDS;
	if (block >= section >> 32 || !sl_place_go(m, p, word))
		return -1;
	*class = sl_block6_class(p->page, word, high);
	if (*class != SL_V6_FULL)
		return 0;
	if (SL_MAY(SL_LACKS_RANGES6)) {
		if (sl_table_full6(t, high, low, class))
			return -1;
		if (*class != SL_NO_CLASS)
			return 0;
	}
	return sl_table_search6(t, head[SL_H_FULL], high, low, class);
}

/* The class of an address, by its number. p: at the page of head, the header's. */
SL_INLINE int sl_table_address(sl_table_ref t, sl_table_map m, struct sl_place *p,
			       const __u64 *head, const struct sl_question *q, __u64 *class)
{
	if (q->family == 4)
		return sl_table_find4(t, m, p, head, (__u32)q->address_low, class);
	return sl_table_find6(t, m, p, head, q->address_high, q->address_low, class);
}

#endif
