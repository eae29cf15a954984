/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Learning (docs/names.md, "Answers"): which addresses a name owns, and until when.
 */
#ifndef SLUICE_DNS_LEARN_BPF_H
#define SLUICE_DNS_LEARN_BPF_H

#include "dns_question.bpf.h"

/* Does the class let connections through, so that learning makes sense? Ask-only
 * patterns and names that only `queries: any` lets pass teach nothing. */
static __always_inline bool sl_class_teaches(sl_table_map table, __u32 class, bool *private)
{
	__u64 section, word, ports;

	if (!sl_table_word(table, SL_H_CLASSES, &section) || class >= section >> 32 ||
	    !sl_table_word(table, (__u32)section + class, &word) ||
	    !sl_table_word(table, (__u32)word + SL_VIEW_OTHER, &ports))
		return false;
	*private = word >> 32 & SL_C_PRIVATE;
	return ports >> 32 || !(word >> 32 & SL_C_UNIFORM);
}

enum { SL_PROBE_TAKEN, SL_PROBE_FREE, SL_PROBE_OWN };

/* What stands in a place where the name may be; its own is kept. Not static: verified once, and
 * not for each place. */
__noinline int sl_name_probe(__u32 slot, __u32 at, __u64 tag, __u64 now)
{
	struct sl_name *n = sl_name_at(slot, at);

	if (!n)
		return SL_PROBE_TAKEN;
	if (n->tag == tag && !(n->sequence & 1)) {
		sl_name_keep(slot, at + 1, now);
		return SL_PROBE_OWN;
	}
	return n->expires_ns <= now ? SL_PROBE_FREE : SL_PROBE_TAKEN;
}

/* A place for the name: the one that it has, or one that nothing needs. Returns the
 * place, or -1. Not static: verified once. */
__noinline int sl_name_claim(__u32 slot, __u64 tag, __u64 now, struct sl_dns *d)
{
	struct sl_flow_lock *lock = bpf_map_lookup_elem(&sl_flow_locks, &slot);
	struct sl_pattern_key *key;
	int i, free = -1, found;
	struct sl_name *n;
	__u32 at, sequence;

	if (!lock || !d)
		return -1;
	for (i = 0; i < SL_KNOWN_PROBES; i++) {
		at = ((tag >> 12) + i) & (SL_KNOWN_NAMES - 1);
		found = sl_name_probe(slot, at, tag, now);
		if (found == SL_PROBE_OWN)
			return at;
		if (free < 0 && found == SL_PROBE_FREE)
			free = at;
	}
	n = free < 0 ? NULL : sl_name_at(slot, free);
	if (!n)
		return -1;
	bpf_spin_lock(&lock->lock);
	sequence = n->sequence;
	if (n->expires_ns > now || (sequence & 1)) {
		bpf_spin_unlock(&lock->lock);
		return -1;	/* another CPU was faster: the next lookup learns it */
	}
	n->expires_ns = now + SL_NAME_GRACE;
	WRITE_ONCE(n->sequence, sequence | 1);
	bpf_spin_unlock(&lock->lock);
	key = sl_dns_key(d);
	__builtin_memcpy(&n->key, key, sizeof(n->key));
	n->characters = d->characters;
	n->judged = 0;
	n->tag = tag;
	asm volatile("" ::: "memory");
	WRITE_ONCE(n->sequence, (sequence | 1) + 1);
	return free;
}

/* The question's name is about to own addresses: its place, with SL_LESSON_PRIVATE if
 * it may own private ones; -1: it teaches nothing, or has no room. The name's hash is
 * in d->hash. Not static: verified once. */
#define SL_LESSON_PRIVATE (1 << 16)

__noinline int sl_name_learns(const struct sl_subject *s, struct sl_dns *d)
{
	sl_table_map table;
	bool private = false;
	__u32 class;
	int place;

	if (!s || !d || sl_dns_read_again(d, SL_DNS_HEADER) != SL_DNS_READ)
		return -1;
	class = sl_dns_class(s, d);
	table = sl_table_open(s->word);
	if (class == SL_NONE || !table || !sl_class_teaches(table, class, &private))
		return -1;
	place = sl_name_claim(s->slot, d->hash, bpf_ktime_get_coarse_ns(), d);
	return place < 0 ? -1 : place | private * SL_LESSON_PRIVATE;
}

