/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Searching in a table's pages without branches: arithmetic that the kernel's verifier does not fork on,
 * words by their place, and sorted words. Part of sluice_reader.h, which says what whoever includes it
 * defines.
 */
#ifndef SLUICE_SEARCH_H
#define SLUICE_SEARCH_H

#include "sluice_table.h"

#ifndef SL_BARRIER
#define SL_BARRIER(x) asm volatile("" : "+r"(x))
#endif
#ifndef SL_READER
#define SL_READER static
#define SL_INLINE static inline
#endif

/*
 * What a - b - borrow takes from above: 1 if a < b + borrow, else 0. No branch, and opaque to
 * the compiler: the kernel's verifier would walk both sides of every comparison.
 */
SL_INLINE __u64 sl_borrow(__u64 a, __u64 b, __u64 borrow)
{
	SL_BARRIER(a);
	borrow = ((~a & b) | ((~a | b) & (a - b - borrow))) >> 63;
	SL_BARRIER(borrow);
	return borrow;
}

/* 1 if a < b, else 0, for the searches. */
SL_INLINE __u64 sl_less(__u64 a, __u64 b)
{
	return sl_borrow(a, b, 0);
}

/* The same of numbers of 128 bits: does it borrow from above to take one from the other? */
SL_INLINE __u64 sl_less6(__u64 a_high, __u64 a_low, __u64 b_high, __u64 b_low)
{
	return sl_borrow(a_high, b_high, sl_less(a_low, b_low));
}

/* The same as a mask: all ones, or 0. Not for AND with a constant, on which
 * newer verifiers fork (maybe_fork_scalars). */
SL_INLINE __u64 sl_less_mask(__u64 a, __u64 b)
{
	return -sl_less(a, b);
}

/* The same of two numbers below 2^63, and as a mask: a third of the instructions. */
SL_INLINE __u64 sl_less63(__u64 a, __u64 b)
{
	__u64 borrow = a - b;

	SL_BARRIER(borrow);
	borrow >>= 63;
	SL_BARRIER(borrow);
	return borrow;
}

SL_INLINE __u64 sl_less63_mask(__u64 a, __u64 b)
{
	return -sl_less63(a, b);
}

/* 1 if a is zero, else 0. */
SL_INLINE __u64 sl_is_zero(__u64 a)
{
	__u64 zero = ~(a | -a);

	SL_BARRIER(zero);
	zero >>= 63;
	SL_BARRIER(zero);
	return zero;
}

/* 0, but not to the verifier: to it what has a known value is another state than what has not, and
 * what comes then is walked for each. any: of no known value. */
SL_INLINE __u64 sl_hidden_zero(__u64 any)
{
	__u64 same = any;

	SL_BARRIER(same);
	return any ^ same;
}

/* ---- pages ---- */

/* A word of a page, by its place in the table. */
SL_INLINE __u64 sl_page_word(const __u64 *page, __u32 i)
{
	SL_BARRIER(i);
	i &= SL_PAGE_WORDS - 1;
	return page[i];
}

/* Half a word: what is read as such needs no shift. */
typedef __u32 __attribute__((may_alias)) sl_half;

/* The upper half of a word of a page. */
SL_INLINE __u32 sl_page_upper(const __u64 *page, __u32 i)
{
	SL_BARRIER(i);
	i &= SL_PAGE_WORDS - 1;
	return ((const sl_half *)(page + i))[__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__];
}

/* The chunk of a page with this word. */
SL_INLINE const __u64 *sl_page_chunk(const __u64 *page, __u32 i)
{
	SL_BARRIER(i);
	i &= SL_PAGE_WORDS - SL_CHUNK_WORDS;
	return page + i;
}

SL_INLINE bool sl_table_word(sl_table_map m, __u32 i, __u64 *word)
{
	const __u64 *page = sl_table_page(m, i);

	if (!page)
		return false;
	*word = sl_page_word(page, i);
	return true;
}

/* Eight words at once, from a multiple of eight on. */
SL_INLINE const __u64 *sl_table_chunk(sl_table_map m, __u32 i)
{
	const __u64 *page = sl_table_page(m, i);

	return page ? sl_page_chunk(page, i) : NULL;
}

/* The two chunks of a page from this word on. */
SL_INLINE const __u64 *sl_page_pair(const __u64 *page, __u32 i)
{
	SL_BARRIER(i);
	i &= SL_PAGE_WORDS - 2 * SL_CHUNK_WORDS;
	return page + i;
}

/* Where a reader is: what it looks for next is often in the same page. */
struct sl_place {
	const __u64 *page;
	__u32 number;
};

/* At the header's page. */
SL_INLINE struct sl_place sl_place_begin(const __u64 *head)
{
	return (struct sl_place){.page = head,
				 .number = (__u32)sl_hidden_zero(head[SL_H_GENERATION])};
}

/* To the page of word i. */
SL_INLINE bool sl_place_go(sl_table_map m, struct sl_place *p, __u32 i)
{
	__u32 number = i / SL_PAGE_WORDS;
	const __u64 *page;

	if (number != p->number) {
		page = sl_table_page(m, i);
		if (!page)
			return false;
		p->page = page;
		p->number = number;
	}
	return true;
}

