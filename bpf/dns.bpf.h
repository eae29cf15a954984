/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * DNS as it passes (docs/names.md): questions are judged before they leave, answers
 * teach before they arrive. Here: the messages of a packet, their events, and the verdict.
 */
#ifndef SLUICE_DNS_BPF_H
#define SLUICE_DNS_BPF_H

#include "dns_answer.bpf.h"
#include "payload.bpf.h"
#if SL_ON_DEVICE
#include "stream.bpf.h"
#endif

#define SL_DNS_MESSAGES 4 /* of one TCP segment */

/* A question that is well formed: sl_judge_question is to be asked, by the hook, whose
 * stack has no room for both (6.1). */
#define SL_DNS_IS_ASKED 254

/* One message, by direction: a function each, so that a program is verified with one of
 * them. Not static: verified once, and what it calls is: its frame of the stack stays
 * small. */
__noinline int sl_judge_outbound(struct __sk_buff *skb, struct sl_packet *p, struct sl_dns *d,
				 __u32 at, __u32 length)
{
	if (!p || !d)
		return SL_REASON_DNS_PENDING;
	p->answer.rule = SL_NONE;
	if (!sl_dns_load(skb, d, at, length))
		return SL_REASON_DNS_MALFORMED;
	return sl_dns_question(d) == SL_DNS_GOOD ? SL_DNS_IS_ASKED : SL_REASON_DNS_MALFORMED;
}

__noinline int sl_judge_inbound(struct __sk_buff *skb, struct sl_packet *p, struct sl_dns *d,
				__u32 at, __u32 length)
{
	if (!p || !d)
		return SL_REASON_DNS_PENDING;
	p->answer.rule = SL_NONE;
	if (!sl_dns_load(skb, d, at, length))
		return SL_REASON_DNS_ANSWER;
	return sl_judge_answer(p, d, sl_dns_answer(d));
}

/* A message: an event with the name that was asked, or of the server. Not static: verified once. */
__noinline int sl_record_question(const struct sl_flow *f, const struct sl_subject *s,
				  const struct sl_answer *a, struct sl_dns *d, const sl_origin *o)
{
	__u8 verdict;
	struct sl_named_event *e;
	struct sl_pattern_key *key;
	struct sl_stats *stats;
	__u32 slot;

	if (!f || !s || !a || !d)
		return 0;
	slot = s->slot;
	verdict = !a->deny ? SL_EV_ALLOW : a->flags & SL_F_AUDIT ? SL_EV_AUDIT_DENY : SL_EV_DENY;
	stats = bpf_map_lookup_elem(&sl_stats, &slot);
	if (!stats || !sl_count(stats, s, a, verdict))
		return 0;
	e = sl_reserve_named(stats);
	if (!e)
		return 0;
	sl_event_fill(&e->event, f, s, a, verdict);
	sl_event_origin(&e->event, o);
	if (a->reason == SL_REASON_SNI_NAME)
		e->event.flags |= SL_EVENT_SERVER;
	e->type = d->state == SL_DNS_READ ? d->type : 0;
	e->characters = d->state == SL_DNS_READ ? d->characters : 0;
	e->reserved = 0;
	key = sl_dns_key(d);
	__builtin_memcpy(e->name, key->data, sizeof(e->name));
	sl_submit(stats, e);
	return 0;
}

/* A message, and if its question is allowed and that is logged, its event. (Of a segment
 * that another question denies, those before it have theirs all the same.) */
static __always_inline int sl_judge_logged(struct __sk_buff *skb, struct sl_packet *p,
					   struct sl_dns *d, __u32 at, __u32 length, bool inbound)
{
	int reason;

	if (inbound)
		return sl_judge_inbound(skb, p, d, at, length);
	reason = sl_judge_outbound(skb, p, d, at, length);
	if (reason == SL_DNS_IS_ASKED)
		reason = sl_judge_question(p, d);
	if (reason == SL_PARSED && (p->answer.flags & SL_F_LOG_ALL))
		sl_record_question(&p->flow, &p->subject, &p->answer, d,
				   sl_packet_origin_of(p, sl_packet_note(skb, 0)));
	return reason;
}

/*
 * Does a command's socket continue its own connection? Its kernel's TCP sends what follows, but
 * one in repair (TCP_REPAIR) takes over another's without a SYN, at a number of its choice: of a
 * question that goes back over the one before the resolver reads the rest alone. Not
 * static: verified once, and off the hook's stack.
 */