/* docs/names.md, "Never learned". private: resolves_to: private. */
static __always_inline bool sl_is_special4(__u32 a, bool private)
{
	if (a >> 24 == 0 || a >> 24 == 127 || a >> 29 == 7 ||
	    a == 0xa9fea9fe || a == 0xa9feaa02 || a == 0xa9feaa17 || a == 0xa83f8110 ||
	    a == 0x646464c8)
		return true;
	if (private)
		return false;
	return a >> 24 == 10 || a >> 22 == 0x64400000 >> 22 || a >> 16 == 0xa9fe ||
	       a >> 20 == 0xac1 || a >> 8 == 0xc00000 || a >> 16 == 0xc0a8 ||
	       a >> 17 == 0xc6120000 >> 17;
}

static __always_inline bool sl_is_special6(__u64 high, __u64 low, bool private)
{
	if (!high || high >> 56 == 0xff || high >> 32 == 0x0064ff9b || high >> 32 == 0x20010000 ||
	    high >> 48 == 0x2002 || (high == 0xfd000ec200000000ull && low == 0x254))
		return true;	/* ::/64 holds ::1, mapped and compatible ones */
	if (private)
		return false;
	return high == 0x0100ull << 48 || high >> 57 == 0xfc >> 1 ||
	       high >> 55 == 0xfe80 >> 7;	/* fe80::/10 and fec0::/10 */
}

/* The place among the owners for a name: its own, else one that is free or over; * 8:
 * eight others own the address. No branches, and no calls: the lock is held. */
static __always_inline __u32 sl_owner_place(const struct sl_learned *l, __u64 tag, __u32 now)
{
	__u64 best = SL_OWNERS, free = SL_OWNERS, mine, over;
	__u32 i;

#pragma unroll
	for (i = 0; i < SL_OWNERS; i++) {
		mine = sl_is_zero(l->owners[i].tag ^ tag);
		over = sl_less63(l->owners[i].until_s, (__u64)now + 1) | sl_is_zero(l->owners[i].tag);
		best ^= (best ^ i) * mine;
		free ^= (free ^ i) * over;
	}
	return best ^ (best ^ free) * sl_less63(SL_OWNERS - 1, best);
}

/* The lock is held; readers see the old name, none, or the new one. */
static __always_inline void sl_owner_put(struct sl_owner *o, __u64 tag, __u32 name, __u32 until)
{
	WRITE_ONCE(o->tag, 0);
	o->name = name;
	WRITE_ONCE(o->until_s, until);
	WRITE_ONCE(o->tag, tag);
}

static __always_inline bool sl_owner_add(struct sl_learned *l, __u64 tag, __u32 name, __u32 until,
					 __u32 now)
{
	__u32 at = sl_owner_place(l, tag, now);
	struct sl_owner *o;

	if (at >= SL_OWNERS)
		return false;
	barrier_var(at);
	at &= SL_OWNERS - 1;
	o = &l->owners[at];
	if (o->tag == tag && o->until_s > until)
		until = o->until_s;
	if (o->tag == tag && o->name == name)
		WRITE_ONCE(o->until_s, until);	/* it owns the address throughout */
	else
		sl_owner_put(o, tag, name, until);
	return true;
}

/* 1 if nobody owns the address any more. */
static __always_inline __u64 sl_is_forgotten(const struct sl_learned *l, __u32 now)
{
	__u64 live = 0;
	int i;

#pragma unroll
	for (i = 0; i < SL_OWNERS; i++)
		live |= (sl_is_zero(l->owners[i].tag) ^ 1) & sl_less63(now, l->owners[i].until_s);
	return live ^ 1;
}

static __always_inline __u64 sl_learned_differs(const struct sl_learned *l, __u64 place,
						__u64 high, __u64 low)
{
	return (l->place ^ place) | (l->high ^ high) | (l->low ^ low);
}

/* The way of an address in a bucket, or of a place for it: way, + 16 if it is there;
 * 32: neither. No branches. */
static __always_inline __u64 sl_learned_way(const struct sl_learned_bucket *b, __u64 place,
					    __u64 high, __u64 low, __u32 now)
{
	__u64 best = 32, own, there;
	__u32 i;

#pragma unroll
	for (i = 0; i < SL_LEARNED_WAYS; i++) {
		there = sl_is_zero(sl_learned_differs(&b->ways[i], place, high, low));
		own = sl_is_forgotten(&b->ways[i], now);
		best ^= (best ^ i) * (own & sl_less63(31, best));
		best ^= (best ^ (i + 16)) * there;
	}
	return best;
}

/* The way of an address in a bucket; SL_LEARNED_WAYS: it is not there. No branches. */
static __always_inline __u32 sl_learned_where(const struct sl_learned_bucket *b, __u64 place,
					      __u64 high, __u64 low)
{
	__u64 best = SL_LEARNED_WAYS;
	__u32 i;

#pragma unroll
	for (i = 0; i < SL_LEARNED_WAYS; i++)
		best ^= (best ^ i) *
			sl_is_zero(sl_learned_differs(&b->ways[i], place, high, low));
	return best;
}

