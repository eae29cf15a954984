/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The verdict: one function for all hooks. It takes a flow and a subject and
 * answers from one generation's table; it has no context and writes nothing
 * but its answer.
 */
#ifndef SLUICE_VERDICT_BPF_H
#define SLUICE_VERDICT_BPF_H

#include "flow.bpf.h"
#include "maps.bpf.h"

typedef __u64 sl_table_ref;	/* a target's word */
typedef void *sl_table_map;

static __always_inline const __u64 *sl_table_page(sl_table_map table, __u32 i)
{
	__u32 at = i / SL_PAGE_WORDS;
	struct sl_page *page = bpf_map_lookup_elem(table, &at);

	return page ? page->words : NULL;
}

static __always_inline sl_table_map sl_table_open(sl_table_ref word)
{
	__u32 index = SL_WORD_INDEX(word);

	return bpf_map_lookup_elem(&sl_tables, &index);
}

#define SL_READER __noinline
#define SL_INLINE static __always_inline
#include "sluice_reader.h"

/* The flags of a generation, for packets that never reach a verdict. An index of sl_tables
 * is used again; a generation never is. */
static __always_inline __u32 sl_flags_of(__u64 word)
{
	sl_table_map table = sl_table_open(word);
	const __u64 *head = table ? sl_table_page(table, 0) : NULL;

	return head && word && head[SL_H_GENERATION] == SL_WORD_GENERATION(word) ?
	       (__u32)head[SL_H_FLAGS] : 0;
}

/* Not static: verified once. sl_flags_of is for what every packet asks. */
__noinline __u32 sl_generation_flags(__u64 word)
{
	return sl_flags_of(word);
}

/* Of the flow and the subject each step reads what it needs: what is kept takes a place on the
 * stack. */
static __always_inline int sl_verdict_of(const struct sl_flow *f, const struct sl_subject *s,
					 struct sl_answer *a, bool ipv4)
{
	struct sl_question q = {};
	struct sl_place p;
	sl_table_map table;
	const __u64 *head;
	__u64 class;

	sl_answer_none(a);
	a->quiet = 0;
	table = s->word ? sl_table_open(s->word) : NULL;
	head = table ? sl_table_page(table, 0) : NULL;
	if (!head || head[SL_H_GENERATION] != SL_WORD_GENERATION(s->word) ||
	    sl_answer_inbound(head, f->inbound, a))
		return 0;
	q.family = ipv4 ? 4 : f->family;
	q.address_high = f->inbound ? f->source_high : f->destination_high;
	q.address_low = f->inbound ? f->source_low : f->destination_low;
	p = sl_place_begin(head);
	if (sl_verdict_class(s->word, table, &p, head, &q, &class))
		return 0;
	q.protocol = f->protocol;
	q.key = f->key;
	q.inbound = f->inbound;
	q.has_uid = s->has_uid;
	q.uid = s->uid;
	q.now_ns = sl_hidden_zero(class);
	if (head[SL_H_FLAGS] & SL_F_DEADLINES)
		q.now_ns = bpf_ktime_get_boot_ns();
	sl_verdict_answer(s->word, table, &p, head, class, &q, a);
	return 0;
}

/* Not static: verified once, not at each call. Always fills *a. */
__noinline int sl_verdict(const struct sl_flow *f, const struct sl_subject *s,
			  struct sl_answer *a)
{
	return f && s && a ? sl_verdict_of(f, s, a, false) : -1;
}

/* Where the address is always IPv4's: the search for IPv6 need not be verified. */
__noinline int sl_verdict4(const struct sl_flow *f, const struct sl_subject *s,
			   struct sl_answer *a)
{
	return f && s && a ? sl_verdict_of(f, s, a, true) : -1;
}

#endif
