/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The table of flows: a flow's key, hash and buckets, and how it is found.
 *
 * Reading takes no lock: `sequence` is odd while an entry is written, and a
 * reader that sees it change takes the flow for unknown; sl_flow_open (state.bpf.h) then
 * looks again under the slot's lock. The searches have no branches (see
 * sl_less): what a bucket holds must not multiply the verifier's paths.
 */
#ifndef SLUICE_FLOW_TABLE_BPF_H
#define SLUICE_FLOW_TABLE_BPF_H

#include <linux/in.h>

#include "carried.bpf.h"
#include "flow.bpf.h"
#include "maps.bpf.h"
#include "packet.bpf.h"
#include "verdict.bpf.h"
#include "sluice_sweep.h"

#define SL_NO_PLACE (-1)
#define SL_PLACE_CLASS 0x1000	/* in a key's icmp_class: the place is no flow's */
#define SL_FIRST_LIFE (120 * SL_SECOND)
#define SL_CLOSED_LIFE (60 * SL_SECOND)
#define SL_PLACE_LIFE (10 * SL_SECOND)	/* of fragments and questions */

/* Idle time-outs: TCP and SCTP as long as conntrack's (RFC 5382 asks for 2 h
 * 4 min at least), UDP by RFC 4787. */
static __always_inline __u64 sl_flow_timeout(__u8 protocol, __u32 flags)
{
	bool replied = flags & SL_FLOW_REPLIED;

	if (flags & SL_FLOW_CLOSED)
		return SL_CLOSED_LIFE;
	if (protocol == IPPROTO_TCP || protocol == IPPROTO_SCTP) {
		return replied ? 5 * 86400 * SL_SECOND : 120 * SL_SECOND;
	}
	return replied ? 180 * SL_SECOND : 60 * SL_SECOND;
}

/* The orientation-free key: the endpoints change places if the source is the
 * greater. Sets f->from_a. */
static __always_inline void sl_flow_key_of(struct sl_flow *f, struct sl_flow_key *k)
{
	__u64 sh = f->source_high, sl = f->source_low, sp = f->source_port;
	__u64 dh = f->destination_high, dl = f->destination_low, dp = f->destination_port;
	__u64 swap;

	if ((f->protocol == IPPROTO_ICMP || f->protocol == SL_PROTO_ICMPV6) &&
	    !f->place)
		sp = dp = f->icmp_class != SL_ICMP_NO_CLASS ? f->icmp_id : f->key;
	if (__builtin_constant_p(f->family) && f->family == 4)	/* a third of the instructions */
		swap = sl_less63(dl << 16 | dp, sl << 16 | sp);
	else
		swap = sl_borrow(dh, sh, sl_borrow(dl, sl, sl_less63(dp, sp)));
	k->a_high = sh ^ (sh ^ dh) * swap;
	k->b_high = dh ^ (sh ^ dh) * swap;
	k->a_low = sl ^ (sl ^ dl) * swap;
	k->b_low = dl ^ (sl ^ dl) * swap;
	k->a_port = sp ^ (sp ^ dp) * swap;
	k->b_port = dp ^ (sp ^ dp) * swap;
	k->family = f->family;
	k->protocol = f->protocol;
	k->icmp_class = f->icmp_class | f->place * SL_PLACE_CLASS;
	k->netns = f->netns;
	f->from_a = swap ^ 1;
}

/* Zero if the keys are equal. */
static __always_inline __u64 sl_flow_key_differs(const struct sl_flow_key *x,
						 const struct sl_flow_key *y)
{
	const __u64 *a = (const __u64 *)x, *b = (const __u64 *)y;

	return (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4]) |
	       (a[5] ^ b[5]);
}

/* Between two words stands a product with a secret: who chooses the words cannot choose
 * two keys of one hash. */
static __always_inline __u64 sl_flow_mix(__u64 h, __u64 word, __u64 secret)
{
	h = (h ^ word) * secret;
	return h ^ h >> 32;
}

