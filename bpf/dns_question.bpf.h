/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Questions (docs/names.md, "Questions"): what the rules say of one, and those that are
 * outstanding.
 */
#ifndef SLUICE_DNS_QUESTION_BPF_H
#define SLUICE_DNS_QUESTION_BPF_H

#include "dns_scratch.bpf.h"

/* ---- the name in d->text: its class, what may be asked ---- */

/* The text as a key, its terminating NUL included; NULL never. */
static __always_inline struct sl_pattern_key *sl_dns_key(struct sl_dns *d)
{
	__u32 n = d->characters & 0xff, at, bits = (n + 1) * 8;

	at = SL_DNS_LAST + 1 - n - sizeof(bits);
	barrier_var(at);
	at &= SL_DNS_LAST;
	__builtin_memcpy(&d->text[at], &bits, sizeof(bits));
	return (struct sl_pattern_key *)&d->text[at];
}

/* Looks the scratch place up anew: 6.1 takes a map's value as a key, but not a
 * function's argument. */
static __always_inline __u32 sl_dns_class(const struct sl_subject *s, const struct sl_dns *d)
{
	__u32 index = SL_WORD_INDEX(s->word), place = d->place;
	void *trie = bpf_map_lookup_elem(&sl_names, &index);
	struct sl_dns *own = bpf_map_lookup_elem(&sl_scratch, &place);
	struct sl_pattern_value *value;

	if (!trie || !own)
		return SL_NONE;
	value = bpf_map_lookup_elem(trie, sl_dns_key(own));
	return value ? value->class : SL_NONE;
}

/* What the rules say of a question for the name: in *a. */
static __always_inline void sl_dns_decide(const struct sl_subject *s, __u32 class,
					  struct sl_answer *a)
{
	__u64 ports = 0, decision = 0;
	__u8 reason;

	a->flags = sl_generation_flags(s->word);
	a->deny = !(a->flags & SL_F_QUERIES_ANY);
	a->reason = SL_REASON_DNS_NAME;
	a->rule = SL_NONE;
	if (class == SL_NONE ||
	    sl_table_class_ports(s->word, class, SL_VIEW_INBOUND, &ports) ||
	    sl_table_decide(s->word, ports, 0, bpf_ktime_get_boot_ns(), &decision) ||
	    decision == SL_NONE)
		return;
	reason = a->reason;
	sl_answer_decision(s->word, a, (__u32)decision);
	a->reason = reason;
}

static __always_inline bool sl_dns_type_is_listed(sl_table_map table, __u32 at, __u32 type)
{
	__u64 word;
	int i, k;

	for (i = 0; i < 4; i++) {
		if (!sl_table_word(table, at + SL_N_TYPES + i, &word))
			return false;
		for (k = 0; k < 4; k++, word >>= 16)
			if (type && (word & 0xffff) == type)
				return true;
	}
	return false;
}

/* Type and rate: SL_PARSED or the reason of a denial. */
static __always_inline int sl_dns_limits(const struct sl_subject *s, const struct sl_dns *d)
{
	sl_table_map table = sl_table_open(s->word);
	__u64 section, interval, burst;
	__u32 at;

	if (!table || !sl_table_word(table, SL_H_DNS, &section) || !(section >> 32))
		return SL_REASON_DNS_NAME;
	at = (__u32)section;
	if (!sl_dns_type_is_listed(table, at, d->type))
		return SL_REASON_DNS_TYPE;
	if (!sl_table_word(table, at + SL_N_RATE_NS, &interval) ||
	    !sl_table_word(table, at + SL_N_BURST, &burst))
		return SL_REASON_DNS_RATE;
	if (interval && !sl_limit_take(s->slot, SL_LIMIT_DNS, interval, interval * burst, false))
		return SL_REASON_DNS_RATE;
	return SL_PARSED;
}

/* A question that was read: SL_PARSED or the reason of its denial; *a has the rule. */
static __always_inline int sl_gate_question(const struct sl_subject *s, struct sl_dns *d,
					    struct sl_answer *a)
{
	int reason = sl_dns_limits(s, d);

	if (reason != SL_PARSED)
		return reason;
	sl_dns_decide(s, sl_dns_class(s, d), a);
	return a->deny ? SL_REASON_DNS_NAME : SL_PARSED;
}

/* ---- outstanding questions ---- */

/* A question has a place among the flows, as a first fragment has: the flow's
 * endpoints, and in the namespace's stead what was asked, and whether over loopback: on
 * lo anybody on the machine who may send frames could answer in another's name. */
static __always_inline void sl_question_place(struct sl_flow *f, const struct sl_dns *d)
{
	f->place = SL_PLACE_QUESTION;
	f->icmp_query = 0;
	f->tcp_flags = 0;
	f->netns ^= d->question ^ ((__u64)d->id << 32 | (__u32)f->local << 16 | d->type) *
					  0xc4ceb9fe1a85ec53ull;
}

/* The question is answered once: true for the one who takes it. */
static __always_inline bool sl_question_take(struct sl_packet *p, const struct sl_dns *d)
{
	struct sl_flow_entry *e;
	__u64 netns = p->flow.netns, until;
	__u8 flags = p->flow.tcp_flags;

	sl_question_place(&p->flow, d);
	e = sl_flow_at(p->subject.slot,
		       sl_flow_find(&p->flow, p->subject.slot, bpf_ktime_get_coarse_ns()));
	p->flow.place = SL_PLACE_FLOW;
	p->flow.netns = netns;
	p->flow.tcp_flags = flags;
	if (!e)
		return false;
	until = READ_ONCE(e->expires_ns);
	return until && __sync_val_compare_and_swap(&e->expires_ns, until, 0) == until;
}

static __always_inline bool sl_question_remember(struct sl_packet *p, const struct sl_dns *d)
{
	__u64 netns = p->flow.netns;
	__u8 flags = p->flow.tcp_flags;
	int opened;

	sl_question_place(&p->flow, d);
	opened = sl_flow_open(&p->flow, &p->subject, &p->answer, bpf_ktime_get_coarse_ns(), 0);
	p->flow.place = SL_PLACE_FLOW;
	p->flow.netns = netns;
	p->flow.tcp_flags = flags;
	return opened != SL_NO_ROOM;
}

/* The question that was read: SL_PARSED or the reason of its denial; p->answer has the
 * rule. Not static: verified once. */
__noinline int sl_judge_question(struct sl_packet *p, struct sl_dns *d)
{
	int reason;

	if (!p || !d)
		return SL_REASON_DNS_PENDING;
	reason = sl_gate_question(&p->subject, d, &p->answer);
	if (reason != SL_PARSED && !(p->answer.deny && (p->answer.flags & SL_F_AUDIT)))
		return reason;
	if (!sl_question_remember(p, d))
		return SL_REASON_DNS_PENDING;
	if (reason == SL_PARSED)
		p->answer.reason = p->answer.rule == SL_NONE ? SL_REASON_DEFAULT : SL_REASON_RULE;
	return reason;
}

#endif
