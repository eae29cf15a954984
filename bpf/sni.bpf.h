/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The server's name in a TLS ClientHello (docs/names.md, "Server names"): what a rule with
 * `sni` lets pass begins with a hello that the rule allows, or is denied.
 *
 * A guest has its own TCP: it may send the same bytes twice, with other contents, or
 * bytes that never arrive. So the bytes up to the end of the name are held to: until the
 * server has acknowledged them, nothing passes that would overwrite them with others.
 */
#ifndef SLUICE_SNI_BPF_H
#define SLUICE_SNI_BPF_H

#include "dns.bpf.h"
#include "sluice_tls.h"

/* What sl_sni_look says besides SL_PARSED and the reason of a denial. */
enum {
	SL_SNI_ASK = 253,	/* a hello with a name, which is in the scratch place */
	SL_SNI_ALLOWED = 254,
	SL_SNI_AGAIN = 255,	/* dropped without a word: TCP sends it again */
};

static __always_inline struct sl_dns *sl_sni_scratch(const struct sl_packet *p)
{
	__u32 place = p->flow.scratch - 1;

	return p->flow.scratch ? bpf_map_lookup_elem(&sl_scratch, &place) : NULL;
}

static __always_inline struct sl_flow_entry *sl_sni_entry(const struct sl_packet *p)
{
	return sl_flow_at(p->subject.slot, (int)p->flow.watched - 1);
}

/* ---- who may be named ---- */

/* The rule that allows the server's name here, SL_NONE if none does. Not static: verified
 * once. */
__noinline __u32 sl_sni_rule(const struct sl_packet *p)
{
	__u64 decision = SL_NONE, until = 0, word = 0, deadline = 0;
	struct sl_connection c = {};
	const struct sl_subject *s;
	struct sl_dns *d;
	__u32 class;

	if (!p)
		return SL_NONE;
	s = &p->subject;
	d = sl_sni_scratch(p);
	if (!d || sl_names_view(s, sl_generation_flags(s->word), &c.view))
		return SL_NONE;
	c.key = IPPROTO_TCP << 16 | p->flow.destination_port;
	c.now_ns = bpf_ktime_get_boot_ns();
	class = sl_dns_class(s, d);
	if (class == SL_NONE ||
	    sl_table_class_decide(s->word, class, &c, &decision, &until) ||
	    decision == SL_NONE || sl_table_decision(s->word, (__u32)decision, &word, &deadline) ||
	    (word >> 32 & SL_D_DENY))
		return SL_NONE;
	return (__u32)word;
}

/* Is a decision, which allows, that rule's? Not static: verified once, and not for each
 * owner. */
__noinline int sl_sni_is_of(__u64 word, __u64 decision, __u32 rule)
{
	__u64 found = 0, deadline = 0;

	return decision != SL_NONE &&
	       !sl_table_decision(word, (__u32)decision, &found, &deadline) &&
	       !(found >> 32 & SL_D_DENY) && (__u32)found == rule;
}

/* A name that a rule allows is the address's if it owns it, or if an owner is allowed by
 * the same rule. Not static: verified once. */
__noinline int sl_sni_is_allowed(const struct sl_packet *p, __u32 rule)
{
	struct sl_connection c = {};
	struct sl_flow_entry *e;
	struct sl_owner o = {};
	__u64 decision = 0, until = 0;
	struct sl_dns *d;
	__u32 class, i;
	int found;

	if (!p)
		return 0;
	d = sl_sni_scratch(p);
	e = sl_sni_entry(p);
	if (!d || !e ||
	    sl_names_view(&p->subject, sl_generation_flags(p->subject.word), &c.view))
		return 0;
	if (e->rule == rule)
		return 1;
	c.key = IPPROTO_TCP << 16 | p->flow.destination_port;
	c.now_ns = bpf_ktime_get_boot_ns();
	found = sl_learned_find(&p->flow, &p->subject);
	for (i = 0; found >= 0 && i < SL_OWNERS; i++) {
		if (!sl_owner_at(&p->flow, &p->subject, found, i, &o))
			continue;
		if (o.tag == d->hash)
			return 1;
		class = sl_owner_class(&p->subject, &o);
		if (class != SL_NONE &&
		    !sl_table_class_decide(p->subject.word, class, &c, &decision, &until) &&
		    sl_sni_is_of(p->subject.word, decision, rule))
			return 1;
	}
	return 0;
}

/* ---- what a segment says ---- */

