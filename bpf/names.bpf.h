/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Names in the kernel (docs/names.md): what a target has learned, and how it decides
 * about a c. dns.bpf.h reads the messages that teach it.
 *
 * A name has a place in sl_known for as long as it owns an address or a flow of its is
 * alive; its class is looked up again when the generation is another. Places are found by
 * a keyed hash; written under the slot's lock, read without one: a record whose
 * sequence is odd, or changes, is not there.
 */
#ifndef SLUICE_NAMES_BPF_H
#define SLUICE_NAMES_BPF_H

#include "flow.bpf.h"
#include "maps.bpf.h"
#include "verdict.bpf.h"

#define SL_DNS_PORT 53
#define SL_NAME_GRACE (60 * SL_SECOND)	/* a name's place outlives what needs it by this */

static __always_inline struct sl_name *sl_name_at(__u32 slot, __u32 place)
{
	void *map = bpf_map_lookup_elem(&sl_known, &slot);

	place &= SL_KNOWN_NAMES - 1;
	return map ? bpf_map_lookup_elem(map, &place) : NULL;
}

/* A flow of the name is alive until then. */
static __always_inline void sl_name_keep(__u32 slot, __u32 name, __u64 until)
{
	struct sl_name *n = name ? sl_name_at(slot, name - 1) : NULL;

	if (n && n->expires_ns < until + SL_NAME_GRACE)
		WRITE_ONCE(n->expires_ns, until + SL_NAME_GRACE);
}

/* The class of a name in a generation, SL_NONE if no pattern covers it. */
static __always_inline __u32 sl_name_class(const struct sl_subject *s, struct sl_name *n)
{
	__u64 judged = READ_ONCE(n->judged), generation = SL_WORD_GENERATION(s->word);
	__u32 index = SL_WORD_INDEX(s->word), class = SL_NONE;
	struct sl_pattern_value *value;
	void *trie;

	if (judged >> 32 == (__u32)generation)
		return (__u32)judged;
	trie = bpf_map_lookup_elem(&sl_names, &index);
	value = trie ? bpf_map_lookup_elem(trie, &n->key) : NULL;
	if (value)
		class = value->class;
	WRITE_ONCE(n->judged, generation << 32 | class);
	return class;
}

/* The class of an owner's name, SL_NONE: the name is not there, or no pattern covers it. With
 * tag 0 of whatever is in its place. Not static: verified once, and not for each owner. */
__noinline __u32 sl_owner_class(const struct sl_subject *s, const struct sl_owner *o)
{
	__u32 sequence, class;
	struct sl_name *n;

	if (!s || !o)
		return SL_NONE;
	n = sl_name_at(s->slot, o->name);
	if (!n)
		return SL_NONE;
	sequence = READ_ONCE(n->sequence);
	if ((sequence & 1) || (o->tag && n->tag != o->tag))
		return SL_NONE;
	class = sl_name_class(s, n);
	return READ_ONCE(n->sequence) == sequence ? class : SL_NONE;
}

/* ---- learned addresses ---- */

static __always_inline __u64 sl_address_hash(__u64 place, __u64 high, __u64 low)
{
	__u64 h = (high ^ sl_seed ^ place * 0xc4ceb9fe1a85ec53ull) * 0x9e3779b97f4a7c15ull;

	h = (h ^ h >> 31 ^ low) * 0xff51afd7ed558ccdull;
	return h ^ h >> 29;
}

static __always_inline struct sl_learned_bucket *sl_learned_at(__u32 slot, __u64 hash, bool second)
{
	__u32 at = (second ? hash >> 32 : hash) & (SL_LEARNED_BUCKETS - 1);
	void *map = bpf_map_lookup_elem(&sl_learned, &slot);

	return map ? bpf_map_lookup_elem(map, &at) : NULL;
}

static __always_inline bool sl_is_learned_as(const struct sl_learned *l, __u64 place, __u64 high,
					     __u64 low)
{
	return l->place == place && l->high == high && l->low == low;
}

/* Whose time is not over: a bit for each of the address's owners. No branches. Not static: verified
 * once. */
__noinline __u32 sl_owners_of(const struct sl_learned *l)
{
	__u64 now = bpf_ktime_get_coarse_ns() / SL_SECOND, live;
	__u32 owners = 0, i;

	if (!l)
		return 0;
#pragma unroll
	for (i = 0; i < SL_OWNERS; i++) {
		live = sl_less63(now, READ_ONCE(l->owners[i].until_s));
		owners |= (live & (sl_is_zero(READ_ONCE(l->owners[i].tag)) ^ 1)) << i;
	}
	return owners;
}

#define SL_FOUND_OWNERS(found) ((__u32)(found) >> 16)

