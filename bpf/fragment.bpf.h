/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is remembered of packets beyond their flows: first fragments that passed,
 * and denied TCP segments, whose retransmissions are the same attempt.
 */
#ifndef SLUICE_FRAGMENT_BPF_H
#define SLUICE_FRAGMENT_BPF_H

#include "state.bpf.h"

/*
 * A datagram's first fragment stands among the flows, in a place of its own: so it
 * is bounded, and the target's. With no room the later fragments are denied. Once
 * the last one has passed, the place may be taken (those that were overtaken still
 * find it until then).
 */
static __always_inline void sl_fragment_flow(struct sl_flow *f)
{
	f->place = SL_PLACE_FRAGMENT;
	f->icmp_class = f->inbound << 7;	/* each direction has its own */
	f->icmp_query = 0;
	f->tcp_flags = 0;
	f->source_port = f->fragment_id >> 16;
	f->destination_port = (__u16)f->fragment_id;
}

/* A first fragment has passed. *f is its place's afterwards, no packet's. Not static:
 * verified once. */
__noinline int sl_fragment_passed(struct sl_flow *f, const struct sl_subject *s,
				  const struct sl_answer *a)
{
	if (!f || !s || !a)
		return 0;
	f->key = (f->end - f->at) / 8;
	sl_fragment_flow(f);
	sl_flow_open(f, s, a, bpf_ktime_get_coarse_ns(), 0);
	return 0;
}

/* Does a later fragment follow a first one that passed, and begin behind it? */
static __always_inline bool sl_fragment_follows(struct sl_flow *f, const struct sl_subject *s,
						__u32 bytes)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	struct sl_flow_entry *e;
	int place;

	sl_fragment_flow(f);
	place = sl_flow_find(f, s->slot, now);
	e = sl_flow_at(s->slot, place);
	f->place = SL_PLACE_FLOW;
	if (!e || !sl_is_opener(e, f) || f->fragment_begin < (__u32)e->open_key * 8)
		return false;
	sl_carry(e, f, bytes);
	f->carrier = place + 1;
	if (!f->more)
		__sync_fetch_and_or(&e->flags, SL_FLOW_CLOSED);
	return true;
}

/* ---- denied TCP segments, of devices: a cgroup's socket carries its own note ---- */

#if SL_ON_DEVICE

#define SL_DENIALS 16384		/* a power of two */
#define SL_DENIAL_LIFE (64 * SL_SECOND)	/* longer than any retransmission's pause */

struct sl_denial {
	__u64 tag, at_ns;
};

/* Of all targets. A place is overwritten by whoever comes: then a retransmission is
 * reported once more. Nothing else depends on it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SL_DENIALS);
	__type(key, __u32);
	__type(value, struct sl_denial);
} sl_denials SEC(".maps");

/* Notes the denial of a TCP segment by a generation; true if it was noted before. Not static:
 * verified once. */
__noinline int sl_is_retransmission(struct __sk_buff *skb, struct sl_flow *f,
				    const struct sl_subject *s)
{
	__u64 now = bpf_ktime_get_coarse_ns(), tag, segment;
	struct sl_flow_key k = {};
	struct sl_denial *d;
	__u32 at, sequence;
	__u8 from_a;
	bool known;

	if (!f || !s || f->protocol != IPPROTO_TCP || !f->has_ports || f->fragment == SL_FRAGMENT_LATER ||
	    bpf_skb_load_bytes(skb, f->at + 4, &sequence, sizeof(sequence)))
		return 0;
	from_a = f->from_a;
	sl_flow_key_of(f, &k);
	if (f->judged_again)	/* the flow is shown as it was opened; this is the packet's */
		f->from_a = from_a;
	segment = (__u64)sequence << 32 | (__u64)f->tcp_flags << 24 |
		  (f->hook == SL_HOOK_TC_EGRESS) << 17 | f->from_a << 16 | s->slot;
	tag = (sl_flow_hash(&k) ^ segment * 0xc4ceb9fe1a85ec53ull) * 0xff51afd7ed558ccdull;
	tag ^= tag >> 32 ^ s->word * 0x9e3779b97f4a7c15ull;
	at = (tag >> 20) & (SL_DENIALS - 1);
	d = bpf_map_lookup_elem(&sl_denials, &at);
	if (!d)
		return 0;
	known = d->tag == tag && now - d->at_ns < SL_DENIAL_LIFE;
	d->tag = tag;
	d->at_ns = now;
	return known;
}

#else

static __always_inline bool sl_is_retransmission(struct __sk_buff *skb, struct sl_flow *f,
						 const struct sl_subject *s)
{
	return false;
}

#endif

#endif
