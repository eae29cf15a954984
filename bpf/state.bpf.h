/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Flow state: which flows this target's policy admitted, and in which
 * direction. Bounded: a flow has two buckets to be in (flow_table.bpf.h). The first is taken if
 * half of it is free, else the emptier one, and only an entry that is over (idle too long, a closed
 * TCP connection, an answered DNS query) may be overwritten. With no room the new flow is denied;
 * nothing alive is ever pushed out.
 */
#ifndef SLUICE_STATE_BPF_H
#define SLUICE_STATE_BPF_H

#include "flow_table.bpf.h"

/* A DNS query over UDP is over with its answer (RFC 4787, REQ-5b, lets well-known ports
 * be): resolvers' clients take a new port for each. */
static __always_inline bool sl_is_dns_answer(const struct sl_flow *f)
{
	return f->protocol == IPPROTO_UDP && f->has_ports && f->source_port == 53;
}

/* A packet of a flow that passes. */
static __always_inline void sl_flow_touch(struct sl_flow_entry *e, const struct sl_flow *f,
					  __u64 now)
{
	__u32 both = SL_FLOW_FIN_A | SL_FLOW_FIN_B, flags = e->flags, add = 0;
	__u64 expires, closed;

	if (!sl_is_opener(e, f))
		add |= sl_is_dns_answer(f) ? SL_FLOW_REPLIED | SL_FLOW_CLOSED : SL_FLOW_REPLIED;
	/* without branches: a path of the verifier's for all flags of TCP */
	add |= (f->tcp_flags & SL_TCP_FIN) * (SL_FLOW_FIN_B >> (f->from_a & 1));
	closed = f->tcp_flags / SL_TCP_RST & 1;
	closed |= sl_is_zero(both & ~(flags | add));
	add |= closed * SL_FLOW_CLOSED;
	if (add & ~flags)
		__sync_fetch_and_or(&e->flags, add);
	/* not the packet's, of which the verifier may know it: a path for each */
	expires = now + sl_flow_timeout(e->key.protocol, flags | add);
	if (e->expires_ns != expires)
		WRITE_ONCE(e->expires_ns, expires);
}

/*
 * Notes a new judgement of a flow that is known. Under the lock, and never back
 * to an older generation: two CPUs may judge by the old and the new one at once,
 * and what is noted must be one verdict with its own deadline. An entry that has
 * become another flow's is left alone. Not static: verified once.
 */
__noinline int sl_flow_judged(int place, const struct sl_flow *f, const struct sl_subject *s,
			      const struct sl_answer *a)
{
	struct sl_carried before = {};
	struct sl_flow_lock *lock;
	struct sl_flow_entry *e;
	__u64 cut = SL_WORD_DENIED;
	__u32 slot;

	if (!f || !s || !a)
		return 0;
	before.key.slot = slot = s->slot;
	lock = bpf_map_lookup_elem(&sl_flow_locks, &slot);
	e = sl_flow_at(slot, place);
	if (!lock || !e)
		return 0;
	cut *= a->deny && !(a->flags & SL_F_AUDIT);
	bpf_spin_lock(&lock->lock);
	if (e->sequence == f->entry_sequence && (e->word & ~SL_WORD_DENIED) <= s->word) {
		sl_carried_take(e, &before);
		e->rule = a->rule;
		e->reason = a->reason;
		e->name = a->name;
		e->deadline_ns = a->deadline_ns;
		if (a->deny)
			__sync_fetch_and_or(&e->flags, SL_FLOW_AUDITED);
		else
			__sync_fetch_and_and(&e->flags, ~SL_FLOW_AUDITED);
		WRITE_ONCE(e->word, s->word | cut);
	}
	bpf_spin_unlock(&lock->lock);
	sl_carried_add(&before);
	return 0;
}

/* Adds to the rule what its flow's entry has carried, and tells of its end: close.bpf.h. */
int sl_flow_settle(__u32 slot, __u32 place, __u32 why);

/* What became of a flow to be opened. SL_UNSETTLED: the place that it would get is another's,
 * which is over but not settled. */
enum { SL_OPENED, SL_ALREADY_OPEN, SL_NO_ROOM, SL_UNSETTLED };
#define SL_OPEN_TRIES 4		/* another CPU may be at the same bucket */

/*
 * How willingly a place is given away, as one number to compare: what is over or was
 * never used, then what is closed, the longest ago first; 0: not at all. Of two buckets
 * the emptier one gives: what it has free stands where a closed place has its age.
 */
#define SL_PLACE_FREE (2ull << 48)
#define SL_PLACE_CLOSED (1ull << 48)
#define SL_PLACE_THERE (8ull << 48)	/* the flow itself is there */
#define SL_PLACE_ENOUGH (SL_PLACE_FREE + (SL_FLOW_WAYS / 2 << 8)) /* half of a bucket is free */
#define SL_PLACE_WAY 0xff
#define SL_PLACE_AGES 0xffffff		/* of about a millisecond */