__noinline int sl_stream_is_its_own(struct __sk_buff *skb, const struct sl_packet *p)
{
	struct sl_socket *note;

	if (SL_ON_DEVICE || !p) /* stream.bpf.h */
		return SL_ON_DEVICE;
	if (!(p->flow.tcp_flags & SL_TCP_SYN)) {
		note = sl_packet_note(skb, 0);
		return note && (note->flags & SL_SOCK_BEGAN);
	}
	note = sl_packet_note(skb, BPF_SK_STORAGE_GET_F_CREATE);
	if (note && !(note->flags & SL_SOCK_BEGAN))
		note->flags |= SL_SOCK_BEGAN;
	return !!note;
}

/* The messages of a TCP segment, each behind its length. */
static __always_inline int sl_judge_messages(struct __sk_buff *skb, struct sl_packet *p,
					     struct sl_dns *d, bool inbound)
{
	__u32 at = p->flow.at, left;
	__u8 bytes[2];
	int i, reason;

	if (bpf_skb_load_bytes(skb, at + 12, bytes, 1))
		return SL_REASON_DNS_MALFORMED;
	at += (bytes[0] >> 4) * 4;
	if (!inbound && (at < p->flow.end || (p->flow.tcp_flags & SL_TCP_SYN)) &&
	    !sl_stream_is_its_own(skb, p))
		return SL_REASON_DNS_MALFORMED;
	for (i = 0; i < SL_DNS_MESSAGES && at < p->flow.end; i++) {
		if (bpf_skb_load_bytes(skb, at, bytes, sizeof(bytes)))
			return SL_REASON_DNS_MALFORMED;
		left = (__u32)bytes[0] << 8 | bytes[1];
		at += sizeof(bytes);
		if (at + left > p->flow.end)
			return SL_REASON_DNS_MALFORMED;
		reason = sl_judge_logged(skb, p, d, at, left, inbound);
		if (reason != SL_PARSED)
			return reason;
		at += left;
	}
	return at < p->flow.end ? SL_REASON_DNS_MALFORMED : SL_PARSED;
}

/* A receiver takes an urgent byte out of the stream, and a raw socket's stream is anything. */
static __always_inline int sl_judge_segment(struct __sk_buff *skb, struct sl_packet *p,
					    struct sl_dns *d, bool inbound)
{
	int reason;

	if (!inbound && ((p->flow.tcp_flags & SL_TCP_URG) || p->flow.raw ||
			 !sl_payload_stays(skb, &p->flow, p->flow.end)))
		return SL_REASON_DNS_MALFORMED;
#if SL_ON_DEVICE
	reason = sl_stream_follows(skb, p, d);
	if (reason != SL_STREAM_NEXT)
		return reason;
	reason = sl_judge_messages(skb, p, d, inbound);
	if (inbound)
		return reason;
	if (reason == SL_PARSED)
		sl_stream_judged(skb, p, d, true);
	else if (!(sl_generation_flags(p->subject.word) & SL_F_AUDIT))
		sl_stream_judged(skb, p, d, false);
	return reason;
#else
	reason = sl_judge_messages(skb, p, d, inbound);
	return reason;
#endif
}

static __always_inline int sl_judge_datagram(struct __sk_buff *skb, struct sl_packet *p,
					     struct sl_dns *d, bool inbound)
{
	if (p->flow.fragment)
		return SL_REASON_FRAGMENT;
	if (skb->gso_size) /* the second segment would not be looked at */
		return inbound ? SL_REASON_DNS_ANSWER : SL_REASON_DNS_MALFORMED;
	if (sl_udp_end(skb, &p->flow) != p->flow.end) /* bytes that nobody would read */
		return inbound ? SL_REASON_DNS_ANSWER : SL_REASON_DNS_MALFORMED;
	if (!inbound && !sl_payload_stays(skb, &p->flow, p->flow.end))
		return SL_REASON_DNS_MALFORMED;
	return sl_judge_logged(skb, p, d, p->flow.at + 8, p->flow.end - p->flow.at - 8, inbound);
}

/* A retransmission is the same attempt. (The note on a command's socket does not tell one
 * question of a connection from the next.) */
static __always_inline bool sl_is_dns_again(struct __sk_buff *skb, struct sl_packet *p)
{
#if SL_ON_DEVICE
	return p->flow.protocol == IPPROTO_TCP && sl_is_retransmission(skb, &p->flow, &p->subject);
#else
	return false;
#endif
}

enum { SL_TO_RESOLVER, SL_TO_FORWARDER, SL_TO_ANOTHER };

