/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Packets: the hooks that decide, of a cgroup and of a device. Whoever includes
 * this defines SL_ON_DEVICE: 0 or 1.
 */
#ifndef SLUICE_PACKET_HOOK_BPF_H
#define SLUICE_PACKET_HOOK_BPF_H

#include "packet_deny.bpf.h"
#if !SL_ON_DEVICE
#include "answered.bpf.h"
#endif

/* A TCP packet that opens a flow: the first of a connection, or one of a
 * connection that was there before Sluice (its other side must then be allowed
 * too). A lone SYN+ACK or RST continues nothing. */
static __always_inline bool sl_opens(const struct sl_flow *f)
{
	__u8 kind = f->tcp_flags & (SL_TCP_SYN | SL_TCP_ACK | SL_TCP_RST);

	if (!SL_ON_DEVICE || f->protocol != IPPROTO_TCP)
		return true;
	return (kind & ~SL_TCP_RST) == SL_TCP_SYN || kind == SL_TCP_ACK;
}

static __always_inline void sl_show_ends(struct sl_flow *f, __u64 source_high, __u64 source_low,
					 __u16 source_port, __u64 destination_high,
					 __u64 destination_low, __u16 destination_port)
{
	f->source_high = source_high;
	f->source_low = source_low;
	f->source_port = source_port;
	f->destination_high = destination_high;
	f->destination_low = destination_low;
	f->destination_port = destination_port;
}

/* A flow's opener as a flow, to judge it again under a new generation. */
static __always_inline void sl_opener(const struct sl_flow_entry *e, struct sl_packet *p)
{
	struct sl_flow *f = &p->flow;

	if (e->flags & SL_FLOW_FROM_A) {
		sl_show_ends(f, e->key.a_high, e->key.a_low, e->key.a_port, e->key.b_high,
			     e->key.b_low, e->key.b_port);
		/* a way of its own: a choice of each word takes a place on the stack (6.1) */
		asm volatile("" ::: "memory");
	} else {
		sl_show_ends(f, e->key.b_high, e->key.b_low, e->key.b_port, e->key.a_high,
			     e->key.a_low, e->key.a_port);
	}
	f->key = e->open_key;
	f->inbound = !!(e->flags & SL_FLOW_INBOUND);
	f->judged_again = sl_is_opener(e, f) ? SL_AGAIN_OPENER : SL_AGAIN_OTHER;
	f->name = e->name;
	p->subject.uid = e->uid;
	p->subject.has_uid = !!(e->flags & SL_FLOW_HAS_UID);
}

/* The packet itself again, where a flow was judged again. */
static __always_inline void sl_show_packet(struct sl_flow *f)
{
	__u64 high = f->source_high, low = f->source_low;
	__u16 port = f->source_port;
	bool turned = f->judged_again == SL_AGAIN_OTHER;

	f->inbound = f->hook == SL_HOOK_TC_EGRESS || f->hook == SL_HOOK_CGROUP_INGRESS;
	f->judged_again = 0;
	if (!turned)
		return;
	f->source_high = f->destination_high;
	f->source_low = f->destination_low;
	f->source_port = f->destination_port;
	f->destination_high = high;
	f->destination_low = low;
	f->destination_port = port;
}

static __always_inline bool sl_is_current(const struct sl_flow_entry *e, __u64 word)
{
	return (e->word & ~SL_WORD_DENIED) == word &&
	       (!e->deadline_ns || bpf_ktime_get_boot_ns() < e->deadline_ns);
}

/* A new flow that passes (allowed, or denied in audit mode): its entry. False:
 * no room, and the answer is now a denial. Not static: verified once. */
__noinline int sl_admit(struct __sk_buff *skb, struct sl_packet *p, __u64 now)
{
	int opened;

	if (!p)
		return false;
	if (SL_MAY(SL_LACKS_FLOW_LIMIT) && !p->answer.deny && !p->flow.inbound &&
	    (p->answer.flags & SL_F_LIMIT_FLOWS) && !sl_may_open_flow(&p->subject, false)) {
		sl_deny_because(p, SL_REASON_CONNECTION_LIMIT);
		return false;
	}
	opened = sl_flow_open(&p->flow, &p->subject, &p->answer, now, skb->len);
	if (opened == SL_NO_ROOM && !p->answer.deny) {
		sl_deny_because(p, SL_REASON_FLOW_TABLE);
		return false;
	}
	if (opened == SL_OPENED && !p->answer.deny &&
	    sl_record(&p->flow, &p->subject, &p->answer,
		      sl_packet_origin_of(p, p->answer.flags & SL_F_LOG_ALL ?
					     sl_packet_note(skb, 0) : NULL), SL_EV_ALLOW))
		sl_flow_logged(p->subject.slot, (int)p->flow.carrier - 1);
	return true;
}