static __always_inline __u64 sl_place_rank(const struct sl_flow_entry *e, __u64 now)
{
	__u64 free = sl_less63(e->expires_ns, now + 1);
	__u64 closed = (e->flags / SL_FLOW_CLOSED & 1) & (free ^ 1);
	__u64 age = ~((e->expires_ns - now) >> 20) & SL_PLACE_AGES;

	return free * SL_PLACE_FREE + closed * (SL_PLACE_CLOSED + (age << 8));
}

/* The best way of a bucket, with its rank. */
static __always_inline __u64 sl_bucket_best(const struct sl_flow_bucket *b, __u64 now)
{
	__u64 best = 0, own, free = 0;
	int i;

#pragma unroll
	for (i = 0; i < SL_FLOW_WAYS; i++) {
		own = sl_place_rank(&b->entries[i], now) | i;
		free += own / SL_PLACE_FREE;
		best ^= (best ^ own) * sl_less63(best, own);
	}
	return best + (free << 8);
}

/* Is its ClientHello to be looked for? */
static __always_inline __u32 sl_sni_flags(const struct sl_flow *f, const struct sl_answer *a)
{
	if (f->place || f->inbound || f->protocol != IPPROTO_TCP || a->deny || !a->sni)
		return 0;
	return SL_FLOW_SNI | (a->flags & SL_F_LOG_NONE) / SL_F_LOG_NONE * SL_FLOW_SNI_QUIET |
	       (a->sni & SL_D_SNI_VERIFY) / SL_D_SNI_VERIFY * SL_FLOW_SNI_VERIFY;
}

static __always_inline void sl_flow_write(struct sl_flow_bucket *b, __u32 way, __u64 tag,
					  const struct sl_flow_key *k, const struct sl_flow *f,
					  const struct sl_subject *s, const struct sl_answer *a,
					  __u64 now)
{
	struct sl_flow_entry *e;
	__u32 sequence;

	way &= SL_FLOW_WAYS - 1;
	barrier_var(way);
	way &= SL_FLOW_WAYS - 1;
	e = &b->entries[way];
	sequence = e->sequence | 1;
	WRITE_ONCE(e->sequence, sequence);
	asm volatile("" ::: "memory");
	e->key = *k;
	e->word = s->word;
	e->deadline_ns = a->deadline_ns;
	e->expires_ns = now + (f->place ? SL_PLACE_LIFE : SL_FIRST_LIFE); /* sl_flow_touch */
	e->opened_ns = now;
	e->uid = s->uid;
	e->rule = a->rule;
	e->open_key = f->key;
	e->name = a->name;
	e->reason = a->reason;
	e->hook = f->hook;
	e->has_ports = f->has_ports;
	e->bytes[0] = e->bytes[1] = e->settled[0] = e->settled[1] = 0;
	e->sni_end = 0;
	e->tick = 0;
	e->isn = f->isn;
	e->flags = SL_FLOW_USED | sl_sni_flags(f, a) | (f->from_a & 1) * SL_FLOW_FROM_A |
		   (f->inbound & 1) * SL_FLOW_INBOUND | (f->raw & 1) * SL_FLOW_RAW |
		   (f->inbound & (f->local | f->local >> 1) & 1) * SL_FLOW_LOCAL |
		   (s->has_uid & 1) * SL_FLOW_HAS_UID | (a->deny & 1) * SL_FLOW_AUDITED |
		   (f->tcp_flags & SL_TCP_FIN) * (SL_FLOW_FIN_B >> (f->from_a & 1));
	WRITE_ONCE(b->tags[way], tag);
	asm volatile("" ::: "memory");
	WRITE_ONCE(e->sequence, sequence + 1);
}

/* The flow is there. Did another CPU open it just now, or is it over or stale? */
static __always_inline bool sl_is_open(struct sl_flow_bucket *b, __u32 way,
				       const struct sl_subject *s, const struct sl_flow *f,
				       __u64 now)
{
	struct sl_flow_entry *e = sl_bucket_entry(b, way);

	return !f->place && e->word == s->word && e->expires_ns > now && sl_speaks_for(e, f) &&
	       !!(e->flags & SL_FLOW_HAS_UID) == s->has_uid &&
	       (!s->has_uid || e->uid == s->uid);
}

/* The last of the ways that were never used, with its rank: as sl_bucket_best, of the tags alone. */
static __always_inline __u64 sl_bucket_unused(const struct sl_flow_bucket *b)
{
	__u64 unused = 0, way = 0, own;
	int i;

#pragma unroll
	for (i = 0; i < SL_FLOW_WAYS; i++) {
		own = sl_is_zero(b->tags[i]);
		unused += own;
		way ^= (way ^ i) * own;
	}
	return (SL_PLACE_FREE + (unused << 8) | way) * sl_less63(0, unused);
}