/* Not static: verified once. Where the address is, and whose: owners << 16 | bucket half << 8 | way,
 * or -1. */
__noinline int sl_learned_find(const struct sl_flow *f, const struct sl_subject *s)
{
	struct sl_learned_bucket *b;
	__u64 hash, place;
	int half, i;

	if (!f || !s)
		return -1;
	place = SL_LEARNED_PLACE(f->family, s->where);
	hash = sl_address_hash(place, f->destination_high, f->destination_low);
	for (half = 0; half < 2; half++) {
		b = sl_learned_at(s->slot, hash, half);
		if (!b)
			return -1;
		for (i = 0; i < SL_LEARNED_WAYS; i++)
			if (sl_is_learned_as(&b->ways[i], place, f->destination_high,
					     f->destination_low))
				return sl_owners_of(&b->ways[i]) << 16 | half << 8 | i;
	}
	return -1;
}

/* The owner of a learned address; 0: there is none in that place, or its time is over. Not
 * static: verified once, and not for each owner. */
__noinline int sl_owner_at(const struct sl_flow *f, const struct sl_subject *s, int found, __u32 i,
			   struct sl_owner *out)
{
	struct sl_learned_bucket *b;
	struct sl_owner *o;
	__u32 way = found & (SL_LEARNED_WAYS - 1);
	__u64 place;

	if (!f || !s || !out || found < 0)
		return 0;
	place = SL_LEARNED_PLACE(f->family, s->where);
	b = sl_learned_at(s->slot, sl_address_hash(place, f->destination_high, f->destination_low),
			  found >> 8 & 1);
	if (!b)
		return 0;
	barrier_var(way);
	way &= SL_LEARNED_WAYS - 1;
	i &= SL_OWNERS - 1;
	barrier_var(i);
	i &= SL_OWNERS - 1;
	o = &b->ways[way].owners[i];
	out->tag = READ_ONCE(o->tag);
	out->name = READ_ONCE(o->name);
	out->until_s = READ_ONCE(o->until_s);
	return out->tag && out->until_s > bpf_ktime_get_coarse_ns() / SL_SECOND &&
	       sl_is_learned_as(&b->ways[way], place, f->destination_high, f->destination_low);
}

/* Not static: verified once, and off the callers' frames. */
__noinline int sl_names_view(const struct sl_subject *s, __u32 flags, __u32 *view)
{
	struct sl_question q = {};
	sl_table_map table;

	if (!s || !view)
		return -1;
	q.has_uid = s->has_uid;
	q.uid = s->uid;
	table = sl_table_open(s->word);
	return table ? sl_table_view(s->word, table, &q, flags, view) : -1;
}

/* What an owner of the destination says goes into the answer, if its rule stands before the
 * answer's. Not static: verified once, and not for each owner. */
__noinline int sl_owner_decides(const struct sl_subject *s, const struct sl_owner *o,
				const struct sl_connection *c, struct sl_answer *a)
{
	__u64 decision = 0, until = 0;
	__u32 class, name;

	if (!s || !o || !c || !a)
		return 0;
	name = (o->name & (SL_KNOWN_NAMES - 1)) + 1;
	class = sl_owner_class(s, o);
	if (class == SL_NONE || sl_table_class_decide(s->word, class, c, &decision, &until))
		return 0;
	if (!a->name)
		a->name = name;
	if (decision >= a->decision || sl_answer_decision(s->word, a, (__u32)decision))
		return 0;
	if (until && (!a->deadline_ns || until < a->deadline_ns))
		a->deadline_ns = until;
	a->name = name;
	return 0;
}

/*
 * The names' part of the verdict: each owner of the destination is asked, and the
 * smallest rule number wins, over the static rules' too. f->name: the name that
 * admitted a known flow owns it whatever the time. Not static: verified once.
 */
__noinline int sl_names_verdict(const struct sl_flow *f, const struct sl_subject *s,
				struct sl_answer *a)
{
	struct sl_owner o = {};
	struct sl_connection c = {};
	int found;
	__u32 i;

	if (!f || !s || !a || f->inbound || sl_names_view(s, a->flags, &c.view))
		return 0;
	c.key = (__u32)f->protocol << 16 | f->key;
	if (a->flags & SL_F_DEADLINES)
		c.now_ns = bpf_ktime_get_boot_ns();
	found = sl_learned_find(f, s);
	for (i = 0; found >= 0 && i < SL_OWNERS; i++)
		if (SL_FOUND_OWNERS(found) >> i & 1 && sl_owner_at(f, s, found, i, &o))
			sl_owner_decides(s, &o, &c, a);
	if (!f->name)
		return 0;
	o.name = f->name - 1;
	o.tag = 0;
	return sl_owner_decides(s, &o, &c, a);
}

#endif
