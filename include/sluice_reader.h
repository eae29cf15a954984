/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The one reader of a table (sluice_table.h), compiled for the kernel and for
 * user space alike, so that `explain`, the fuzzer and the oracle run what the
 * kernel runs. Whoever includes this defines first
 *
 *	sl_table_ref	how a table is named between functions
 *	sl_table_map	the opened table
 *	static sl_table_map sl_table_open(sl_table_ref t);		NULL: none
 *	static bool sl_table_word(sl_table_map m, __u32 i, __u64 *word);
 *	static const __u64 *sl_table_chunk(sl_table_map m, __u32 i);
 *
 * the last two false, NULL outside the table; a chunk is SL_CHUNK_WORDS words from a
 * multiple of that on. Every false ends in SL_REASON_NO_POLICY, a
 * denial: a table that cannot be read allows nothing.
 *
 * SL_READER is how the functions are declared. In the kernel they are global
 * functions, which the verifier checks once each, not along every path to them;
 * so they take scalars and pointers to plain memory only, and open the table.
 */
#ifndef SLUICE_READER_H
#define SLUICE_READER_H

#include "sluice_table.h"

#ifndef SL_BARRIER
#define SL_BARRIER(x) asm volatile("" : "+r"(x))
#endif
#ifndef SL_READER
#define SL_READER static
#define SL_INLINE static inline
#endif

/*
 * 1 if a < b, else 0, for the searches. No branch, and opaque to the compiler:
 * the kernel's verifier would walk both sides of every comparison.
 */
