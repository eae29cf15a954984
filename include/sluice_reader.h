/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The one reader of a table (sluice_table.h), compiled for the kernel and for
 * user space alike, so that `explain`, the fuzzer and the oracle run what the
 * kernel runs. Whoever includes this defines first a type sl_table_ref and
 *
 *	static bool sl_table_word(sl_table_ref t, __u32 i, __u64 *word);
 *
 * which is false outside the table. Every false ends in SL_REASON_NO_POLICY,
 * a denial: a table that cannot be read allows nothing.
 */
#ifndef SLUICE_READER_H
#define SLUICE_READER_H

#include "sluice_table.h"

#ifndef SL_BARRIER
#define SL_BARRIER(x) asm volatile("" : "+r"(x))
#endif
#ifndef SL_INLINE
#define SL_INLINE static inline
#endif

/* All ones if a < b, else 0. No branch, and opaque to the compiler: the kernel's
 * verifier would walk both sides of every comparison of a search. */
SL_INLINE __u64 sl_mask_less(__u64 a, __u64 b)
{
	__u64 borrow = ((~a & b) | ((~a | b) & (a - b))) >> 63;

	SL_BARRIER(borrow);
	return -borrow;
}

/* The payload of the last word of a section whose high half is <= key. */
SL_INLINE bool sl_table_search(sl_table_ref t, __u32 first, __u32 count, __u32 key,
			       __u32 *payload)
{
	__u64 word, below;
	__u32 half, best;
	int i;

	if (!count || !sl_table_word(t, first, &word))
		return false;
	best = (__u32)word;
	for (i = 0; i < SL_SEARCH_STEPS && count > 1; i++) {
		half = count / 2;
		if (!sl_table_word(t, first + half, &word))
			return false;
		below = sl_mask_less(word >> 32, (__u64)key + 1);
		best ^= (best ^ (__u32)word) & below;
		first += half & below;
		count -= half;
		SL_BARRIER(first);
		SL_BARRIER(count);
	}
	*payload = best;
	return count <= 1;
}

/* The class of an IPv6 address: the last range that begins at or before it. */
SL_INLINE bool sl_table_search6(sl_table_ref t, __u32 first, __u32 count, __u64 a_high,
				__u64 a_low, __u32 *payload)
{
	__u64 high, low, after;
	__u32 half;
	int i;

	if (!count)
		return false;
	for (i = 0; i < SL_SEARCH_STEPS && count > 1; i++) {
		half = count / 2;
		if (!sl_table_word(t, first + 3 * half, &high) ||
		    !sl_table_word(t, first + 3 * half + 1, &low))
			return false;
		after = sl_mask_less(a_high, high) |
			(~sl_mask_less(high, a_high) & sl_mask_less(a_low, low));
		first += 3 * half & ~after;
		count -= half;
		SL_BARRIER(first);
		SL_BARRIER(count);
	}
	if (!sl_table_word(t, first + 2, &low))
		return false;
	*payload = (__u32)low;
	return count <= 1;
}

/* Which view of the rules a flow has. */
SL_INLINE bool sl_table_view(sl_table_ref t, const struct sl_question *q, __u32 flags,
			     __u32 *view)
{
	__u64 section, word, below;
	__u32 first, count, half;
	int i;

	*view = q->inbound ? SL_VIEW_INBOUND : SL_VIEW_OTHER;
	if (q->inbound || !q->has_uid || !(flags & SL_F_UIDS))
		return true;
	if (!sl_table_word(t, SL_H_UIDS, &section))
		return false;
	first = (__u32)section;
	count = section >> 32;
	for (i = 0; i < SL_SEARCH_STEPS && count > 1; i++) {
		half = count / 2;
		if (!sl_table_word(t, first + half, &word))
			return false;
		below = sl_mask_less(word >> 32, (__u64)q->uid + 1);
		first += half & below;
		count -= half;
		SL_BARRIER(first);
		SL_BARRIER(count);
	}
	if (!sl_table_word(t, first, &word))
		return false;
	if (word >> 32 == q->uid)
		*view = (__u32)word;
	return count <= 1;
}

/* The first decision of a row's view for (protocol, key) that is still alive,
 * SL_NONE if there is none; its words in d. */