#if !SL_ON_DEVICE
/*
 * dns: {mode: forward}: would the packet reach a socket of the forwarder's? Questions are
 * judged there, so nobody else may get them, whoever takes its place when it has died. That
 * nobody is there the kernel itself tells the sender. Not static: verified once.
 */
__noinline int sl_dns_goes_to(struct __sk_buff *skb, const struct sl_flow *f, __u64 word)
{
	struct bpf_sock_tuple t = {};
	struct sl_socket *note;
	struct bpf_sock *sk;
	bool ours;

	if (!SL_MAY(SL_LACKS_FORWARDER) || !(sl_generation_flags(word) & SL_F_FORWARD))
		return SL_TO_RESOLVER;
	if (!f || (!f->inbound && (!f->local || f->family != 4)))
		return SL_TO_ANOTHER;
	if (f->inbound) /* no message of the command's */
		return SL_TO_FORWARDER;
	t.ipv4.saddr = bpf_htonl((__u32)f->source_low);
	t.ipv4.daddr = bpf_htonl((__u32)f->destination_low);
	t.ipv4.sport = bpf_htons(f->source_port);
	t.ipv4.dport = bpf_htons(f->destination_port);
	if (f->protocol == IPPROTO_TCP)
		sk = bpf_sk_lookup_tcp(skb, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_sk_lookup_udp(skb, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return SL_TO_FORWARDER;
	note = bpf_sk_storage_get(&sl_sockets, sk, 0, 0);
	ours = note && (note->flags & SL_SOCK_FORWARDER);
	bpf_sk_release(sk);
	return ours ? SL_TO_FORWARDER : SL_TO_ANOTHER;
}
#endif

/* Notes of a flow over loopback that the target speaks as its resolver. */
static __always_inline void sl_note_resolver(const struct sl_packet *p)
{
	struct sl_flow_entry *e;

	if (SL_ON_DEVICE || !p->flow.local || !p->flow.has_ports ||
	    p->flow.source_port != SL_DNS_PORT)
		return;
	e = sl_flow_at(p->subject.slot, (int)p->flow.carrier - 1);
	if (e && !(e->flags & SL_FLOW_ITSELF))
		__sync_fetch_and_or(&e->flags, SL_FLOW_ITSELF);
}

/* A message that the flow lets pass: the verdict. The denial of a question is an
 * event with its name. inbound is a constant of the program, p->flow.inbound nothing that
 * the verifier knows: it need not walk what the other direction would do. */
static __always_inline int sl_judge_dns(struct __sk_buff *skb, struct sl_packet *p, bool inbound)
{
	int reason = SL_REASON_DNS_PENDING, to = SL_TO_RESOLVER;
	struct sl_dns *d = NULL;
	bool audit;

	if (!inbound)
		sl_note_resolver(p);
	if (!sl_is_dns(p) || p->answer.deny) /* audit: reported already */
		return SL_PASS;
#if !SL_ON_DEVICE
	to = sl_dns_goes_to(skb, &p->flow, p->subject.word);
#endif
	if (to == SL_TO_FORWARDER)
		return SL_PASS;
	if (to == SL_TO_RESOLVER)
		d = sl_scratch_take();
	else
		reason = SL_REASON_DNS_FORWARDER;
	if (!d)
		return sl_deny_shape(skb, p, reason);
	reason = p->flow.protocol == IPPROTO_UDP ? sl_judge_datagram(skb, p, d, inbound)
						 : sl_judge_segment(skb, p, d, inbound);
	if (reason == SL_PARSED) {
		sl_scratch_give(d);
		return SL_PASS;
	}
#if SL_ON_DEVICE
	if (reason == SL_STREAM_OLD) {
		sl_scratch_give(d);
		p->answer.flags = sl_generation_flags(p->subject.word) | SL_F_DROP;
		return p->answer.flags & SL_F_AUDIT ? SL_PASS : sl_refuse_packet(p);
	}
#endif
	if (p->answer.rule == SL_NONE)
		p->answer.flags = sl_generation_flags(p->subject.word);
	p->answer.deny = 1;
	p->answer.reason = reason;
	audit = p->answer.flags & SL_F_AUDIT;
	if (!sl_is_dns_again(skb, p))
		sl_record_question(&p->flow, &p->subject, &p->answer, d,
				   sl_packet_origin_of(p, sl_packet_note(skb, 0)));
	sl_scratch_give(d);
	return audit ? SL_PASS : sl_refuse_packet(p);
}

#endif