/* The place of the flow that an ICMP error quotes a packet of, or SL_NO_PLACE.
 * Not static: its frame does not add to the hook's. */
__noinline int sl_find_quoted(struct __sk_buff *skb, const struct sl_flow *error, __u32 slot,
			      __u64 now)
{
	struct sl_flow quoted = {};

	if (!error || error->extended)
		return SL_NO_PLACE;
	quoted.netns = error->netns;
	quoted.inbound = !error->inbound;
	quoted.local = error->local;
	quoted.end = error->end;
	if (sl_parse_ip(skb, error->at + 8, &quoted, SL_PARSE_QUOTE) != SL_PARSED ||
	    quoted.extended || quoted.icmp_query == SL_ICMP_ERROR ||
	    quoted.source_high != error->destination_high ||
	    quoted.source_low != error->destination_low)
		return SL_NO_PLACE;
	return sl_flow_find(&quoted, slot, now);
}

/* An ICMP error passes if the packet that it quotes is of a flow of ours, and went
 * the other way. Out of a cgroup no socket sends one but a raw one. */
static __always_inline bool sl_error_is_ours(struct __sk_buff *skb, struct sl_packet *p, __u64 now)
{
	int place = sl_find_quoted(skb, &p->flow, p->subject.slot, now);
	struct sl_flow_entry *e = sl_flow_at(p->subject.slot, place);

	if (!e || e->word != p->subject.word)
		return false;
	sl_carry(e, &p->flow, skb->len);
	p->flow.carrier = place + 1;
	return true;
}

static __always_inline bool sl_is_error(const struct sl_flow *f)
{
	return f->icmp_query == SL_ICMP_ERROR && (SL_ON_DEVICE || f->inbound);
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
	if (!SL_MAY(SL_LACKS_UIDS) || p->flow.inbound || !(e->flags & SL_FLOW_HAS_UID) || !sl_is_opener(e, &p->flow))
		return false;
	sl_subject_stamp(&p->subject, sl_packet_note(skb, 0));
	return !p->subject.has_uid || p->subject.uid != e->uid;
}

/* A packet of a known flow passes; the name that admitted it is needed as long. */
static __always_inline void sl_flow_pass(struct sl_packet *p, struct sl_flow_entry *e, int place,
					 __u64 now, __u32 bytes)
{
	sl_flow_touch(e, &p->flow, now);
	sl_carry(e, &p->flow, bytes);
	p->flow.carrier = place + 1;
#if SL_NAMES
	if (e->name)
		sl_name_keep(p->subject.slot, e->name, e->expires_ns);
#endif
}

#if SL_ON_DEVICE
/* Where the host's routes say who has which address: is the source one of the workload's?
 * routed.bpf.h. */
int sl_source_is_routed(struct __sk_buff *skb, const struct sl_packet *p);
#endif

/* The verdict: of the static rules, of what the target has learned, and of the way back. */
static __always_inline void sl_decide(struct __sk_buff *skb, struct sl_packet *p)
{
#if !SL_ON_DEVICE
	sl_judge_source(skb, p);
#endif
	sl_verdict(&p->flow, &p->subject, &p->answer);
#if SL_NAMES
	if (p->answer.flags & SL_F_NAMES)
		sl_names_verdict(&p->flow, &p->subject, &p->answer);
#endif
#if SL_ON_DEVICE
	if (!p->answer.deny && !p->flow.inbound && !sl_source_is_routed(skb, p))
		sl_deny_because(p, SL_REASON_ADDRESS_BINDING);
#else
	if (p->flow.forged && !p->answer.deny)
		sl_deny_because(p, SL_REASON_ADDRESS_BINDING);
#endif
}

