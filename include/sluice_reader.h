/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The one reader of a table (sluice_table.h), compiled for the kernel and for
 * user space alike, so that `explain`, the fuzzer and the oracle run what the
 * kernel runs. Whoever includes this defines first
 *
 *	sl_table_ref	how a table is named between functions
 *	sl_table_map	the opened table
 *	static sl_table_map sl_table_open(sl_table_ref t);		NULL: none
 *	static const __u64 *sl_table_page(sl_table_map m, __u32 i);
 *
 * the last: the SL_PAGE_WORDS words that hold word i, NULL outside the table. Every page that
 * cannot be had ends in SL_REASON_NO_POLICY, a denial: a table that cannot be read allows nothing.
 *
 * SL_READER is how the functions are declared. In the kernel they are global
 * functions, which the verifier checks once each, not along every path to them;
 * so they take scalars and pointers to plain memory only, and open the table. A page is the
 * kernel's call of a helper, which takes as long as ten comparisons, and a function is a call too:
 * so what a verdict usually goes through is one function, and keeps the page that it is at.
 */
#ifndef SLUICE_READER_H
#define SLUICE_READER_H

#include "sluice_lacks.h"
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

/* ---- ranges of addresses ---- */

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

/* ---- ports and decisions ---- */

/* Does a decision still hold? If not, *next is the one behind it. */
SL_READER int sl_table_passed(sl_table_ref t, __u32 id, __u64 now_ns, __u64 *next)
{
	sl_table_map m = sl_table_open(t);
	__u64 section, deadline;
	__u32 at;

	if (!m || !next || !sl_table_word(m, SL_H_DECISIONS, &section))
		return -1;
	at = (__u32)section + id * SL_DECISION_WORDS;
	SL_BARRIER(at);
	if (!sl_table_word(m, at + SL_D_DEADLINE, &deadline))
		return -1;
	if (!deadline || now_ns < deadline)
		return 0;
	return sl_table_word(m, at + SL_D_OTHERWISE, next) ? 1 : -1;
}

/* The first of a decision and those behind it that is live; *id is SL_NONE if there is none. */
SL_READER int sl_table_live(sl_table_ref t, __u64 next, __u64 now_ns, __u64 *id)
{
	int i, passed;

	if (!id)
		return -1;
	*id = SL_NONE;
	for (i = 0; i < SL_OTHERWISE_MAX && (__u32)next != SL_NONE; i++) {
		passed = sl_table_passed(t, (__u32)next, now_ns, &next);
		if (passed < 0)
			return -1;
		if (!passed) {
			*id = (__u32)next;
			return 0;
		}
	}
	return (__u32)next == SL_NONE ? 0 : -1;
}

/* The first live decision of a port table (its row word) for a key; *id is SL_NONE if
 * there is none. now_ns 0: nothing has ended, all deadlines are later. */
SL_READER int sl_table_decide(sl_table_ref t, __u64 ports, __u32 key, __u64 now_ns, __u64 *id)
{
	struct sl_place p = {.number = SL_NONE};
	sl_table_map m = sl_table_open(t);
	__u64 next;

	if (!id)
		return -1;
	*id = SL_NONE;
	if (!(ports >> 32))
		return 0;
	if (!m || sl_table_find(t, m, &p, ports, key, &next))
		return -1;
	if (SL_MAY(SL_LACKS_CHANGE) && now_ns)
		return sl_table_live(t, next, now_ns, id);
	*id = (__u32)next;
	return 0;
}

/* Which view of the rules a flow has. */
SL_INLINE int sl_table_view(sl_table_ref t, sl_table_map m, const struct sl_question *q,
			    __u32 flags, __u32 *view)
{
	__u64 section, found = 0;

	*view = (q->inbound & 1) ^ SL_VIEW_OTHER;
	SL_BARRIER(*view);
	if (!SL_MAY(SL_LACKS_UIDS) || q->inbound || !q->has_uid || !(flags & SL_F_UIDS))
		return 0;
	if (!sl_table_word(m, SL_H_UIDS, &section) ||
	    sl_table_search(t, section, q->uid, &found))
		return -1;
	if (found >> 32 == q->uid)
		*view = (__u32)found;
	return 0;
}