/* Of IPv4's addresses both are one word, and the upper halves say nothing. */
static __always_inline __u64 sl_flow_hash(const struct sl_flow_key *k)
{
	__u64 seed = sl_seed, one = 0xff51afd7ed558ccdull ^ seed << 1;
	__u64 two = 0xc4ceb9fe1a85ec53ull ^ seed << 2, h = seed;
	const __u64 *w = (const __u64 *)k;

	if (k->family == 4) {
		h = sl_flow_mix(h, w[1] << 32 | (__u32)w[3], two);
	} else {
		h = sl_flow_mix(h, w[0], one);
		h = sl_flow_mix(h, w[1], two);
		h = sl_flow_mix(h, w[2], one);
		h = sl_flow_mix(h, w[3], two);
	}
	h = sl_flow_mix(h, w[4], one);
	h = sl_flow_mix(h, w[5], two);
	return h | 1;
}

/* The two buckets of a flow in its slot's map; they differ. */
static __always_inline __u32 sl_bucket_index(const struct sl_target *t, __u64 hash, bool second)
{
	__u32 mask = t->buckets - 1, first = hash >> 8 & mask;
	__u32 step = hash >> 40 & mask;

	return second ? (first ^ (step | 1)) & mask : first;
}

static __always_inline struct sl_flow_bucket *sl_bucket_at(__u32 slot, __u32 at)
{
	void *map = bpf_map_lookup_elem(&sl_flows, &slot);

	return map ? bpf_map_lookup_elem(map, &at) : NULL;
}

/* The way of a tag in a bucket, or one that does not match; no branches. The lowest bit of a
 * tag says nothing, and without it a comparison with zero is half as long. */
static __always_inline __u32 sl_bucket_way(const struct sl_flow_bucket *b, __u64 tag)
{
	__u64 way = 0, found = 0;
	int i;

#pragma unroll
	for (i = SL_FLOW_WAYS - 1; i > 0; i--) {
		found += sl_less63((b->tags[i] ^ tag) >> 1, 1);
		way += found;	/* once for each place before the one that matches */
	}
	barrier_var(way);
	return way & (SL_FLOW_WAYS - 1);
}

/* The way that a flow has wherever it is free: a place that is known before the bucket is read, so
 * the entry's lines come along with the bucket's. */
static __always_inline __u32 sl_bucket_first_way(__u64 tag)
{
	return tag >> 61 & (SL_FLOW_WAYS - 1);
}

static __always_inline struct sl_flow_entry *sl_bucket_entry(struct sl_flow_bucket *b, __u32 way)
{
	barrier_var(way);
	return &b->entries[way & (SL_FLOW_WAYS - 1)];
}

/* Does another flow, or none, have the place? Its entry's lines, which a new flow's first packet
 * would have to wait for, are left alone then. */
static __always_inline bool sl_is_not_tagged(const struct sl_flow_bucket *b, __u32 way, __u64 tag)
{
	barrier_var(way);
	return (b->tags[way & (SL_FLOW_WAYS - 1)] ^ tag) >> 1;
}

/* The flow's entry in a bucket, and its sequence; NULL: it is not there. */
static __always_inline struct sl_flow_entry *sl_bucket_match(struct sl_flow_bucket *b, __u64 tag,
							     const struct sl_flow_key *k,
							     __u32 *way, __u32 *sequence)
{
	struct sl_flow_entry *e;

	*way = sl_bucket_first_way(tag);
	if (sl_is_not_tagged(b, *way, tag))
		*way = sl_bucket_way(b, tag);
	if (sl_is_not_tagged(b, *way, tag))
		return NULL;
	e = sl_bucket_entry(b, *way);
	barrier_var(e);		/* bounds and all: no sum of it is to be put off */
	*sequence = READ_ONCE(e->sequence);
	asm volatile("" ::: "memory");
	return *sequence & 1 || sl_flow_key_differs(&e->key, k) ? NULL : e;
}

/*
 * May this packet speak for the flow?
 *  - Its opener speaks where the flow was opened, the other side elsewhere: out
 *    of an outbound flow only its opener, into it only its answers. Two
 *    processes of one target meet on the loopback device, where both ends pass
 *    both hooks; not if the opener was a raw socket, whose source may be forged.
 *  - What the namespace itself sent in is answered on the loopback device alone. Its source may
 *    be anybody's (IPV6_FREEBIND wants no privilege); what goes to one of the namespace's
 *    own addresses goes there, and nothing that leaves does.
 *  - A query comes only from its opener, with the type and code that were
 *    judged, and an answer goes only to it (where both ends are one, neither
 *    can be told).
 *  - A SYN is its opener's, and after the end it is a new connection.
 */
