/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Packets: the hooks that decide. */
#ifndef SLUICE_PACKET_HOOK_BPF_H
#define SLUICE_PACKET_HOOK_BPF_H

#include "subject.bpf.h"
#include "packet.bpf.h"
#include "state.bpf.h"
#include "verdict.bpf.h"
#include "event.bpf.h"
#include "hook.bpf.h"

struct sl_packet {
	struct sl_flow flow;
	struct sl_subject subject;
	struct sl_answer answer;
};

static __always_inline struct sl_socket *sl_packet_note(struct __sk_buff *skb, __u64 flags)
{
	struct bpf_sock *sk = skb->sk;

	if (!sk)
		return NULL;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return NULL;
	return bpf_sk_storage_get(&sl_sockets, sk, 0, flags);
}

/* Has this denial been reported by a socket hook or an earlier packet? UDP and
 * raw sockets: each send is an attempt of its own, so the note holds once. */
static __always_inline bool sl_is_reported(struct sl_socket *note, const struct sl_flow *f,
					   const struct sl_subject *s)
{
	if (!note || !(note->flags & SL_SOCK_REPORTED))
		return false;
	if (note->word != s->word || note->address_high != f->destination_high ||
	    note->address_low != f->destination_low || note->key != f->key ||
	    note->protocol != f->protocol)
		return false;
	if (f->protocol != IPPROTO_TCP)
		note->flags &= ~SL_SOCK_REPORTED;
	return true;
}

/* How a packet that is not to pass ends. */
static __always_inline int sl_refuse_packet(const struct sl_packet *p, __u32 flags)
{
	return !p->flow.inbound && (flags & SL_F_DROP) ? SL_DROP_SILENTLY : SL_REFUSE;
}

/* A packet that the policy, or its shape, denies: recorded once, then what mode
 * and on_deny say. Audit lets pass all but a missing policy. */
static __always_inline int sl_deny_packet(struct __sk_buff *skb, struct sl_packet *p)
{
	bool audit = (p->answer.flags & SL_F_AUDIT) && p->answer.reason != SL_REASON_NO_POLICY;
	bool tcp = p->flow.protocol == IPPROTO_TCP;
	struct sl_process process = {};
	struct sl_socket *note = NULL;

	if (!p->flow.inbound) {
		note = sl_packet_note(skb, tcp ? BPF_SK_STORAGE_GET_F_CREATE : 0);
		sl_process_socket(&process, note);
	}
	if (p->flow.inbound || !sl_is_reported(note, &p->flow, &p->subject)) {
		if (tcp)	/* its retransmissions are the same attempt */
			sl_note(note, &p->flow, &p->subject, SL_SOCK_REPORTED);
		sl_record(&p->flow, &p->subject, &p->answer, &process,
			  audit ? SL_EV_AUDIT_DENY : SL_EV_DENY);
	}
	return audit ? SL_PASS : sl_refuse_packet(p, p->answer.flags);
}

static __always_inline void sl_deny_because(struct sl_packet *p, __u8 reason)
{
	p->answer.deny = 1;
	p->answer.reason = reason;
	p->answer.rule = SL_NONE;
	p->answer.flags = sl_generation_flags(p->subject.word);
}

/* A flow's opener as a flow, to judge it again under a new generation. */
static __always_inline void sl_opener(const struct sl_flow_entry *e, struct sl_packet *p)
{
	struct sl_flow *f = &p->flow;
	bool a = e->flags & SL_FLOW_FROM_A;

	f->source_high = a ? e->key.a_high : e->key.b_high;
	f->source_low = a ? e->key.a_low : e->key.b_low;
	f->destination_high = a ? e->key.b_high : e->key.a_high;
	f->destination_low = a ? e->key.b_low : e->key.a_low;
	f->source_port = a ? e->key.a_port : e->key.b_port;
	f->destination_port = a ? e->key.b_port : e->key.a_port;
	f->key = e->open_key;
	f->inbound = !!(e->flags & SL_FLOW_INBOUND);
	p->subject.uid = e->uid;
	p->subject.has_uid = !!(e->flags & SL_FLOW_HAS_UID);
}

