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

#include "sluice_classes.h"
#include "sluice_lacks.h"
#include "sluice_search.h"
#include "sluice_table.h"

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