static __always_inline struct sl_learned *sl_learned_pick(struct sl_learned_bucket *b, __u32 way)
{
	barrier_var(way);
	return &b->ways[way & (SL_LEARNED_WAYS - 1)];
}

/* Until when, in seconds; the bounds are the policy's. */
static __always_inline __u32 sl_dns_until(const struct sl_subject *s, __u32 ttl)
{
	__u64 section, bounds = (__u64)60 << 32 | 86400;
	sl_table_map table = sl_table_open(s->word);

	if (table && sl_table_word(table, SL_H_DNS, &section) && section >> 32)
		sl_table_word(table, (__u32)section + SL_N_TTL, &bounds);
	if (ttl < bounds >> 32)
		ttl = bounds >> 32;
	if (ttl > (__u32)bounds)
		ttl = (__u32)bounds;
	return bpf_ktime_get_coarse_ns() / SL_SECOND + ttl;
}

/* Not static: verified once; its many branches do not multiply the caller's. */
__noinline int sl_is_special(__u32 family, __u64 high, __u64 low, bool private)
{
	return family == 4 ? sl_is_special4((__u32)low, private) :
			     sl_is_special6(high, low, private);
}

/* The address as a number; false: it is never learned. */
static __always_inline bool sl_lesson_address(const struct sl_dns_address *a, bool private,
					      __u64 *high, __u64 *low)
{
	const __be32 *w = (const __be32 *)a->bytes;

	if (a->family == 4) {
		*high = 0;
		*low = bpf_ntohl(w[0]);
	} else {
		*high = (__u64)bpf_ntohl(w[0]) << 32 | bpf_ntohl(w[1]);
		*low = (__u64)bpf_ntohl(w[2]) << 32 | bpf_ntohl(w[3]);
	}
	return !sl_is_special(a->family, *high, *low, private);
}

/* Learns the i-th address of an answer for the name in a place. 0: learned, or never
 * to be; -1: no room. Not static: verified once. */
__noinline int sl_learn(const struct sl_subject *s, struct sl_dns *d, __u32 i, int lesson)
{
	__u32 slot, name = lesson & (SL_KNOWN_NAMES - 1), now, until;
	struct sl_learned_bucket *one, *two;
	__u64 hash, place, high, low, way, other;
	struct sl_flow_lock *lock;
	struct sl_learned *l;
	bool added;

	if (!s || !d)
		return -1;
	i &= SL_DNS_ADDRESSES_MAX - 1;
	if (!sl_lesson_address(&d->addresses[i], lesson & SL_LESSON_PRIVATE, &high, &low))
		return 0;
	slot = s->slot;
	place = SL_LEARNED_PLACE(d->addresses[i].family, s->where);
	until = sl_dns_until(s, d->addresses[i].ttl_s);
	sl_name_keep(slot, name + 1, (__u64)until * SL_SECOND);
	hash = sl_address_hash(place, high, low);
	lock = bpf_map_lookup_elem(&sl_flow_locks, &slot);
	one = sl_learned_at(slot, hash, false);
	two = sl_learned_at(slot, hash, true);
	if (!lock || !one || !two)
		return -1;
	now = bpf_ktime_get_coarse_ns() / SL_SECOND;
	bpf_spin_lock(&lock->lock);
	way = sl_learned_way(one, place, high, low, now);
	other = sl_learned_way(two, place, high, low, now);
	if (way == 32 || (way < 16 && other >= 16 && other < 32)) {
		one = two;
		way = other;
	}
	if (way == 32) {
		bpf_spin_unlock(&lock->lock);
		return -1;
	}
	l = sl_learned_pick(one, (__u32)way);
	if (way < 16) {
		WRITE_ONCE(l->place, 0);
		l->high = high;
		l->low = low;
		WRITE_ONCE(l->place, place);
	}
	added = sl_owner_add(l, d->hash, name, until, now);
	bpf_spin_unlock(&lock->lock);
	return added ? 0 : -1;
}

/* The address as it is learned, or NULL. */
static __always_inline struct sl_learned *sl_learned_seek(__u32 slot, __u64 place, __u64 high,
							  __u64 low)
{
	__u64 hash = sl_address_hash(place, high, low);
	struct sl_learned_bucket *b = sl_learned_at(slot, hash, false);
	__u32 way;

	if (!b)
		return NULL;
	way = sl_learned_where(b, place, high, low);
	if (way < SL_LEARNED_WAYS)
		return sl_learned_pick(b, way);
	b = sl_learned_at(slot, hash, true);
	if (!b)
		return NULL;
	way = sl_learned_where(b, place, high, low);
	return way < SL_LEARNED_WAYS ? sl_learned_pick(b, way) : NULL;
}