SL_INLINE bool sl_table_decision(sl_table_ref t, __u32 row, __u32 view,
				 const struct sl_question *q, __u32 *id, __u64 d[3])
{
	__u64 ports, section;
	__u32 at, next = SL_NONE;
	int i;

	*id = SL_NONE;
	if (!sl_table_word(t, row + view, &ports))
		return false;
	if (!(ports >> 32))
		return true;
	if (!sl_table_search(t, (__u32)ports, ports >> 32,
			     (__u32)q->protocol << 16 | q->key, &next))
		return false;
	if (!sl_table_word(t, SL_H_DECISIONS, &section))
		return false;
	for (i = 0; i < SL_OTHERWISE_MAX && next != SL_NONE; i++) {
		at = (__u32)section + next * SL_DECISION_WORDS;
		SL_BARRIER(at);
		if (!sl_table_word(t, at + SL_D_RULE, &d[SL_D_RULE]) ||
		    !sl_table_word(t, at + SL_D_DEADLINE, &d[SL_D_DEADLINE]))
			return false;
		if (!d[SL_D_DEADLINE] || q->now_ns < d[SL_D_DEADLINE]) {
			*id = next;
			return true;
		}
		if (!sl_table_word(t, at + SL_D_OTHERWISE, &d[SL_D_OTHERWISE]))
			return false;
		next = (__u32)d[SL_D_OTHERWISE];
	}
	return next == SL_NONE;
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

SL_INLINE bool sl_table_class(sl_table_ref t, const struct sl_question *q, __u64 *class_word)
{
	__u32 class = 0;
	__u64 section;

	if (q->family == 4) {
		if (!sl_table_word(t, SL_H_V4, &section) ||
		    !sl_table_search(t, (__u32)section, section >> 32,
				     (__u32)q->address_low, &class))
			return false;
	} else {
		if (!sl_table_word(t, SL_H_V6, &section) ||
		    !sl_table_search6(t, (__u32)section, section >> 32, q->address_high,
				      q->address_low, &class))
			return false;
	}
	if (!sl_table_word(t, SL_H_CLASSES, &section) || class >= section >> 32)
		return false;
	return sl_table_word(t, (__u32)section + class, class_word);
}

SL_INLINE void sl_answer_default(struct sl_answer *a, const struct sl_question *q,
				 bool embedded)
{
	a->rule = SL_NONE;
	if (q->inbound) {
		a->deny = 1;
		a->reason = SL_REASON_UNSOLICITED;
	} else if (embedded) {
		a->deny = 1;
		a->reason = SL_REASON_EMBEDDED;
	} else {
		a->deny = !(a->flags & SL_F_DEFAULT_ALLOW);
		a->reason = SL_REASON_DEFAULT;
	}
}

/*
 * The verdict of one table on one question. False: the table cannot be read,
 * and *a is then a denial with SL_REASON_NO_POLICY.
 */
SL_INLINE bool sl_table_verdict(sl_table_ref t, struct sl_question *q, struct sl_answer *a)
{
	__u32 view, row_view, id = SL_NONE, base_id = SL_NONE, class_flags;
	__u64 word, d[3] = {}, base_d[3] = {};

	a->deny = 1;
	a->reason = SL_REASON_NO_POLICY;
	a->rule = SL_NONE;
	a->deadline_ns = 0;
	if (!sl_table_word(t, SL_H_FLAGS, &word))
		return false;
	a->flags = (__u32)word;
	if (q->inbound && (a->flags & SL_F_INBOUND_ALLOW)) {
		a->deny = 0;
		a->reason = SL_REASON_INBOUND;
		return true;
	}
	sl_question_normalise(q);
	if (!sl_table_class(t, q, &word) || !sl_table_view(t, q, a->flags, &view))
		return false;
	class_flags = word >> 32;
	row_view = view;
	if ((class_flags & SL_C_UNIFORM) && row_view > SL_VIEW_OTHER)
		row_view = SL_VIEW_OTHER;
	if (!sl_table_decision(t, (__u32)word, row_view, q, &id, d))
		return false;
	if (!(class_flags & SL_C_EMBEDDED)) {
		if (!sl_table_word(t, SL_H_BASE, &word) ||
		    !sl_table_decision(t, (__u32)word, view, q, &base_id, base_d))
			return false;
		if (base_id < id) {
			id = base_id;
			d[SL_D_RULE] = base_d[SL_D_RULE];
			d[SL_D_DEADLINE] = base_d[SL_D_DEADLINE];
		}
	}
	if (id == SL_NONE) {
		sl_answer_default(a, q, class_flags & SL_C_EMBEDDED);
		return true;
	}
	a->rule = (__u32)d[SL_D_RULE];
	a->deny = d[SL_D_RULE] >> 32 & SL_D_DENY;
	a->reason = d[SL_D_RULE] >> (32 + SL_D_REASON_SHIFT);
	a->deadline_ns = d[SL_D_DEADLINE];
	return true;
}

#endif