/* The flow's place in a bucket, 0 if it is not there. Under the lock. */
static __always_inline __u64 sl_bucket_there(const struct sl_flow_bucket *b, __u64 tag,
					     const struct sl_flow_key *k)
{
	__u32 way = sl_bucket_way(b, tag);

	if (sl_is_not_tagged(b, way, tag))
		return 0;
	way &= SL_FLOW_WAYS - 1;
	barrier_var(way);
	return sl_is_zero(sl_flow_key_differs(&b->entries[way & (SL_FLOW_WAYS - 1)].key, k)) *
	       (SL_PLACE_THERE | way);
}

/*
 * The best place in a bucket: the flow's first way if it is free. Each entry has lines of its own, which the
 * packet would have to wait for: they are not looked at where enough places were never used.
 */
static __always_inline __u64 sl_bucket_place(const struct sl_flow_bucket *b, __u64 tag, __u64 now)
{
	__u64 place = sl_bucket_unused(b), free;
	__u32 first = sl_bucket_first_way(tag);

	if (place >= SL_PLACE_ENOUGH) {
		free = sl_is_zero(b->tags[first]);
	} else {
		place = sl_bucket_best(b, now);
		free = sl_less63(b->entries[first].expires_ns, now + 1);
	}
	return place ^ ((place ^ first) & SL_PLACE_WAY) * free;
}

/* Opens an allowed flow: SL_OPENED (count it), SL_ALREADY_OPEN (another CPU
 * did), SL_NO_ROOM (deny it), or SL_UNSETTLED. f->found is then the place. Not static:
 * verified once; its frame may not grow (6.1). */
__noinline int sl_flow_try(struct sl_flow *f, const struct sl_subject *s,
			   const struct sl_answer *a, __u64 now)
{
	struct sl_flow_bucket *one, *two;
	struct sl_flow_lock *lock;
	struct sl_flow_key k = {};
	struct sl_target *t;
	__u64 tag, place, place_two;
	__u32 at, slot;
	struct sl_flow_entry *e;
	int result = SL_OPENED;

	if (!f || !s || !a)
		return SL_NO_ROOM;
	slot = s->slot;
	t = bpf_map_lookup_elem(&sl_targets, &slot);
	lock = bpf_map_lookup_elem(&sl_flow_locks, &slot);
	if (!t || !lock)
		return SL_NO_ROOM;
	sl_flow_key_of(f, &k);
	tag = sl_flow_hash(&k);
	at = sl_bucket_index(t, tag, false);
	f->found = at * SL_FLOW_WAYS;
	one = sl_bucket_at(slot, at);
	at = sl_bucket_index(t, tag, true);
	two = sl_bucket_at(slot, at);
	if (!one || !two)
		return SL_NO_ROOM;
	bpf_spin_lock(&lock->lock);
	place = sl_bucket_there(one, tag, &k);
	place_two = sl_bucket_there(two, tag, &k);
	if (!(place | place_two)) {
		place = sl_bucket_place(one, tag, now);
		if (place < SL_PLACE_ENOUGH)
			place_two = sl_bucket_place(two, tag, now);
	}
	if ((place | SL_PLACE_WAY) < (place_two | SL_PLACE_WAY)) {
		one = two;
		f->found = at * SL_FLOW_WAYS;
		place = place_two;
	}
	f->found += place & (SL_FLOW_WAYS - 1);
	e = sl_bucket_entry(one, place & SL_PLACE_WAY);
	if (place <= SL_PLACE_WAY)
		result = SL_NO_ROOM;
	else if (place >= SL_PLACE_THERE && sl_is_open(one, place & SL_PLACE_WAY, s, f, now)) {
		result = SL_ALREADY_OPEN;
	} else if (!sl_is_added(e) || !sl_is_told(e))
		result = SL_UNSETTLED;
	else
		sl_flow_write(one, place & SL_PLACE_WAY, tag, &k, f, s, a, now);
	bpf_spin_unlock(&lock->lock);
	return result;
}

/* Opens an allowed flow; in its entry its packet's bytes are counted. A place that others
 * use faster than it is settled counts as none. */
static __always_inline int sl_flow_open(struct sl_flow *f, const struct sl_subject *s,
					const struct sl_answer *a, __u64 now, __u32 bytes)
{
	struct sl_flow_entry *e;
	int result = SL_NO_ROOM, i;

	for (i = 0; i < SL_OPEN_TRIES; i++) {
		result = sl_flow_try(f, s, a, now);
		if (result != SL_UNSETTLED)
			break;
		sl_flow_settle(s->slot, f->found, SL_SETTLE_TAKEN);
	}
	if (result >= SL_NO_ROOM)
		return SL_NO_ROOM;
	e = f->place ? NULL : sl_flow_at(s->slot, (int)f->found);
	if (e) {
		sl_carry(e, f, bytes);
		f->carrier = f->found + 1;
	}
	return result;
}

/* Something refuses the packet after its flow let it pass. */
static __always_inline void sl_uncarry(const struct sl_flow *f, __u32 slot, __u32 bytes)
{
	struct sl_flow_entry *e = sl_flow_at(slot, (int)f->carrier - 1);

	if (e)
		__sync_fetch_and_sub(&e->bytes[sl_direction_of(f) & 1], bytes);
}

#endif