/* A flow that we know, and that the generation in force has judged. */
static __always_inline int sl_pass_known(struct __sk_buff *skb, struct sl_packet *p,
					 struct sl_flow_entry *e, int place, __u64 now)
{
	if (e->word & SL_WORD_DENIED) {	/* reported when it was cut */
		p->answer.flags = sl_generation_flags(p->subject.word);
		return sl_refuse_packet(p);
	}
	/* what it carries is no attempt of its own */
	p->answer.deny = e->flags / SL_FLOW_AUDITED & 1;
	if (sl_is_opener(e, &p->flow))
		sl_note_server(skb, &p->flow);
	sl_flow_pass(p, e, place, now, skb->len);
	p->flow.watched = (place + 1) * (e->flags / SL_FLOW_SNI & 1);
	return SL_PASS;
}

#if SL_NAMES
/* May a connection begin with this packet, if its rule wants to see a server's name? One
 * that was there before, or whose SYN has data (RFC 7413) or offers MPTCP, cannot be followed.
 * Notes where its data begins. */
static __always_inline bool sl_sni_begins(struct __sk_buff *skb, struct sl_packet *p)
{
	struct sl_segment s;

	if (p->flow.protocol != IPPROTO_TCP)
		return true;
	if ((p->flow.tcp_flags & (SL_TCP_SYN | SL_TCP_ACK)) != SL_TCP_SYN ||
	    p->flow.fragment != SL_FRAGMENT_NONE || !sl_segment_read(skb, &p->flow, 0, &s) ||
	    s.bytes || ((SL_ON_DEVICE || p->flow.raw) && sl_offers_multipath(skb, &p->flow)))
		return false;
	p->flow.isn = s.offset + 1;
	return true;
}

/* A new flow whose rule wants to see a server's name: denied, if that cannot be. Not
 * static: its frame does not add to the hook's. */
__noinline int sl_sni_admit(struct __sk_buff *skb, struct sl_packet *p)
{
	if (!p || sl_sni_begins(skb, p))
		return 0;
	if (p->answer.sni & SL_D_SNI_VERIFY) {
		p->answer.deny = 1;
		p->answer.reason = SL_REASON_SNI_SPLIT;
	}
	p->answer.sni = 0;
	return 0;
}
#endif

/* A packet of no flow that we know: the policy's answer, and its entry. */
static __always_inline int sl_judge_new(struct __sk_buff *skb, struct sl_packet *p, __u64 now)
{
	sl_subject_stamp(&p->subject, sl_packet_note(skb, 0));
	sl_decide(skb, p);
	if (sl_is_stray_copy(p))
		return SL_REFUSE;
	if (!p->answer.deny && !sl_opens(&p->flow))
		return sl_deny_shape(skb, p, SL_REASON_TCP_FLAGS);
#if SL_NAMES
	if (SL_MAY(SL_LACKS_SNI) && p->answer.sni && !p->answer.deny)
		sl_sni_admit(skb, p);
#endif
	if (p->answer.deny || !sl_admit(skb, p, now)) {
		if (sl_deny_packet(skb, p) != SL_PASS || !SL_MAY(SL_LACKS_AUDIT))
			return sl_refuse_packet(p);
		if (sl_opens(&p->flow))
			sl_admit(skb, p, now);	/* audit: one event for the flow */
	}
	p->flow.watched = 0;
	sl_note_server(skb, &p->flow);
	return SL_PASS;
}

/* A flow that an older generation judged, or whose rule has expired. */
static __always_inline int sl_judge_again(struct __sk_buff *skb, struct sl_packet *p,
					  struct sl_flow_entry *e, int place, __u64 now)
{
	bool refused;

	sl_opener(e, p);
	sl_decide(skb, p);
	sl_flow_judged(place, &p->flow, &p->subject, &p->answer);
	refused = p->answer.deny && sl_deny_packet(skb, p) != SL_PASS;
	if (!refused) {
		sl_flow_pass(p, e, place, now, skb->len);
		p->flow.watched = (place + 1) * (e->flags / SL_FLOW_SNI & 1);
	}
	sl_show_packet(&p->flow);
	return refused ? sl_refuse_packet(p) : SL_PASS;
}

/*
 * The verdict on a packet that is parsed. The order: an error about a flow of ours;
 * a flow that we know and that this generation judged; else the policy.
 */
