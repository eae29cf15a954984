/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Flow state: which flows this target's policy admitted, and in which
 * direction. Bounded: a flow has two buckets to be in, and only an entry that
 * is over (idle too long, or a closed TCP connection) may be overwritten. With
 * no room the new flow is denied; nothing alive is ever pushed out.
 *
 * Reading takes no lock: `sequence` is odd while an entry is written, and a
 * reader that sees it change goes to sl_flow_open, which looks again under the
 * slot's lock.
 */
#ifndef SLUICE_STATE_BPF_H
#define SLUICE_STATE_BPF_H

#include <linux/in.h>

#include "flow.bpf.h"
#include "maps.bpf.h"

#define SL_SECOND 1000000000ull

/* Idle time-outs. TCP as RFC 5382 wants at least (2 h 4 min), UDP RFC 4787. */
static __always_inline __u64 sl_flow_timeout(__u8 protocol, __u32 flags)
{
	if (protocol == IPPROTO_TCP) {
		if (flags & SL_FLOW_RESET)
			return 10 * SL_SECOND;
		if ((flags & (SL_FLOW_FIN_A | SL_FLOW_FIN_B)) == (SL_FLOW_FIN_A | SL_FLOW_FIN_B))
			return 60 * SL_SECOND;
		return flags & SL_FLOW_REPLIED ? 5 * 86400 * SL_SECOND : 120 * SL_SECOND;
	}
	if (protocol == IPPROTO_SCTP)
		return flags & SL_FLOW_REPLIED ? 5 * 86400 * SL_SECOND : 120 * SL_SECOND;
	if (protocol == IPPROTO_UDP)
		return flags & SL_FLOW_REPLIED ? 180 * SL_SECOND : 60 * SL_SECOND;
	return 60 * SL_SECOND;
}

static __always_inline bool sl_flow_alive(const struct sl_flow_entry *e, __u64 now)
{
	__u32 flags = e->flags;

	return (flags & SL_FLOW_USED) &&
	       now - e->seen_ns < sl_flow_timeout(e->key.protocol, flags);
}

/* Over as a connection: still answers stragglers, but gives its place away. */
static __always_inline bool sl_flow_closed(const struct sl_flow_entry *e)
{
	__u32 both = SL_FLOW_FIN_A | SL_FLOW_FIN_B;

	return (e->flags & SL_FLOW_RESET) || (e->flags & both) == both;
}

/* The orientation-free key. Returns true if endpoint a is the source. */
static __always_inline bool sl_flow_key_of(const struct sl_flow *f, struct sl_flow_key *k)
{
	__u16 source = f->source_port, destination = f->destination_port;
	bool from_a;

	if (f->protocol == IPPROTO_ICMP || f->protocol == 58)
		source = destination = f->icmp_query ? f->icmp_id : f->key;
	if (f->source_high != f->destination_high)
		from_a = f->source_high < f->destination_high;
	else if (f->source_low != f->destination_low)
		from_a = f->source_low < f->destination_low;
	else
		from_a = source <= destination;
	k->a_high = from_a ? f->source_high : f->destination_high;
	k->a_low = from_a ? f->source_low : f->destination_low;
	k->b_high = from_a ? f->destination_high : f->source_high;
	k->b_low = from_a ? f->destination_low : f->source_low;
	k->a_port = from_a ? source : destination;
	k->b_port = from_a ? destination : source;
	k->family = f->family;
	k->protocol = f->protocol;
	k->reserved = 0;
	return from_a;
}

/* Both endpoints are one: which side speaks cannot be told, nor matters. */
static __always_inline bool sl_flow_is_self(const struct sl_flow_key *k)
{
	return k->a_high == k->b_high && k->a_low == k->b_low && k->a_port == k->b_port;
}

static __always_inline bool sl_flow_key_equal(const struct sl_flow_key *x,
					      const struct sl_flow_key *y)
{
	const __u64 *a = (const __u64 *)x, *b = (const __u64 *)y;

	return a[4] == b[4] && a[1] == b[1] && a[3] == b[3] && a[0] == b[0] && a[2] == b[2];
}

static __always_inline __u64 sl_flow_hash(const struct sl_flow_key *k)
{
	const __u64 *w = (const __u64 *)k;
	__u64 h = w[0] ^ w[2] * 0x9e3779b97f4a7c15ull;

	h = (h ^ w[1]) * 0xff51afd7ed558ccdull;
	h = (h ^ h >> 32 ^ w[3]) * 0xc4ceb9fe1a85ec53ull;
	h = (h ^ h >> 29 ^ w[4]) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 32;
}

/* The two buckets of a flow within its slot's slice. */
static __always_inline struct sl_flow_bucket *
sl_flow_bucket(const struct sl_target *t, __u64 hash, bool second)
{
	__u32 at = second ? hash >> 32 : (__u32)hash;

	if (second && !((at ^ (__u32)hash) & (t->buckets - 1)))
		at++;
	at = t->first_bucket + (at & (t->buckets - 1));
	return bpf_map_lookup_elem(&sl_flows, &at);
}