SL_INLINE bool sl_place_word(sl_table_map m, struct sl_place *p, __u32 i, __u64 *word)
{
	if (!sl_place_go(m, p, i))
		return false;
	*word = sl_page_word(p->page, i);
	return true;
}

/* ---- sorted words: the upper half is the key ---- */

/* Of so many pages from the first on, in one word, the one that holds the last key <= `key`;
 * SL_NONE if they cannot be read. */
SL_READER __u32 sl_table_find_page(sl_table_ref t, __u64 pages, __u32 key)
{
	__u32 at = (__u32)pages, count = pages >> 32, half;
	sl_table_map m = sl_table_open(t);
	const __u64 *page;
	int i;

	for (i = 0; m && i < SL_PAGE_STEPS && count > 1; i++) {
		half = count / 2;
		page = sl_table_page(m, (at + half) * SL_PAGE_WORDS);
		if (!page)
			return SL_NONE;
		at += half * (__u32)sl_less63(page[0] >> 32, (__u64)key + 1);
		count -= half;
		SL_BARRIER(at);
		SL_BARRIER(count);
	}
	return count == 1 ? at : SL_NONE;
}

/* Four at once: what they wait for is memory. Of n, at most (n + 9) / 4 are left. */
SL_INLINE void sl_page_quarter(const __u64 *page, __u32 *at, __u32 *count, __u32 shift, __u64 above)
{
	__u32 step = *count / 4, less;

	less = sl_less63(sl_page_upper(page, *at + (step << shift)), above) +
	       sl_less63(sl_page_upper(page, *at + (2 * step << shift)), above) +
	       sl_less63(sl_page_upper(page, *at + (3 * step << shift)), above);
	*at += less * step << shift;
	*count -= 3 * step;
	SL_BARRIER(*at);
	SL_BARRIER(*count);
}

/* Of sorted keys, each at the beginning of 1 << shift words of a page: the place of the last one
 * <= key; the first one is. Few branches: the verifier walks what is behind each of them twice.
 * The first one need not be compared, but is read: what it leads to may stand in its line, which
 * then comes at the same time as the others'. */
SL_INLINE __u32 sl_page_search(const __u64 *page, __u32 at, __u32 count, __u32 shift, __u32 key)
{
	__u64 above = (__u64)key + 1;
	__u32 less;

	less = sl_page_upper(page, at);
	SL_BARRIER(less);
	if (count > 18) {	/* at most 512 */
		sl_page_quarter(page, &at, &count, shift, above);
		sl_page_quarter(page, &at, &count, shift, above);
		sl_page_quarter(page, &at, &count, shift, above);
	}
	if (count > 3) {
		sl_page_quarter(page, &at, &count, shift, above);
		sl_page_quarter(page, &at, &count, shift, above);
	}
	/* one to three */
	less = sl_less63(1, count) & sl_less63(sl_page_upper(page, at + (1 << shift)), above);
	less += sl_less63(2, count) & sl_less63(sl_page_upper(page, at + (2 << shift)), above);
	return at + (less << shift);
}

/* The same in a table, from word `at` on: goes to the page, and leaves in *found the place there. */
SL_INLINE int sl_table_locate(sl_table_ref t, sl_table_map m, struct sl_place *p, __u32 at,
			      __u32 count, __u32 shift, __u32 key, __u32 *found)
{
	__u32 end = at + (count << shift), page = at / SL_PAGE_WORDS;
	__u32 last = (end - 1) / SL_PAGE_WORDS;

	if (!count)
		return -1;
	if (last != page) {
		page = sl_table_find_page(t, (__u64)(last - page + 1) << 32 | page, key);
		/* What of the page is the section's. */
		last = page * SL_PAGE_WORDS;
		at ^= (at ^ last) & (__u32)sl_less63_mask(at, last);
		last += SL_PAGE_WORDS;
		end ^= (end ^ last) & (__u32)sl_less63_mask(last, end);
		count = (end - at) >> shift;
		SL_BARRIER(at);
		SL_BARRIER(count);
	}
	if (!sl_place_go(m, p, at))
		return -1;
	*found = sl_page_search(p->page, at, count, shift, key);
	return 0;
}

/* The last word of a section whose high half is <= key; 0, or -1 if it cannot be read. */
SL_INLINE int sl_table_find(sl_table_ref t, sl_table_map m, struct sl_place *p, __u64 section,
			    __u32 key, __u64 *found)
{
	__u32 at;

	if (sl_table_locate(t, m, p, (__u32)section, section >> 32, 0, key, &at))
		return -1;
	*found = sl_page_word(p->page, at);
	return 0;
}

SL_READER int sl_table_search(sl_table_ref t, __u64 section, __u32 key, __u64 *found)
{
	struct sl_place p = {.number = SL_NONE};
	sl_table_map m = sl_table_open(t);

	return m && found ? sl_table_find(t, m, &p, section, key, found) : -1;
}

#endif