SL_INLINE __u64 sl_less(__u64 a, __u64 b)
{
	__u64 borrow;

	SL_BARRIER(a);
	borrow = ((~a & b) | ((~a | b) & (a - b))) >> 63;
	SL_BARRIER(borrow);
	return borrow;
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

/* A word of a chunk, by its place in the table. */
SL_INLINE __u64 sl_chunk_word(const __u64 *chunk, __u32 i)
{
	i &= SL_CHUNK_WORDS - 1;
	SL_BARRIER(i);
	i &= SL_CHUNK_WORDS - 1;
	return chunk[i];
}

/* Halves chunks so often, towards the one that holds the last word whose high half is <= key.
 * A word is the kernel's call of a helper; a chunk is one too. */
SL_INLINE int sl_table_halve(sl_table_map m, __u32 *first, __u32 *chunks, __u32 key, int steps)
{
	__u32 at = *first, count = *chunks, half;
	__u64 word, below;
	int i;

	for (i = 0; i < steps && count > 1; i++) {
		half = count / 2;
		if (!sl_table_word(m, (at + half) * SL_CHUNK_WORDS, &word))
			return -1;
		below = sl_less63_mask(word >> 32, (__u64)key + 1);
		at += half & below;
		count -= half;
		SL_BARRIER(at);
		SL_BARRIER(count);
	}
	*first = at;
	*chunks = count;
	return 0;
}

/* The same of chunks in one word: their number, the first one; 0 if they cannot be read. */
SL_READER __u64 sl_table_narrow(sl_table_ref t, __u64 chunks, __u32 key)
{
	__u32 first = (__u32)chunks, count = chunks >> 32;
	sl_table_map m = sl_table_open(t);

	if (!m || sl_table_halve(m, &first, &count, key, SL_SPAN_STEPS))
		return 0;
	return (__u64)count << 32 | first;
}

/* The chunk of several that holds the last word whose high half is <= key, and its number; NULL
 * if it cannot be read. Of a few chunks, which is the rule, no function is called. */
SL_INLINE const __u64 *sl_table_search_chunk(sl_table_ref t, __u64 chunks, __u32 key,
					     __u32 *number)
{
	sl_table_map m;
	__u32 count;
	int i;

	for (i = 0; i < SL_SEARCH_STEPS / SL_SPAN_STEPS && chunks >> 32 > 1 << SL_SPAN_STEPS; i++)
		chunks = sl_table_narrow(t, chunks, key);
	m = sl_table_open(t);
	*number = (__u32)chunks;
	count = chunks >> 32;
	if (!m || sl_table_halve(m, number, &count, key, SL_SPAN_STEPS) || count != 1)
		return NULL;
	return sl_table_chunk(m, *number * SL_CHUNK_WORDS);
}

/* The payload of the last word of a section whose high half is <= key; 0, or
 * -1 if it cannot be read. The section waits in *found: the frame is full (6.1). */
SL_READER int sl_table_search(sl_table_ref t, __u64 section, __u32 key, __u64 *found)
{
	__u32 first = (__u32)section, count = section >> 32, chunk = first / SL_CHUNK_WORDS;
	__u32 end = first + count, at, half;
	const __u64 *words;
	__u64 beyond;
	int i;

	if (!found || !count)
		return -1;
	*found = section;
	count = (end - 1) / SL_CHUNK_WORDS - chunk + 1;
	words = sl_table_search_chunk(t, (__u64)count << 32 | chunk, key, &chunk);
	if (!words)
		return -1;
	section = *(volatile __u64 *)found;
	first = (__u32)section;
	end = first + (section >> 32);
	/* What of the chunk is the section's. */
	at = chunk * SL_CHUNK_WORDS;
	beyond = sl_less63_mask(end, (__u64)at + SL_CHUNK_WORDS);
	end = (at + SL_CHUNK_WORDS) ^ (((at + SL_CHUNK_WORDS) ^ end) & beyond);
	beyond = sl_less63_mask(at, first);
	at ^= (at ^ first) & beyond;
	count = end - at;
	for (i = 0; i < 3; i++) {
		half = count / 2;
		at += half & sl_less63_mask(sl_chunk_word(words, at + half) >> 32, (__u64)key + 1);
		count -= half;
	}
	*found = sl_chunk_word(words, at);
	return 0;
}

/* 1 if an IPv6 address is less than another. */
SL_INLINE __u64 sl_less6(__u64 a_high, __u64 a_low, __u64 b_high, __u64 b_low)
{
	return sl_less(a_high, b_high) | ((sl_less(b_high, a_high) ^ 1) & sl_less(a_low, b_low));
}

/* The last word of a chunk that is <= key, by its place; the first one is. */
SL_INLINE __u32 sl_chunk_search(const __u64 *chunk, __u64 key)
{
	__u32 at = 0, half;

	for (half = SL_CHUNK_WORDS / 2; half; half /= 2) {
		at += half * (sl_less(key, sl_chunk_word(chunk, at + half)) ^ 1);
		SL_BARRIER(at);
	}
	return at;
}

/* The group of IPv6 ranges whose first is the last that begins with at most `high`. */
SL_INLINE int sl_table_group(sl_table_map m, __u64 high, __u32 *group)
{
	const __u64 *levels = sl_table_chunk(m, SL_H_V6_LEVELS), *chunk;
	__u32 at = 0, i;

	if (!levels || high == ~0ull)
		return -1;
	for (i = 0; i < SL_V6_LEVELS && levels[i]; i++) {
		chunk = sl_table_chunk(m, (__u32)levels[i] + SL_CHUNK_WORDS * at);
		if (!chunk)
			return -1;
		at = SL_CHUNK_WORDS * at + sl_chunk_search(chunk, high);
		SL_BARRIER(at);
	}
	*group = at;
	return i ? 0 : -1;
}

/* The class of an IPv6 address that is in a range of this group; section: SL_H_V6. 0, or -1 if it
 * cannot be read; *found is SL_NO_CLASS if the group begins behind the address. */
#define SL_NO_CLASS (~0ull)
SL_INLINE int sl_group_class(sl_table_map m, __u64 section, __u32 group, __u64 high, __u64 low,
			     __u64 *found)
{
	__u32 word = (__u32)section + group * SL_V6_GROUP_WORDS, at = 0, half;
	const __u64 *highs = sl_table_chunk(m, word), *lows = sl_table_chunk(m, word + SL_V6_GROUP);

	if (!highs || !lows || group >= SL_V6_GROUPS(section >> 32))
		return -1;
	*found = SL_NO_CLASS;
	if (sl_less6(high, low, highs[0], lows[0]))
		return 0;
	for (half = SL_V6_GROUP / 2; half; half /= 2) {
		at += half * (sl_less6(high, low, sl_chunk_word(highs, at + half),
				       sl_chunk_word(lows, at + half)) ^ 1);
		SL_BARRIER(at);
	}
	at += group * SL_V6_GROUP;
	if (!sl_table_word(m, (__u32)section + SL_V6_CLASS_WORD(at, section >> 32), found))
		return -1;
	*found = SL_V6_CLASS(at, *found);
	return 0;
}

/* The class of an IPv6 address, by way of the levels; SL_NO_CLASS: they do not lead to it. This and
 * sl_table_search6 call nobody, since the stack of 6.1 has no room below them. */
SL_READER int sl_table_find6(sl_table_ref t, __u64 section, __u64 high, __u64 low, __u64 *found)
{
	sl_table_map m = sl_table_open(t);
	__u32 group = 0;

	if (!m || !found)
		return -1;
	*found = SL_NO_CLASS;
	if (section >> 32 > SL_V6_GROUP && sl_table_group(m, high, &group))
		return 0;
	return sl_group_class(m, section, group, high, low, found);
}

/* The same without the levels. */
SL_READER int sl_table_search6(sl_table_ref t, __u64 section, __u64 a_high, __u64 a_low,
			       __u64 *found)
{
	__u32 at = 0, count = SL_V6_GROUPS(section >> 32), half, word;
	sl_table_map m = sl_table_open(t);
	__u64 high, low;
	int i;

	if (!m || !found || !count)
		return -1;
	for (i = 0; i < SL_SEARCH_STEPS && count > 1; i++) {
		half = count / 2;
		word = (__u32)section + (at + half) * SL_V6_GROUP_WORDS;
		if (!sl_table_word(m, word, &high) || !sl_table_word(m, word + SL_V6_GROUP, &low))
			return -1;
		at += half * (sl_less6(a_high, a_low, high, low) ^ 1);
		count -= half;
		SL_BARRIER(at);
		SL_BARRIER(count);
	}
	return count <= 1 ? sl_group_class(m, section, at, a_high, a_low, found) : -1;
}

/* The part of the IPv4 ranges that an address is in; roots: SL_H_V4_ROOTS. */
SL_INLINE int sl_table_root4(sl_table_map m, __u64 roots, __u32 address, __u64 *section)
{
	__u32 at = (__u32)roots + (__u32)((__u64)address * (roots >> 32) >> 32);

	if (!(roots >> 32))
		return 0;
	return sl_table_word(m, at, section) ? 0 : -1;
}

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

/* The first live decision of a port table (its row word) for a key; *id is SL_NONE if
 * there is none. now_ns 0: nothing has ended, all deadlines are later. */
SL_READER int sl_table_decide(sl_table_ref t, __u64 ports, __u32 key, __u64 now_ns, __u64 *id)
{
	__u64 next = 0;
	int i, passed;

	if (!id)
		return -1;
	*id = SL_NONE;
	if (!(ports >> 32))
		return 0;
	if (sl_table_search(t, ports, key, &next))
		return -1;
	for (i = 0; i < SL_OTHERWISE_MAX && (__u32)next != SL_NONE; i++) {
		passed = now_ns ? sl_table_passed(t, (__u32)next, now_ns, &next) : 0;
		if (passed < 0)
			return -1;
		if (!passed) {
			*id = (__u32)next;
			return 0;
		}
	}
	return (__u32)next == SL_NONE ? 0 : -1;
}

/* Which view of the rules a flow has. */
SL_INLINE int sl_table_view(sl_table_ref t, sl_table_map m, const struct sl_question *q,
			    __u32 flags, __u32 *view)
{
	__u64 section, found = 0;

	*view = q->inbound ? SL_VIEW_INBOUND : SL_VIEW_OTHER;
	if (q->inbound || !q->has_uid || !(flags & SL_F_UIDS))
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

/* head: the table's first chunk; roots: SL_H_V4_ROOTS */
SL_INLINE int sl_table_class(sl_table_ref t, sl_table_map m, const __u64 *head, __u64 roots,
			     const struct sl_question *q, __u64 *class_word)
{
	__u64 section = head[SL_H_V4], class = 0;

	if (q->family == 4) {
		if (sl_table_root4(m, roots, (__u32)q->address_low, &section) ||
		    sl_table_search(t, section, (__u32)q->address_low, &class))
			return -1;
	} else {
		if (sl_table_find6(t, head[SL_H_V6], q->address_high, q->address_low, &class))
			return -1;
		if (class == SL_NO_CLASS &&
		    sl_table_search6(t, head[SL_H_V6], q->address_high, q->address_low, &class))
			return -1;
	}
	section = head[SL_H_CLASSES];
	if ((__u32)class >= section >> 32)
		return -1;
	return sl_table_word(m, (__u32)section + (__u32)class, class_word) ? 0 : -1;
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

/* The two port tables that decide together: the class's and that of `any`. head, more: the
 * table's first two chunks. */
SL_INLINE int sl_table_ports(sl_table_ref t, sl_table_map m, const __u64 *head,
			     const __u64 *more, const struct sl_question *q, __u64 ports[2],
			     bool *embedded)
{
	__u64 class, base = more[SL_H_BASE - SL_CHUNK_WORDS];
	__u32 view, row_view;

	if (sl_table_class(t, m, head, more[SL_H_V4_ROOTS - SL_CHUNK_WORDS], q, &class) ||
	    sl_table_view(t, m, q, (__u32)head[SL_H_FLAGS], &view))
		return -1;
	row_view = view;
	if ((class >> 32 & SL_C_UNIFORM) && view > SL_VIEW_OTHER)
		row_view = SL_VIEW_OTHER;
	*embedded = class >> 32 & SL_C_EMBEDDED;
	ports[1] = 0;
	if (!sl_table_word(m, (__u32)class + row_view, &ports[0]))
		return -1;
	if (!*embedded && !sl_table_word(m, (__u32)base + view, &ports[1]))
		return -1;
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
SL_INLINE int sl_table_decision_at(sl_table_map m, __u64 section, __u32 id, __u64 *rule,
				   __u64 *deadline)
{
	__u32 at = (__u32)section + id * SL_DECISION_WORDS;
	const __u64 *chunk;

	SL_BARRIER(at);
	chunk = sl_table_chunk(m, at);
	if (!chunk)
		return -1;
	*rule = sl_chunk_word(chunk, at + SL_D_RULE);
	*deadline = sl_chunk_word(chunk, at + SL_D_DEADLINE);
	return 0;
}

SL_READER int sl_table_decision(sl_table_ref t, __u32 id, __u64 *rule, __u64 *deadline)
{
	sl_table_map m = sl_table_open(t);
	__u64 section;

	if (!m || !rule || !deadline || !sl_table_word(m, SL_H_DECISIONS, &section))
		return -1;
	return sl_table_decision_at(m, section, id, rule, deadline);
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
 * The verdict of one table on one question: 0, or -1 if the table cannot be
 * read; *a, which sl_answer_none has filled, is then a denial. m: the table,
 * head: its first chunk.
 */
SL_INLINE int sl_table_verdict(sl_table_ref t, sl_table_map m, const __u64 *head,
			       struct sl_question *q, struct sl_answer *a)
{
	__u64 decision = 0, base = SL_NONE, rule, deadline, decisions;
	__u32 key = (__u32)q->protocol << 16 | q->key;
	const __u64 *more;
	__u64 ports[2];
	bool embedded;

	a->flags = (__u32)head[SL_H_FLAGS];
	if (q->inbound && (a->flags & SL_F_INBOUND_ALLOW)) {
		a->deny = 0;
		a->reason = SL_REASON_INBOUND;
		return 0;
	}
	more = sl_table_chunk(m, SL_CHUNK_WORDS);
	if (!more)
		return -1;
	decisions = more[SL_H_DECISIONS - SL_CHUNK_WORDS];
	sl_question_normalise(q);
	if (sl_table_ports(t, m, head, more, q, ports, &embedded) ||
	    sl_table_decide(t, ports[0], key, q->now_ns, &decision) ||
	    (ports[1] >> 32 && sl_table_decide(t, ports[1], key, q->now_ns, &base)))
		return -1;
	if (base < decision)
		decision = base;
	if (decision == SL_NONE) {
		sl_answer_default(a, q, embedded);
		return 0;
	}
	if (sl_table_decision_at(m, decisions, (__u32)decision, &rule, &deadline))
		return -1;
	sl_answer_words(a, (__u32)decision, rule, deadline);
	return 0;
}

#endif
