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

typedef void *sl_table_ref;

static __always_inline bool sl_table_word(sl_table_ref table, __u32 i, __u64 *word)
{
	__u32 at = i / SL_CHUNK_WORDS;
	struct sl_chunk *chunk = bpf_map_lookup_elem(table, &at);

	if (!chunk)
		return false;
	i &= SL_CHUNK_WORDS - 1;
	barrier_var(i);
	i &= SL_CHUNK_WORDS - 1;
	*word = chunk->words[i];
	return true;
}

#define SL_INLINE static __always_inline
#include "sluice_reader.h"

static __always_inline sl_table_ref sl_generation(__u64 word)
{
	__u32 index = SL_WORD_INDEX(word);
	__u64 generation;
	void *table;

	if (!word)
		return NULL;
	table = bpf_map_lookup_elem(&sl_tables, &index);
	if (!table || !sl_table_word(table, SL_H_GENERATION, &generation))
		return NULL;
	/* an index is used again; a generation never is */
	return generation == SL_WORD_GENERATION(word) ? table : NULL;
}

/* Not static: verified once, not at each call. Always fills *a. */
__noinline int sl_verdict(const struct sl_flow *f, const struct sl_subject *s,
			  struct sl_answer *a)
{
	struct sl_question q = {};
	sl_table_ref table;
	__u64 flags;

	if (!f || !s || !a)
		return -1;
	a->deny = 1;
	a->reason = SL_REASON_NO_POLICY;
	a->rule = SL_NONE;
	a->flags = 0;
	a->deadline_ns = 0;
	table = sl_generation(s->word);
	if (!table || !sl_table_word(table, SL_H_FLAGS, &flags))
		return 0;
	q.family = f->family;
	q.protocol = f->protocol;
	q.key = f->key;
	q.inbound = f->inbound;
	q.has_uid = s->has_uid;
	q.uid = s->uid;
	q.address_high = f->inbound ? f->source_high : f->destination_high;
	q.address_low = f->inbound ? f->source_low : f->destination_low;
	if (flags & SL_F_DEADLINES)
		q.now_ns = bpf_ktime_get_boot_ns();
	sl_table_verdict(table, &q, a);
	return 0;
}

/* The flags of a generation, for packets that never reach a verdict. */
static __always_inline __u32 sl_generation_flags(__u64 word)
{
	sl_table_ref table = sl_generation(word);
	__u64 flags = 0;

	if (table)
		sl_table_word(table, SL_H_FLAGS, &flags);
	return flags;
}

#endif