/* 64:ff9b::/96 (RFC 6052) and ::ffff:0:0/96 (RFC 4291) are the IPv4 they embed. */
SL_INLINE void sl_question_normalise(struct sl_question *q)
{
	if (q->family != 6)
		return;
	if ((q->address_high == 0 && q->address_low >> 32 == 0xffff) ||
	    (q->address_high == 0x0064ff9b00000000ull && q->address_low >> 32 == 0)) {
		q->family = 4;
		q->address_high = 0;
		q->address_low &= 0xffffffffull;
	}
}

/* The port table of a class, by its number, for a view; 0: it has none. */
SL_READER int sl_table_class_ports(sl_table_ref t, __u32 class, __u32 view, __u64 *ports)
{
	sl_table_map m = sl_table_open(t);
	__u64 section, word;

	if (!m || !ports || !sl_table_word(m, SL_H_CLASSES, &section) || class >= section >> 32 ||
	    !sl_table_word(m, (__u32)section + class, &word))
		return -1;
	if ((word >> 32 & SL_C_UNIFORM) && view > SL_VIEW_OTHER)
		view = SL_VIEW_OTHER;
	return sl_table_word(m, (__u32)word + view, ports) ? 0 : -1;
}

/* What a class says in a view: its port table's decision and that of `any`, of which the smaller
 * one counts. head: the table's first page. */
SL_INLINE int sl_class_decide(sl_table_ref t, sl_table_map m, struct sl_place *p,
			      const __u64 *head, __u64 class, const struct sl_question *q,
			      __u64 *decision)
{
	__u32 key = (__u32)q->protocol << 16 | q->key, view, row_view;
	__u64 ports, base = SL_NONE, uniform;

	if (sl_table_view(t, m, q, (__u32)head[SL_H_FLAGS], &view))
		return -1;
	uniform = class >> 32 & SL_C_UNIFORM;
	SL_BARRIER(uniform);
	/* without branches: SL_VIEW_OTHER if it is greater */
	row_view = view - (view - SL_VIEW_OTHER) * (__u32)(sl_less63(SL_VIEW_OTHER, view) &
							   uniform / SL_C_UNIFORM);
	if (!sl_place_word(m, p, (__u32)class + row_view, &ports) ||
	    sl_table_decide(t, ports, key, q->now_ns, decision))
		return -1;
	if (class >> 32 & SL_C_EMBEDDED)
		return 0;
	if (!sl_place_word(m, p, (__u32)head[SL_H_BASE] + view, &ports) ||
	    (ports >> 32 && sl_table_decide(t, ports, key, q->now_ns, &base)))
		return -1;
	if (base < *decision)
		*decision = base;
	return 0;
}

SL_INLINE void sl_answer_default(struct sl_answer *a, const struct sl_question *q,
				 bool embedded)
{
	if (q->inbound) {
		a->reason = SL_REASON_UNSOLICITED;
	} else if (embedded) {
		a->reason = SL_REASON_EMBEDDED;
	} else {
		a->deny = !(a->flags & SL_F_DEFAULT_ALLOW);
		a->reason = SL_REASON_DEFAULT;
	}
}

/* The words of a decision, which stand in one chunk; section: SL_H_DECISIONS. */
SL_INLINE int sl_table_decision_at(sl_table_map m, struct sl_place *p, __u64 section, __u32 id,
				   __u64 *rule, __u64 *deadline)
{
	__u32 at = (__u32)section + id * SL_DECISION_WORDS;

	SL_BARRIER(at);
	if (!sl_place_word(m, p, at + SL_D_RULE, rule))
		return -1;
	*deadline = sl_page_word(p->page, at + SL_D_DEADLINE);
	return 0;
}

SL_READER int sl_table_decision(sl_table_ref t, __u32 id, __u64 *rule, __u64 *deadline)
{
	struct sl_place p = {.number = SL_NONE};
	sl_table_map m = sl_table_open(t);
	__u64 section;

	if (!m || !rule || !deadline || !sl_place_word(m, &p, SL_H_DECISIONS, &section))
		return -1;
	return sl_table_decision_at(m, &p, section, id, rule, deadline);
}

/* What a class of names is asked about. */
struct sl_connection {
	__u64 now_ns;		/* boot time; 0: nothing has ended */
	__u32 view;
	__u32 key;		/* protocol << 16 | port; of SL_VIEW_QUESTION: 0 */
};

/*
 * What a class of names says in a view: its decision in *id, SL_NONE if nothing.
 * SL_VIEW_QUESTION and key 0 ask whether such a name may be asked; the other views ask
 * about a connection to an address that it owns. It owns none while the question is not
 * allowed, so that is decided first; *until is when its decision ends, in boot time; 0:
 * never.
 */
