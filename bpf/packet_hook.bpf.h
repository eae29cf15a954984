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
	if (f->protocol != IPPROTO_TCP || f->raw)
		note->flags &= ~SL_SOCK_REPORTED;
	return true;
}

#define SL_LOOPBACK_IFINDEX 1	/* in every network namespace (LOOPBACK_IFINDEX) */

/* What the packet says of itself beyond its headers. Addresses mean something
 * only within a network namespace, and a command may make its own: a flow there
 * is none of the target's namespace. */
static __always_inline void sl_packet_origin(struct __sk_buff *skb, struct sl_flow *f)
{
	struct bpf_sock *sk = skb->sk;
	struct sl_socket *note;

	f->local = skb->ifindex == SL_LOOPBACK_IFINDEX;
	if (!sk)
		return;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return;
	f->raw = sk->type == SL_SOCK_RAW;
	note = bpf_sk_storage_get(&sl_sockets, sk, 0, 0);
	if (note && (note->flags & SL_SOCK_ELSEWHERE))
		f->netns = note->netns;
}

/* A raw socket gets a copy of everybody's packets of its protocol. A copy that
 * is none of its business is not passed on, and is no attempt to reach it. */
static __always_inline bool sl_is_stray_copy(const struct sl_packet *p)
{
	return p->flow.inbound && p->flow.raw && p->answer.reason == SL_REASON_UNSOLICITED &&
	       !(p->answer.flags & SL_F_AUDIT);
}

/* How a packet that is not to pass ends. */
static __always_inline int sl_refuse_packet(const struct sl_packet *p, __u32 flags)
{
	return p->flow.hook == SL_HOOK_CGROUP_EGRESS && (flags & SL_F_DROP) ? SL_DROP_SILENTLY :
									   SL_REFUSE;
}

/* A packet that the policy, or its shape, denies: recorded once, then what mode
 * and on_deny say. Audit lets pass all but a missing policy. */
static __always_inline int sl_deny_packet(struct __sk_buff *skb, struct sl_packet *p)
{
	bool audit = (p->answer.flags & SL_F_AUDIT) && p->answer.reason != SL_REASON_NO_POLICY;
	bool tcp = p->flow.protocol == IPPROTO_TCP && !p->flow.raw;
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
	return (e->word & ~SL_WORD_DENIED) == word &&
	       (!e->deadline_ns || bpf_ktime_get_boot_ns() < e->deadline_ns);
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

/* The place of the flow that an ICMP error quotes a packet of, or SL_NO_PLACE.
 * Not static: its frame does not add to the hook's. */
__noinline int sl_find_quoted(struct __sk_buff *skb, const struct sl_flow *error, __u32 slot,
			      __u64 now)
{
	struct sl_flow quoted = {};

	if (error)
		quoted.netns = error->netns;
	if (!error || sl_parse_ip(skb, sl_icmp_quote(0, error), &quoted) != SL_PARSED)
		return SL_NO_PLACE;
	return sl_flow_find(&quoted, slot, now);
}

/* An ICMP error comes in if the packet that it quotes is of a flow of ours. */
static __always_inline bool sl_error_is_ours(struct __sk_buff *skb, struct sl_packet *p, __u64 now)
{
	struct sl_flow_entry *e;

	e = sl_flow_at(sl_find_quoted(skb, &p->flow, p->subject.slot, now));
	return e && e->word == p->subject.word;
}

/* A UDP socket that an admitted flow reached answers it with sendto(): tells the
 * sendmsg hook to leave that to the packet. */
static __always_inline void sl_note_server(struct __sk_buff *skb, const struct sl_flow *f)
{
	struct sl_socket *note;

	if (!f->inbound || f->protocol != IPPROTO_UDP)
		return;
	note = sl_packet_note(skb, BPF_SK_STORAGE_GET_F_CREATE);
	if (note && !(note->flags & SL_SOCK_SERVES))
		note->flags |= SL_SOCK_SERVES;
}

/* A flow that a uid rule let out is its user's: another's socket that has come
 * to the same addresses and ports is judged by itself. */
static __always_inline bool sl_is_anothers(struct __sk_buff *skb, struct sl_packet *p,
					   const struct sl_flow_entry *e)
{
	if (p->flow.inbound || !(e->flags & SL_FLOW_HAS_UID) || !sl_is_opener(e, &p->flow))
		return false;
	sl_subject_stamp(&p->subject, sl_packet_note(skb, 0));
	return !p->subject.has_uid || p->subject.uid != e->uid;
}

/*
 * The packet's verdict. The order: its shape; an error about a flow of ours; a
 * flow that we know and that this generation judged; else the policy.
 */
static __always_inline int sl_judge_packet(struct __sk_buff *skb, struct sl_packet *p)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	struct sl_flow_entry *e = NULL;
	int reason, verdict, place = SL_NO_PLACE;

	sl_packet_origin(skb, &p->flow);
	reason = sl_parse_ip(skb, 0, &p->flow);
	if (reason != SL_PARSED) {
		sl_deny_because(p, reason);
		return sl_deny_packet(skb, p);
	}
	if (p->flow.inbound && p->flow.icmp_query == SL_ICMP_ERROR) {
		if (sl_error_is_ours(skb, p, now))
			return SL_PASS;
	} else {
		place = sl_flow_find(&p->flow, p->subject.slot, now);
		e = sl_flow_at(place);
		if (e && sl_is_anothers(skb, p, e))
			e = NULL;
	}
	if (e && sl_is_current(e, p->subject.word)) {
		if (e->word & SL_WORD_DENIED)	/* reported when it was cut */
			return sl_refuse_packet(p, sl_generation_flags(p->subject.word));
		if (sl_is_opener(e, &p->flow))
			sl_note_server(skb, &p->flow);
		sl_flow_touch(e, &p->flow, now);
		return SL_PASS;
	}
	if (e)
		sl_opener(e, p);
	else
		sl_subject_stamp(&p->subject, sl_packet_note(skb, 0));
	sl_verdict(&p->flow, &p->subject, &p->answer);
	if (e)
		sl_flow_judged(place, &p->flow, &p->subject, &p->answer);
	if (!e && sl_is_stray_copy(p))
		return SL_REFUSE;
	verdict = SL_PASS;
	if (p->answer.deny || (!e && !sl_admit(p, now)))
		verdict = sl_deny_packet(skb, p);
	if (verdict != SL_PASS)
		return verdict;
	if (e) {
		sl_flow_touch(e, &p->flow, now);
	} else {
		sl_note_server(skb, &p->flow);
		if (p->answer.deny)	/* audit: one event for the flow */
			sl_admit(p, now);
	}
	return SL_PASS;
}

#endif