/* When the time of an owner is over that has the class; SL_NONE: it has another. Not static:
 * verified once, and not for each owner. */
__noinline __u32 sl_owner_ends(const struct sl_subject *s, const struct sl_owner *owner,
			       __u32 class)
{
	struct sl_owner o;

	if (!s || !owner)
		return SL_NONE;
	o.tag = READ_ONCE(owner->tag);
	o.name = READ_ONCE(owner->name);
	o.until_s = READ_ONCE(owner->until_s);
	return o.tag && sl_owner_class(s, &o) == class ? o.until_s : SL_NONE;
}

/* The place of the owner of the class whose time is over first; SL_OWNERS: none has it. No
 * branches. */
static __always_inline __u32 sl_owner_of_class(const struct sl_subject *s,
					       const struct sl_learned *l, __u32 class)
{
	__u64 first = SL_NONE, at = SL_OWNERS, ends, less;
	__u32 i;

#pragma unroll
	for (i = 0; i < SL_OWNERS; i++) {
		ends = sl_owner_ends(s, &l->owners[i], class);
		less = sl_less63(ends, first);
		first ^= (first ^ ends) * less;
		at ^= (at ^ i) * less;
	}
	return at;
}

/*
 * Eight others own the address. What the same rules say of two names is the same, so one
 * that has the name's class answers for it: the one that owns the address longer stays.
 * So no name owns an address for longer than DNS said, and none that a rule allows is lost
 * to it before. 0: done; -1: none has the class. Not static: verified once.
 */
__noinline int sl_learn_merged(const struct sl_subject *s, struct sl_dns *d, __u32 i, int lesson,
			       int learned)
{
	__u32 slot, class, at, ends;
	struct sl_flow_lock *lock;
	__u64 place, high, low, tag;
	struct sl_owner mine = {};
	struct sl_learned *l;
	bool taken;

	if (!learned)
		return 0;
	if (!s || !d)
		return -1;
	i &= SL_DNS_ADDRESSES_MAX - 1;
	slot = s->slot;
	place = SL_LEARNED_PLACE(d->addresses[i].family, s->where);
	if (!sl_lesson_address(&d->addresses[i], lesson & SL_LESSON_PRIVATE, &high, &low))
		return 0;
	mine.tag = d->hash;
	mine.name = lesson & (SL_KNOWN_NAMES - 1);
	mine.until_s = sl_dns_until(s, d->addresses[i].ttl_s);
	lock = bpf_map_lookup_elem(&sl_flow_locks, &slot);
	l = sl_learned_seek(slot, place, high, low);
	if (!lock || !l)
		return -1;	/* no room for the address at all */
	class = sl_owner_class(s, &mine);
	at = sl_owner_of_class(s, l, class);
	if (class == SL_NONE || at >= SL_OWNERS)
		return -1;
	barrier_var(at);
	at &= SL_OWNERS - 1;
	tag = READ_ONCE(l->owners[at].tag);
	ends = sl_owner_ends(s, &l->owners[at], class);
	if (ends == SL_NONE)
		return -1;	/* another CPU was faster */
	if (ends >= mine.until_s)
		return 0;
	bpf_spin_lock(&lock->lock);
	taken = !sl_learned_differs(l, place, high, low) && l->owners[at].tag == tag;
	if (taken)
		sl_owner_put(&l->owners[at], mine.tag, mine.name, mine.until_s);
	bpf_spin_unlock(&lock->lock);
	return taken ? 0 : -1;
}

/* What an answer teaches, its chain having been judged. */
static __always_inline void sl_learn_all(const struct sl_subject *s, struct sl_dns *d)
{
	int lesson, full = 0;
	__u32 i;
	struct sl_stats *stats;
	__u32 slot = s->slot;

	if (!d->n_addresses)
		return;
	lesson = sl_name_learns(s, d);
	if (lesson < 0)
		return;
	for (i = 0; i < SL_DNS_ADDRESSES_MAX && i < d->n_addresses; i++)
		full -= sl_learn_merged(s, d, i, lesson, sl_learn(s, d, i, lesson));
	stats = full || d->over ? bpf_map_lookup_elem(&sl_stats, &slot) : NULL;
	if (stats)
		__sync_fetch_and_add(&stats->unlearned, full + d->over);
}

#endif
