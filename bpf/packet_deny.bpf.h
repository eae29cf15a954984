/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A packet with its verdict, and what becomes of one that is denied: told once, then refused. */
#ifndef SLUICE_PACKET_DENY_BPF_H
#define SLUICE_PACKET_DENY_BPF_H

#include "subject.bpf.h"
#include "packet.bpf.h"
#include "state.bpf.h"
#include "verdict.bpf.h"
#if SL_NAMES
#include "names.bpf.h"
#endif
#include "event.bpf.h"
#include "close.bpf.h"
#include "limit.bpf.h"
#include "fragment.bpf.h"
#include "segment.bpf.h"
#include "hook.bpf.h"

struct sl_packet {
	struct sl_flow flow;
	struct sl_subject subject;
	struct sl_answer answer;
#if SL_ON_DEVICE
	struct sl_link link;
#endif
};

/* All but the subject, which the short way has needed already. */
static __always_inline void sl_packet_begin(struct sl_packet *p, bool inbound, __u8 hook)
{
	__builtin_memset(&p->flow, 0, sizeof(p->flow));
	__builtin_memset(&p->answer, 0, sizeof(p->answer));
#if SL_ON_DEVICE
	__builtin_memset(&p->link, 0, sizeof(p->link));
#endif
	p->flow.inbound = inbound;
	p->flow.hook = hook;
}

static __always_inline struct sl_socket *sl_packet_note(struct __sk_buff *skb, __u64 flags)
{
	struct bpf_sock *sk = skb->sk;

	if (SL_ON_DEVICE || !sk)
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

#define SL_PACKET_LOOPBACK 5	/* linux/if_packet.h, by dev_loopback_xmit */

/* No branches: the verifier would walk all that follows for each answer. */
static __always_inline __u8 sl_local_of(const struct __sk_buff *skb)
{
	return sl_is_zero(skb->ifindex ^ SL_LOOPBACK_IFINDEX) * SL_LOCAL_DEVICE |
	       sl_is_zero(skb->pkt_type ^ SL_PACKET_LOOPBACK) * SL_LOCAL_COPY;
}

/* What the packet says of itself beyond its headers. Addresses mean something
 * only within a network namespace, and a command may make its own: a flow there
 * is none of the target's namespace. */
static __always_inline void sl_packet_origin(struct __sk_buff *skb, struct sl_flow *f)
{
	struct bpf_sock *sk = skb->sk;
	struct sl_socket *note;

	f->local = sl_local_of(skb);
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
	       !(SL_MAY(SL_LACKS_AUDIT) && (p->answer.flags & SL_F_AUDIT));
}

/* How a packet that is not to pass ends. */
static __always_inline int sl_refuse_packet(const struct sl_packet *p)
{
	return SL_MAY(SL_LACKS_DROP) && p->flow.hook == SL_HOOK_CGROUP_EGRESS &&
			       (p->answer.flags & SL_F_DROP) ?
		       SL_DROP_SILENTLY : SL_REFUSE;
}

/* Has this packet's denial been reported? On a device by its memory of denials;
 * else by a note on the socket. */
static __always_inline bool sl_is_same_attempt(struct __sk_buff *skb, struct sl_packet *p,
					       struct sl_socket *note)
{
	if (SL_ON_DEVICE && (p->answer.reason == SL_REASON_MALFORMED ||
			     p->answer.reason == SL_REASON_FRAGMENT))
		return false;	/* its numbers say nothing */
	if (SL_ON_DEVICE)
		return sl_is_retransmission(skb, &p->flow, &p->subject);
	return !p->flow.inbound && sl_is_reported(note, &p->flow, &p->subject);
}

/* Whose attempt it is, for its event. */
static __always_inline const sl_origin *sl_packet_origin_of(const struct sl_packet *p,
							    const struct sl_socket *note)
{
#if SL_ON_DEVICE
	return &p->link;
#else
	return note ? &note->process : NULL;
#endif
}

/* What a network sends to everybody is no attempt to reach this workload. */
static __always_inline bool sl_is_noise(const struct sl_packet *p)
{
	return SL_ON_DEVICE && (p->answer.reason == SL_REASON_STRAY ||
				(p->flow.hook == SL_HOOK_TC_EGRESS &&
				 (p->flow.group || p->answer.reason == SL_REASON_ETHERTYPE)));
}

/* A packet that the policy, or its shape, denies: recorded once, then what mode
 * and on_deny say. Audit lets pass all but a missing policy. Not static: verified once. */
__noinline int sl_deny_packet(struct __sk_buff *skb, struct sl_packet *p)
{
	struct sl_socket *note = NULL;
	bool audit, tcp;

	if (!p)
		return SL_REFUSE;
	audit = SL_MAY(SL_LACKS_AUDIT) && (p->answer.flags & SL_F_AUDIT) &&
		p->answer.reason != SL_REASON_NO_POLICY;
	tcp = p->flow.protocol == IPPROTO_TCP && !p->flow.raw;
	if (sl_is_noise(p))
		p->answer.quiet = 1;

	if (!p->flow.inbound)
		note = sl_packet_note(skb, tcp ? BPF_SK_STORAGE_GET_F_CREATE : 0);
	if (!sl_is_same_attempt(skb, p, note)) {
		if (tcp)	/* its retransmissions are the same attempt */
			sl_note(note, &p->flow, &p->subject, SL_SOCK_REPORTED);
		sl_record(&p->flow, &p->subject, &p->answer, sl_packet_origin_of(p, note),
			  audit ? SL_EV_AUDIT_DENY : SL_EV_DENY);
	}
	return audit ? SL_PASS : sl_refuse_packet(p);
}

static __always_inline void sl_deny_because(struct sl_packet *p, __u8 reason)
{
	p->answer.deny = 1;
	p->answer.reason = reason;
	p->answer.rule = SL_NONE;
	p->answer.flags = sl_generation_flags(p->subject.word);
}

/* The packet's shape, or what the frame around it says, denies it. */
static __always_inline int sl_deny_shape(struct __sk_buff *skb, struct sl_packet *p, __u8 reason)
{
	sl_deny_because(p, reason);
	return sl_deny_packet(skb, p);
}

#endif