/* A connection's first data: SL_SNI_ASK, or the reason of a denial. */
static __always_inline int sl_sni_read(struct __sk_buff *skb, struct sl_dns *d,
				       const struct sl_segment *s)
{
	__u32 bytes = s->bytes;

	if (bytes > SL_DNS_BYTES)
		bytes = SL_DNS_BYTES;
	barrier_var(bytes);
	bytes = ((bytes - 1) & (SL_DNS_BYTES - 1)) + 1;
	d->length = bytes;
	if (bpf_skb_load_bytes(skb, s->at, d->message, bytes))
		return SL_REASON_SNI_SPLIT;
	switch (sl_tls_hello(d)) {
	case SL_TLS_NAMED:
		return SL_SNI_ASK;
	case SL_TLS_ODD:
		return SL_REASON_SNI_NAME;
	case SL_TLS_NAMELESS:
		return SL_REASON_SNI_MISSING;
	}
	return SL_REASON_SNI_SPLIT;
}

/* Data that begins before the end of the name: the same bytes again? */
static __always_inline bool sl_sni_is_same(struct __sk_buff *skb, const struct sl_flow_entry *e,
					   const struct sl_segment *s, struct sl_dns *d)
{
	__u32 bytes = e->sni_end;

	if (s->offset || s->bytes < bytes || !bytes || bytes > SL_DNS_BYTES)
		return false;
	barrier_var(bytes);
	bytes = ((bytes - 1) & (SL_DNS_BYTES - 1)) + 1;
	d->length = bytes;
	return !bpf_skb_load_bytes(skb, s->at, d->message, bytes) &&
	       sl_tls_hash(d, bytes) == e->sni_hash;
}

/* Data of the opener, whose hello is still looked for, or held to. */
static __always_inline int sl_sni_judge_data(struct __sk_buff *skb, const struct sl_packet *p,
					     const struct sl_flow_entry *e,
					     const struct sl_segment *s, struct sl_dns *d)
{
	__u32 bytes = s->bytes < SL_DNS_BYTES ? s->bytes : SL_DNS_BYTES;

	if (!sl_payload_stays(skb, &p->flow, s->at + bytes))
		return e->sni_end ? SL_SNI_AGAIN : SL_REASON_SNI_SPLIT;
	if (e->sni_end)
		return !p->flow.fragment && sl_sni_is_same(skb, e, s, d) ? SL_PARSED : SL_SNI_AGAIN;
	if (s->offset || (p->flow.tcp_flags & SL_TCP_URG) || p->flow.fragment)
		return SL_REASON_SNI_SPLIT;
	return sl_sni_read(skb, d, s);
}

/* The server has the name: there is nothing to look for any more. */
static __always_inline void sl_sni_settle(struct sl_flow_entry *e)
{
	__sync_fetch_and_and(&e->flags, ~(SL_FLOW_SNI | SL_FLOW_SNI_VERIFY));
}

/* A packet from the server, or of its side: has it the name? Not static: its frame does not
 * add to the hook's. */
__noinline int sl_sni_heard(struct __sk_buff *skb, struct sl_packet *p)
{
	struct sl_flow_entry *e;
	struct sl_segment s;

	e = p ? sl_sni_entry(p) : NULL;
	if (!e || !sl_segment_read(skb, &p->flow, e->isn, &s))
		return SL_SNI_AGAIN;
	if (!sl_is_opener(e, &p->flow) && (p->flow.tcp_flags & SL_TCP_ACK) && e->sni_end &&
	    (__s32)(s.acknowledged - e->sni_end) >= 0)
		sl_sni_settle(e);
	return SL_PARSED;
}

/* A packet of a flow whose hello is looked for. With p->flow.scratch there is a place to
 * give back. Not static: its frame does not add to the hook's. */
__noinline int sl_sni_look(struct __sk_buff *skb, struct sl_packet *p)
{
	struct sl_flow_entry *e;
	struct sl_segment s;
	struct sl_dns *d;

	e = p ? sl_sni_entry(p) : NULL;
	if (!e || !sl_segment_read(skb, &p->flow, e->isn, &s))
		return SL_SNI_AGAIN;
	if (!sl_is_opener(e, &p->flow)) {
		if ((p->flow.tcp_flags & SL_TCP_ACK) && e->sni_end &&
		    (__s32)(s.acknowledged - e->sni_end) >= 0)
			sl_sni_settle(e);
		return SL_PARSED;
	}
	if (p->flow.tcp_flags & SL_TCP_SYN)	/* another beginning is another connection */
		return s.offset + 1 || s.bytes ||
				       ((SL_ON_DEVICE || p->flow.raw) &&
					sl_offers_multipath(skb, &p->flow))
			       ? SL_SNI_AGAIN
			       : SL_PARSED;
	if (!s.bytes || (e->sni_end && (__s32)(s.offset - e->sni_end) >= 0))
		return SL_PARSED;
	d = sl_scratch_take();
	if (!d)
		return SL_SNI_AGAIN;
	p->flow.scratch = d->place + 1;
	p->subject.uid = e->uid;
	p->subject.has_uid = !!(e->flags & SL_FLOW_HAS_UID);
	return sl_sni_judge_data(skb, p, e, &s, d);
}

/* ---- what becomes of it ---- */