static __always_inline int sl_judge_flow(struct __sk_buff *skb, struct sl_packet *p)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	struct sl_flow_entry *e = NULL;
	int place = SL_NO_PLACE;

	if (sl_is_error(&p->flow)) {
		if (sl_error_is_ours(skb, p, now))
			return SL_PASS;
	} else {
		place = sl_flow_find(&p->flow, p->subject.slot, now);
		e = sl_flow_at(p->subject.slot, place);
		if (e && sl_is_anothers(skb, p, e))
			e = NULL;
	}
	if (!e)
		return sl_judge_new(skb, p, now);
	if (sl_is_current(e, p->subject.word))
		return sl_pass_known(skb, p, e, place, now);
	if (SL_MAY(SL_LACKS_CHANGE))
		return sl_judge_again(skb, p, e, place, now);
	return sl_deny_shape(skb, p, SL_REASON_NO_POLICY); /* there is no other generation */
}

#if SL_NAMES
/* Is it DNS, and does the policy look at it? */
static __always_inline bool sl_is_dns(const struct sl_packet *p)
{
	const struct sl_flow *f = &p->flow;
	__u16 port = f->inbound ? f->source_port : f->destination_port;

	return f->has_ports && port == SL_DNS_PORT &&
	       (f->protocol == IPPROTO_UDP || f->protocol == IPPROTO_TCP) &&
	       (sl_generation_flags(p->subject.word) & SL_F_NAMES);
}
#endif

/* Parses; a fragment again, if the policy takes them. */
static __always_inline int sl_parse_packet(struct __sk_buff *skb, struct sl_packet *p, __u32 at)
{
	int reason = sl_parse_ip(skb, at, &p->flow, SL_PARSE_PACKET);

	if (!SL_MAY(SL_LACKS_FRAGMENTS) || reason != SL_REASON_FRAGMENT ||
	    !(sl_generation_flags(p->subject.word) & SL_F_FRAGMENTS))
		return reason;
	p->flow.take_fragments = 1;
	p->flow.extended = 0;
	return sl_parse_ip(skb, at, &p->flow, SL_PARSE_PACKET);
}

/* A first fragment decides for those behind it; see fragment.bpf.h. */
static __always_inline int sl_judge_fragments(struct __sk_buff *skb, struct sl_packet *p)
{
	int verdict;

	if (!SL_MAY(SL_LACKS_FRAGMENTS))
		return sl_judge_flow(skb, p);
#if SL_NAMES
	if (p->flow.fragment == SL_FRAGMENT_FIRST && sl_is_dns(p))
		return sl_deny_shape(skb, p, SL_REASON_FRAGMENT); /* its question cannot be read */
#endif
	if (p->flow.fragment == SL_FRAGMENT_LATER)
		return sl_fragment_follows(&p->flow, &p->subject, skb->len) ?
			       SL_PASS : sl_deny_shape(skb, p, SL_REASON_FRAGMENT);
	verdict = sl_judge_flow(skb, p);
	if (verdict == SL_PASS && p->flow.fragment == SL_FRAGMENT_FIRST)
		sl_fragment_passed(&p->flow, &p->subject, &p->answer);
	return verdict;
}

/* What passes takes its share of the bandwidth. */
static __always_inline int sl_shape(struct __sk_buff *skb, struct sl_packet *p, bool inbound)
{
	__u32 bytes = skb->len, head = p->flow.at + 32, size = skb->gso_size;

	if (!SL_MAY(SL_LACKS_BANDWIDTH) || !(p->subject.word & SL_WORD_SHAPED))
		return SL_PASS;
	if (size && bytes > head)	/* the headers of the other segments */
		bytes += (bytes - head - 1) / size * head;
	if (sl_has_bandwidth(&p->subject, inbound, bytes))
		return SL_PASS;
	p->answer.quiet = 1;
	if (sl_deny_shape(skb, p, SL_REASON_BANDWIDTH) == SL_PASS)
		return SL_PASS;
	/* congestion, no error: TCP slows down, and a caller need not know */
	return p->flow.hook == SL_HOOK_CGROUP_EGRESS ? SL_DROP_SILENTLY : SL_REFUSE;
}

#endif