static __always_inline struct sl_flow_entry *
sl_bucket_find(struct sl_flow_bucket *bucket, const struct sl_flow_key *k)
{
	int i;

#pragma unroll
	for (i = 0; i < SL_FLOW_WAYS; i++)
		if (sl_flow_key_equal(&bucket->entries[i].key, k))
			return &bucket->entries[i];
	return NULL;
}

/* The live entry of a flow, or NULL. */
static __always_inline struct sl_flow_entry *
sl_flow_find(const struct sl_target *t, const struct sl_flow_key *k, __u64 now)
{
	__u64 hash = sl_flow_hash(k);
	struct sl_flow_bucket *bucket = sl_flow_bucket(t, hash, false);
	struct sl_flow_entry *e;
	__u32 sequence;

	if (!bucket)
		return NULL;
	e = sl_bucket_find(bucket, k);
	if (!e) {
		bucket = sl_flow_bucket(t, hash, true);
		if (!bucket)
			return NULL;
		e = sl_bucket_find(bucket, k);
		if (!e)
			return NULL;
	}
	sequence = READ_ONCE(e->sequence);
	if ((sequence & 1) || !sl_flow_alive(e, now) || !sl_flow_key_equal(&e->key, k) ||
	    READ_ONCE(e->sequence) != sequence)
		return NULL;
	return e;
}

static __always_inline void sl_flow_flag(struct sl_flow_entry *e, __u32 flags)
{
	if ((e->flags & flags) != flags)
		__sync_fetch_and_or(&e->flags, flags);
}

/* A packet of a flow that passes. */
static __always_inline void sl_flow_touch(struct sl_flow_entry *e, const struct sl_flow *f,
					  bool from_a, __u64 now)
{
	__u32 flags = 0;

	if (!!(e->flags & SL_FLOW_FROM_A) != from_a)
		flags |= SL_FLOW_REPLIED;
	if (f->tcp_flags & SL_TCP_FIN)
		flags |= from_a ? SL_FLOW_FIN_A : SL_FLOW_FIN_B;
	if (f->tcp_flags & SL_TCP_RST)
		flags |= SL_FLOW_RESET;
	sl_flow_flag(e, flags);
	if (e->seen_ns != now)
		WRITE_ONCE(e->seen_ns, now);
}

enum { SL_OPENED, SL_ALREADY_OPEN, SL_NO_ROOM };

/* A place for a new flow: one that is over, the earlier the better. */
static __always_inline void sl_pick_victim(struct sl_flow_entry *e, __u64 now,
					   struct sl_flow_entry **victim, int *rank)
{
	int own = 0;

	if (!(e->flags & SL_FLOW_USED))
		own = 3;
	else if (!sl_flow_alive(e, now))
		own = 2;
	else if (sl_flow_closed(e))
		own = 1;
	if (own > *rank) {
		*rank = own;
		*victim = e;
	}
}

static __always_inline void sl_flow_write(struct sl_flow_entry *e, const struct sl_flow_entry *init)
{
	__u32 sequence = e->sequence | 1;

	WRITE_ONCE(e->sequence, sequence);
	asm volatile("" ::: "memory");
	e->key = init->key;
	e->word = init->word;
	e->deadline_ns = init->deadline_ns;
	e->seen_ns = init->seen_ns;
	e->opened_ns = init->opened_ns;
	e->uid = init->uid;
	e->flags = init->flags;
	e->rule = init->rule;
	e->open_key = init->open_key;
	asm volatile("" ::: "memory");
	WRITE_ONCE(e->sequence, sequence + 1);
}

/* Opens a flow: SL_OPENED (count it), SL_ALREADY_OPEN (another CPU did), or
 * SL_NO_ROOM (deny it). */
__noinline int sl_flow_open(const struct sl_flow_entry *init, __u32 slot)
{
	struct sl_flow_entry *victim = NULL, *e;
	struct sl_flow_bucket *one, *two;
	struct sl_flow_lock *lock;
	struct sl_target *t;
	int rank = 0, i, result = SL_NO_ROOM;
	__u64 hash, now;

	if (!init)
		return SL_NO_ROOM;
	t = bpf_map_lookup_elem(&sl_targets, &slot);
	lock = bpf_map_lookup_elem(&sl_flow_locks, &slot);
	if (!t || !lock)
		return SL_NO_ROOM;
	hash = sl_flow_hash(&init->key);
	one = sl_flow_bucket(t, hash, false);
	two = sl_flow_bucket(t, hash, true);
	if (!one || !two)
		return SL_NO_ROOM;
	now = init->seen_ns;
	bpf_spin_lock(&lock->lock);
	e = sl_bucket_find(one, &init->key);
	if (!e)
		e = sl_bucket_find(two, &init->key);
	if (e) {
		result = sl_flow_alive(e, now) && e->word == init->word && !sl_flow_closed(e) ?
			SL_ALREADY_OPEN : SL_OPENED;
		if (result == SL_OPENED)
			sl_flow_write(e, init);
	} else {
#pragma unroll
		for (i = 0; i < SL_FLOW_WAYS; i++) {
			sl_pick_victim(&one->entries[i], now, &victim, &rank);
			sl_pick_victim(&two->entries[i], now, &victim, &rank);
		}
		if (victim) {
			sl_flow_write(victim, init);
			result = SL_OPENED;
		}
	}
	bpf_spin_unlock(&lock->lock);
	return result;
}

#endif