SL_READER int sl_table_class_decide(sl_table_ref t, __u32 class, const struct sl_connection *c,
				    __u64 *id, __u64 *until)
{
	__u64 ports = 0, rule = 0;

	if (!c || !id || !until)
		return -1;
	*until = 0;
	if (c->view != SL_VIEW_QUESTION) {
		if (sl_table_class_ports(t, class, SL_VIEW_QUESTION, &ports) ||
		    sl_table_decide(t, ports, 0, c->now_ns, id))
			return -1;
		if (*id == SL_NONE)
			return 0;
		if (sl_table_decision(t, (__u32)*id, &rule, until))
			return -1;
		if (rule >> 32 & SL_D_DENY) {
			*id = SL_NONE;
			return 0;
		}
	}
	if (sl_table_class_ports(t, class, c->view, &ports))
		return -1;
	return sl_table_decide(t, ports, c->key, c->now_ns, id);
}

SL_INLINE void sl_answer_words(struct sl_answer *a, __u32 id, __u64 rule, __u64 deadline)
{
	a->rule = (__u32)rule;
	a->decision = id;
	a->deny = rule >> 32 & SL_D_DENY;
	a->sni = rule >> 32 & (SL_D_SNI_OBSERVE | SL_D_SNI_VERIFY);
	a->reason = rule >> (32 + SL_D_REASON_SHIFT);
	a->flags = (a->flags & ~(SL_F_LOG_ALL | SL_F_LOG_NONE)) |
		   (rule >> (32 + SL_D_LOG_SHIFT) & 3) * SL_F_LOG_ALL;
	a->deadline_ns = deadline;
}

/* A decision, by its id, is the answer. */
SL_INLINE int sl_answer_decision(sl_table_ref t, struct sl_answer *a, __u32 id)
{
	__u64 rule = 0, deadline = 0;

	if (sl_table_decision(t, id, &rule, &deadline))
		return -1;
	sl_answer_words(a, id, rule, deadline);
	return 0;
}

/* No table: a denial with SL_REASON_NO_POLICY. */
SL_INLINE void sl_answer_none(struct sl_answer *a)
{
	a->deny = 1;
	a->reason = SL_REASON_NO_POLICY;
	a->rule = SL_NONE;
	a->flags = 0;
	a->decision = SL_NONE;
	a->name = 0;
	a->sni = 0;
	a->deadline_ns = 0;
}

/*
 * The verdict of one table on one question, in two steps. Either is 0, or -1 if the table cannot be
 * read; *a, which sl_answer_none has filled, is then a denial. m: the table,
 * head: its first page.
 *
 * First the class of the address: of q no more than that is asked. p: at head.
 */
SL_INLINE int sl_verdict_class(sl_table_ref t, sl_table_map m, struct sl_place *p,
			       const __u64 *head, struct sl_question *q, __u64 *class)
{
	__u64 number, classes = head[SL_H_CLASSES];

	sl_question_normalise(q);
	return !sl_table_address(t, m, p, head, q, &number) && (__u32)number < classes >> 32 &&
		       sl_place_word(m, p, (__u32)classes + (__u32)number, class) ?
	       0 : -1;
}

/* Then what the class says. */
SL_INLINE int sl_verdict_answer(sl_table_ref t, sl_table_map m, struct sl_place *p,
				const __u64 *head, __u64 class, const struct sl_question *q,
				struct sl_answer *a)
{
	__u64 decision, rule, deadline;

	if (sl_class_decide(t, m, p, head, class, q, &decision))
		return -1;
	a->flags = (__u32)head[SL_H_FLAGS];
	if (decision == SL_NONE) {
		sl_answer_default(a, q, class >> 32 & SL_C_EMBEDDED);
		return 0;
	}
	if (sl_table_decision_at(m, p, head[SL_H_DECISIONS], (__u32)decision, &rule, &deadline))
		return -1;
	sl_answer_words(a, (__u32)decision, rule, deadline);
	return 0;
}

/* Does the table let in whatever comes? */
SL_INLINE bool sl_answer_inbound(const __u64 *head, bool inbound, struct sl_answer *a)
{
	a->flags = (__u32)head[SL_H_FLAGS];
	if (!inbound || !(a->flags & SL_F_INBOUND_ALLOW))
		return false;
	a->deny = 0;
	a->reason = SL_REASON_INBOUND;
	return true;
}

#endif