static __always_inline bool sl_is_current(const struct sl_flow_entry *e, __u64 word)
{
	return e->word == word &&
	       (!e->deadline_ns || bpf_ktime_get_boot_ns() < e->deadline_ns);
}

/* Notes what the judgement of a flow that we know was. A denied one stays, so
 * that its next packets are neither judged nor reported again. */
static __always_inline void sl_flow_judged(struct sl_flow_entry *e, const struct sl_packet *p)
{
	bool cut = p->answer.deny && !(p->answer.flags & SL_F_AUDIT);

	if (cut)
		__sync_fetch_and_or(&e->flags, SL_FLOW_DENIED);
	else
		__sync_fetch_and_and(&e->flags, ~SL_FLOW_DENIED);
	e->rule = p->answer.rule;
	e->deadline_ns = p->answer.deadline_ns;
	WRITE_ONCE(e->word, p->subject.word);
}

/* A new flow that passes (allowed, or denied in audit mode): its entry. False:
 * no room, and the answer is now a denial. */
static __always_inline bool sl_admit(struct sl_packet *p, __u64 now)
{
	struct sl_process nobody = {};
	int opened = sl_flow_open(&p->flow, &p->subject, &p->answer, now);

	if (opened == SL_NO_ROOM && !p->answer.deny) {
		sl_deny_because(p, SL_REASON_FLOW_TABLE);
		return false;
	}
	if (opened == SL_OPENED && !p->answer.deny)
		sl_record(&p->flow, &p->subject, &p->answer, &nobody, SL_EV_ALLOW);
	return true;
}

/* An ICMP error comes in if the packet that it quotes is of a flow of ours. */
static __always_inline bool sl_error_is_ours(struct __sk_buff *skb, struct sl_packet *p, __u64 now)
{
	struct sl_flow quoted = {};
	struct sl_flow_entry *e;

	if (sl_parse_ip(skb, sl_icmp_quote(0, &p->flow), &quoted) != SL_PARSED)
		return false;
	e = sl_flow_at(sl_flow_find(&quoted, p->subject.slot, now));
	return e && !(e->flags & SL_FLOW_DENIED);
}

/*
 * The packet's verdict. The order: its shape; an error about a flow of ours; a
 * flow that we know and that this generation judged; else the policy.
 */
static __always_inline int sl_judge_packet(struct __sk_buff *skb, struct sl_packet *p)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	struct sl_flow_entry *e = NULL;
	int reason, verdict;

	reason = sl_parse_ip(skb, 0, &p->flow);
	if (reason != SL_PARSED) {
		sl_deny_because(p, reason);
		return sl_deny_packet(skb, p);
	}
	if (p->flow.inbound && p->flow.icmp_query == SL_ICMP_ERROR) {
		if (sl_error_is_ours(skb, p, now))
			return SL_PASS;
	} else {
		e = sl_flow_at(sl_flow_find(&p->flow, p->subject.slot, now));
	}
	if (e && sl_is_current(e, p->subject.word)) {
		if (e->flags & SL_FLOW_DENIED)
			return sl_refuse_packet(p, sl_generation_flags(p->subject.word));
		sl_flow_touch(e, &p->flow, now);
		return SL_PASS;
	}
	if (e)
		sl_opener(e, p);
	else
		sl_subject_stamp(&p->subject, sl_packet_note(skb, 0));
	sl_verdict(&p->flow, &p->subject, &p->answer);
	if (e)
		sl_flow_judged(e, p);
	verdict = SL_PASS;
	if (p->answer.deny || (!e && !sl_admit(p, now)))
		verdict = sl_deny_packet(skb, p);
	if (verdict == SL_PASS && p->answer.deny && !e)
		sl_admit(p, now);
	return verdict;
}

#endif