/* A hello was allowed: what it said is held to from now on. */
static __always_inline bool sl_sni_hold(struct sl_flow_entry *e, struct sl_dns *d)
{
	__u32 end = d->end;

	if (end > d->length || end > 0xffff)
		return false;
	WRITE_ONCE(e->sni_hash, sl_tls_hash(d, end));
	WRITE_ONCE(e->sni_end, (__u16)end);
	return true;
}

/* The denial, with the server's name if there is one. */
static __always_inline void sl_record_server(struct __sk_buff *skb, const struct sl_packet *p,
					     struct sl_dns *d)
{
	const sl_origin *o = sl_packet_origin_of(p, sl_packet_note(skb, 0));

	if (p->answer.reason == SL_REASON_SNI_NAME)
		sl_record_question(&p->flow, &p->subject, &p->answer, d, o);
	else
		sl_record(&p->flow, &p->subject, &p->answer, o,
			  p->answer.flags & SL_F_AUDIT ? SL_EV_AUDIT_DENY : SL_EV_DENY);
}

/* The denial, told once. What is split may still come in one piece, where the kernel's TCP
 * puts it together for its retransmission: a command's. Everything else ends the
 * connection. */
static __always_inline int sl_sni_deny(struct __sk_buff *skb, struct sl_packet *p,
				       struct sl_flow_entry *e, struct sl_dns *d, int reason)
{
	bool told = e->flags & SL_FLOW_SNI_TOLD;

	p->answer.flags = sl_generation_flags(p->subject.word);
	p->answer.flags &= ~(SL_F_LOG_ALL | SL_F_LOG_NONE);	/* the rule's */
	if (e->flags & SL_FLOW_SNI_QUIET)
		p->answer.flags |= SL_F_LOG_NONE;
	if (!(e->flags & SL_FLOW_SNI_VERIFY))	/* observe */
		p->answer.flags |= SL_F_AUDIT;
	p->answer.deny = 1;
	p->answer.reason = reason;
	p->answer.rule = e->rule;
	p->answer.name = e->name;
	if (!told) {
		__sync_fetch_and_or(&e->flags, SL_FLOW_SNI_TOLD);
		sl_record_server(skb, p, d);
	}
	if (p->answer.flags & SL_F_AUDIT) {
		sl_sni_settle(e);
		return SL_PASS;
	}
	if (SL_ON_DEVICE || reason != SL_REASON_SNI_SPLIT)
		WRITE_ONCE(e->word, p->subject.word | SL_WORD_DENIED);
	return sl_refuse_packet(p);
}

/* Gives the scratch place back. Not static: its frame does not add to the hook's. */
__noinline int sl_sni_conclude(struct __sk_buff *skb, struct sl_packet *p, int reason)
{
	struct sl_flow_entry *e;
	int verdict = SL_PASS;
	struct sl_dns *d;

	/* used on devices too: or the compiler passes anything, which 6.1 refuses */
	asm volatile("" : : "r"(skb));
	if (!p)
		return SL_REFUSE;
	d = sl_sni_scratch(p);
	e = sl_sni_entry(p);
	if (d && e && reason == SL_SNI_ALLOWED && !sl_sni_hold(e, d))
		reason = SL_REASON_SNI_SPLIT;
	if (!d || !e || reason == SL_SNI_AGAIN) {
		p->answer.flags |= SL_F_DROP;
		verdict = sl_refuse_packet(p);
	} else if (reason != SL_SNI_ALLOWED && reason != SL_PARSED) {
		verdict = sl_sni_deny(skb, p, e, d, reason);
	}
	if (d)
		sl_scratch_give(d);
	return verdict;
}

/* A packet that the policy lets pass; if its flow's hello is looked for, the verdict. */
static __always_inline int sl_judge_sni(struct __sk_buff *skb, struct sl_packet *p, bool inbound)
{
	int reason;
	__u32 rule;

	if (!SL_MAY(SL_LACKS_SNI) || !p->flow.watched)
		return SL_PASS;
	if (inbound) {	/* who opened it sends the other way, where it is judged */
		if (sl_sni_heard(skb, p) == SL_PARSED)
			return SL_PASS;
		p->answer.flags |= SL_F_DROP;
		return sl_refuse_packet(p);
	}
	reason = sl_sni_look(skb, p);
	if (reason == SL_SNI_ASK) {
		rule = sl_sni_rule(p);
		reason = rule != SL_NONE && sl_sni_is_allowed(p, rule) ? SL_SNI_ALLOWED :
									 SL_REASON_SNI_NAME;
	}
	if (reason == SL_PARSED && !p->flow.scratch)
		return SL_PASS;
	/* what a hook returns must be known to the verifier */
	return sl_sni_conclude(skb, p, reason) == SL_PASS ? SL_PASS : sl_refuse_packet(p);
}

#endif