static __always_inline bool sl_speaks_for(const struct sl_flow_entry *e, const struct sl_flow *f)
{
	__u32 flags = e->flags;
	bool opener = !!(flags & SL_FLOW_FROM_A) == f->from_a;
	bool opened_here = !!(flags & SL_FLOW_INBOUND) == f->inbound;
	bool self = e->key.a_high == e->key.b_high && e->key.a_low == e->key.b_low &&
		    e->key.a_port == e->key.b_port;

	if (opener != opened_here && !self &&
	    (!(f->local & SL_LOCAL_DEVICE) || (flags & SL_FLOW_RAW)))
		return false;
	if (flags / SL_FLOW_LOCAL & sl_is_zero(f->local))
		return false;
	if (f->icmp_query == SL_ICMP_QUERY)
		return (opener || self) && f->key == e->open_key;
	if (f->icmp_query == SL_ICMP_ANSWER)
		return !opener || self;
	if ((f->tcp_flags & (SL_TCP_SYN | SL_TCP_ACK)) == SL_TCP_SYN)
		return (opener || self) && !(flags & SL_FLOW_CLOSED);
	return true;
}

static __always_inline bool sl_is_opener(const struct sl_flow_entry *e, const struct sl_flow *f)
{
	return !!(e->flags & SL_FLOW_FROM_A) == f->from_a;
}

/*
 * The flow's entry, alive or not, or NULL. Sets f->from_a, f->entry_sequence, and *place: bucket
 * times SL_FLOW_WAYS plus way. What is then read of it holds if its sequence still is the same.
 */
static __always_inline struct sl_flow_entry *sl_flow_match(struct sl_flow *f, __u32 slot, int *place)
{
	struct sl_target *t = bpf_map_lookup_elem(&sl_targets, &slot);
	struct sl_flow_entry *e = NULL;
	struct sl_flow_bucket *bucket;
	struct sl_flow_key k = {};
	__u32 at, other, way, i;
	__u64 tag;

	if (!t)
		return NULL;
	sl_flow_key_of(f, &k);
	tag = sl_flow_hash(&k);
	at = sl_bucket_index(t, tag, false);
	other = at ^ sl_bucket_index(t, tag, true);
#pragma clang loop unroll(disable)
	for (i = 0; i < 2 && !e; i++, at ^= other) {
		bucket = sl_bucket_at(slot, at);
		if (!bucket)
			return NULL;
		e = sl_bucket_match(bucket, tag, &k, &way, &f->entry_sequence);
	}
	if (!e)
		return NULL;
	at ^= other;
	*place = at * SL_FLOW_WAYS + (way & (SL_FLOW_WAYS - 1));
	return e;
}

static __always_inline bool sl_entry_still_is(const struct sl_flow_entry *e, const struct sl_flow *f)
{
	asm volatile("" ::: "memory");
	return READ_ONCE(e->sequence) == f->entry_sequence;
}

/* A live flow's entry that this packet may speak for, or NULL. Sets what sl_flow_match does. */
static __always_inline struct sl_flow_entry *sl_flow_seek(struct sl_flow *f, __u32 slot, __u64 now,
							  int *place)
{
	struct sl_flow_entry *e = sl_flow_match(f, slot, place);

	return e && e->expires_ns > now && sl_speaks_for(e, f) && sl_entry_still_is(e, f) ? e : NULL;
}

/* Its place, or SL_NO_PLACE. Not static: verified once. */
__noinline int sl_flow_find(struct sl_flow *f, __u32 slot, __u64 now)
{
	int place = SL_NO_PLACE;

	return f && sl_flow_seek(f, slot, now, &place) ? place : SL_NO_PLACE;
}

static __always_inline struct sl_flow_entry *sl_flow_at(__u32 slot, int place)
{
	__u32 at = (__u32)place / SL_FLOW_WAYS, way = (__u32)place % SL_FLOW_WAYS;
	struct sl_flow_bucket *bucket;

	if (place < 0)
		return NULL;
	bucket = sl_bucket_at(slot, at);
	return bucket ? sl_bucket_entry(bucket, way) : NULL;
}

#endif
