/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * DNS as it passes (docs/names.md): questions are judged before they leave, answers
 * teach before they arrive. include/sluice_dns.h reads the messages.
 *
 * A message is read in a scratch place of its CPU. Out of a cgroup a program may be
 * preempted by another: each CPU has four places, marked while in use; with none free
 * the message is denied (dns-pending).
 */
#ifndef SLUICE_DNS_BPF_H
#define SLUICE_DNS_BPF_H

#include "packet_hook.bpf.h"

#define SL_DNS_FUNCTION __noinline
/* A callback's context is a place on the stack. */
#define SL_DNS_STEP(name)                                                                          \
	static __always_inline int name##_body(struct sl_dns *d);                                  \
	static long name(__u32 i, struct sl_dns **context)                                         \
	{                                                                                          \
		return name##_body(*context);                                                      \
	}                                                                                          \
	static __always_inline int name##_body(struct sl_dns *d)
#define SL_DNS_LOOP(n, step, d)                                                                    \
	do {                                                                                       \
		struct sl_dns *context = d;                                                        \
		bpf_loop(n, step, &context, 0);                                                    \
	} while (0)
#include "sluice_dns.h"
#if SL_ON_DEVICE
#include "stream.bpf.h"
#endif

#define SL_DNS_MESSAGES 4		/* of one TCP segment */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SL_SCRATCH_PLACES); /* loader: times the CPUs */
	__type(key, __u32);
	__type(value, struct sl_dns);
} sl_scratch SEC(".maps");

static __always_inline struct sl_dns *sl_scratch_take(void)
{
	__u32 first = bpf_get_smp_processor_id() * SL_SCRATCH_PLACES, at;
	struct sl_dns *d;
	int i;

	for (i = 0; i < SL_SCRATCH_PLACES; i++) {
		at = first + i;
		d = bpf_map_lookup_elem(&sl_scratch, &at);
		if (d && !__sync_val_compare_and_swap(&d->busy, 0, 1)) {
			d->seed = sl_seed;
			d->place = at;
			/* Nothing is read yet; what was is another's. */
			d->state = SL_DNS_FAULT;
			d->type = 0;
			return d;
		}
	}
	return NULL;
}

static __always_inline void sl_scratch_give(struct sl_dns *d)
{
	__sync_val_compare_and_swap(&d->busy, 1, 0);
}

/* ---- the name in d->text: its class, what may be asked ---- */

/* The text as a key, its terminating NUL included; NULL never. */
static __always_inline struct sl_pattern_key *sl_dns_key(struct sl_dns *d)
{
	__u32 n = d->characters & 0xff, at, bits = (n + 1) * 8;

	at = SL_DNS_LAST + 1 - n - sizeof(bits);
	barrier_var(at);
	at &= SL_DNS_LAST;
	__builtin_memcpy(&d->text[at], &bits, sizeof(bits));
	return (struct sl_pattern_key *)&d->text[at];
}

/* Looks the scratch place up anew: 6.1 takes a map's value as a key, but not a
 * function's argument. */
static __always_inline __u32 sl_dns_class(const struct sl_subject *s, const struct sl_dns *d)
{
	__u32 index = SL_WORD_INDEX(s->word), place = d->place;
	void *trie = bpf_map_lookup_elem(&sl_names, &index);
	struct sl_dns *own = bpf_map_lookup_elem(&sl_scratch, &place);
	struct sl_pattern_value *value;

	if (!trie || !own)
		return SL_NONE;
	value = bpf_map_lookup_elem(trie, sl_dns_key(own));
	return value ? value->class : SL_NONE;
}

/* What the rules say of a question for the name: in *a. */
static __always_inline void sl_dns_decide(const struct sl_subject *s, __u32 class,
					  struct sl_answer *a)
{
	__u64 ports = 0, decision = 0;
	__u8 reason;

	a->flags = sl_generation_flags(s->word);
	a->deny = !(a->flags & SL_F_QUERIES_ANY);
	a->reason = SL_REASON_DNS_NAME;
	a->rule = SL_NONE;
	if (class == SL_NONE ||
	    sl_table_class_ports(s->word, class, SL_VIEW_INBOUND, &ports) ||
	    sl_table_decide(s->word, ports, 0, bpf_ktime_get_boot_ns(), &decision) ||
	    decision == SL_NONE)
		return;
	reason = a->reason;
	sl_answer_decision(s->word, a, (__u32)decision);
	a->reason = reason;
}

static __always_inline bool sl_dns_type_is_listed(sl_table_map table, __u32 at, __u32 type)
{
	__u64 word;
	int i, k;

	for (i = 0; i < 4; i++) {
		if (!sl_table_word(table, at + SL_N_TYPES + i, &word))
			return false;
		for (k = 0; k < 4; k++, word >>= 16)
			if (type && (word & 0xffff) == type)
				return true;
	}
	return false;
}

/* Type and rate: SL_PARSED or the reason of a denial. */
static __always_inline int sl_dns_limits(const struct sl_subject *s, const struct sl_dns *d)
{
	sl_table_map table = sl_table_open(s->word);
	__u64 section, interval, burst;
	__u32 at;

	if (!table || !sl_table_word(table, SL_H_DNS, &section) || !(section >> 32))
		return SL_REASON_DNS_NAME;
	at = (__u32)section;
	if (!sl_dns_type_is_listed(table, at, d->type))
		return SL_REASON_DNS_TYPE;
	if (!sl_table_word(table, at + SL_N_RATE_NS, &interval) ||
	    !sl_table_word(table, at + SL_N_BURST, &burst))
		return SL_REASON_DNS_RATE;
	if (interval && !sl_limit_take(s->slot, SL_LIMIT_DNS, interval, interval * burst, false))
		return SL_REASON_DNS_RATE;
	return SL_PARSED;
}

/* A question that was read: SL_PARSED or the reason of its denial; *a has the rule. */
static __always_inline int sl_gate_question(const struct sl_subject *s, struct sl_dns *d,
					    struct sl_answer *a)
{
	int reason = sl_dns_limits(s, d);

	if (reason != SL_PARSED)
		return reason;
	sl_dns_decide(s, sl_dns_class(s, d), a);
	return a->deny ? SL_REASON_DNS_NAME : SL_PARSED;
}

/* ---- outstanding questions ---- */

/* A question has a place among the flows, as a first fragment has: the flow's
 * endpoints, and in the namespace's stead what was asked, and whether over loopback: on
 * lo anybody on the machine who may send frames could answer in another's name. */
static __always_inline void sl_question_place(struct sl_flow *f, const struct sl_dns *d)
{
	f->place = SL_PLACE_QUESTION;
	f->icmp_query = 0;
	f->tcp_flags = 0;
	f->netns ^= d->question ^ ((__u64)d->id << 32 | (__u32)f->local << 16 | d->type) *
					  0xc4ceb9fe1a85ec53ull;
}

/* The question is answered once: true for the one who takes it. */
static __always_inline bool sl_question_take(struct sl_packet *p, const struct sl_dns *d)
{
	struct sl_flow_entry *e;
	__u64 netns = p->flow.netns, until;
	__u8 flags = p->flow.tcp_flags;

	sl_question_place(&p->flow, d);
	e = sl_flow_at(p->subject.slot,
		       sl_flow_find(&p->flow, p->subject.slot, bpf_ktime_get_coarse_ns()));
	p->flow.place = SL_PLACE_FLOW;
	p->flow.netns = netns;
	p->flow.tcp_flags = flags;
	if (!e)
		return false;
	until = READ_ONCE(e->expires_ns);
	return until && __sync_val_compare_and_swap(&e->expires_ns, until, 0) == until;
}

static __always_inline bool sl_question_remember(struct sl_packet *p, const struct sl_dns *d)
{
	__u64 netns = p->flow.netns;
	__u8 flags = p->flow.tcp_flags;
	int opened;

	sl_question_place(&p->flow, d);
	opened = sl_flow_open(&p->flow, &p->subject, &p->answer, bpf_ktime_get_coarse_ns());
	p->flow.place = SL_PLACE_FLOW;
	p->flow.netns = netns;
	p->flow.tcp_flags = flags;
	return opened != SL_NO_ROOM;
}

/* ---- learning ---- */

/* Does the i-th alias of an answer lead to a name that a rule denies? An alias need not
 * be listed itself. Not static: verified once. */
__noinline int sl_alias_is_denied(const struct sl_subject *s, struct sl_dns *d, __u32 i)
{
	struct sl_answer a = {};
	__u32 class;

	if (!s || !d)
		return 1;
	i &= SL_DNS_ALIASES_MAX - 1;
	if (sl_dns_read_again(d, d->aliases[i]) != SL_DNS_READ)
		return 1;
	if (d->odd)
		return 0;
	class = sl_dns_class(s, d);
	if (class == SL_NONE)
		return 0;
	sl_dns_decide(s, class, &a);
	return a.rule != SL_NONE && a.deny;
}

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

/* A place for the name: the one that it has, or one that nothing needs. Returns the
 * place, or -1. Not static: verified once. */
__noinline int sl_name_claim(__u32 slot, __u64 tag, __u64 now, struct sl_dns *d)
{
	struct sl_flow_lock *lock = bpf_map_lookup_elem(&sl_flow_locks, &slot);
	struct sl_pattern_key *key;
	struct sl_name *n;
	__u32 at, sequence;
	int i, free = -1;

	if (!lock || !d)
		return -1;
	for (i = 0; i < SL_KNOWN_PROBES; i++) {
		at = ((tag >> 12) + i) & (SL_KNOWN_NAMES - 1);
		n = sl_name_at(slot, at);
		if (!n)
			return -1;
		if (n->tag == tag && !(n->sequence & 1)) {
			sl_name_keep(slot, at + 1, now);
			return at;
		}
		if (free < 0 && n->expires_ns <= now)
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
		mine = sl_less(l->owners[i].tag ^ tag, 1);
		over = sl_less(l->owners[i].until_s, (__u64)now + 1) | sl_less(l->owners[i].tag, 1);
		best ^= (best ^ i) * mine;
		free ^= (free ^ i) * over;
	}
	return best ^ (best ^ free) * sl_less(SL_OWNERS - 1, best);
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
	if (o->tag == tag && o->name == name) {
		WRITE_ONCE(o->until_s, until);	/* it owns the address throughout */
		return true;
	}
	WRITE_ONCE(o->tag, 0);
	o->name = name;
	WRITE_ONCE(o->until_s, until);
	WRITE_ONCE(o->tag, tag);
	return true;
}

/* 1 if nobody owns the address any more. */
static __always_inline __u64 sl_is_forgotten(const struct sl_learned *l, __u32 now)
{
	__u64 live = 0;
	int i;

#pragma unroll
	for (i = 0; i < SL_OWNERS; i++)
		live |= sl_less(0, l->owners[i].tag) & sl_less(now, l->owners[i].until_s);
	return live ^ 1;
}

static __always_inline __u64 sl_learned_differs(const struct sl_learned *l, __u32 family,
						__u64 high, __u64 low)
{
	return (l->family ^ family) | (l->high ^ high) | (l->low ^ low);
}

/* The way of an address in a bucket, or of a place for it: way, + 16 if it is there;
 * 32: neither. No branches. */
static __always_inline __u64 sl_learned_way(const struct sl_learned_bucket *b, __u32 family,
					    __u64 high, __u64 low, __u32 now)
{
	__u64 best = 32, own, there;
	__u32 i;

#pragma unroll
	for (i = 0; i < SL_LEARNED_WAYS; i++) {
		there = sl_less(sl_learned_differs(&b->ways[i], family, high, low), 1);
		own = sl_is_forgotten(&b->ways[i], now);
		best ^= (best ^ i) * (own & sl_less(31, best));
		best ^= (best ^ (i + 16)) * there;
	}
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
	__u32 slot, name = lesson & (SL_KNOWN_NAMES - 1), now, until, family;
	struct sl_learned_bucket *one, *two;
	__u64 hash, high, low, way, other;
	struct sl_flow_lock *lock;
	struct sl_learned *l;
	bool added;

	if (!s || !d)
		return -1;
	i &= SL_DNS_ADDRESSES_MAX - 1;
	if (!sl_lesson_address(&d->addresses[i], lesson & SL_LESSON_PRIVATE, &high, &low))
		return 0;
	slot = s->slot;
	family = d->addresses[i].family;
	until = sl_dns_until(s, d->addresses[i].ttl_s);
	sl_name_keep(slot, name + 1, (__u64)until * SL_SECOND);
	hash = sl_address_hash(family, high, low);
	lock = bpf_map_lookup_elem(&sl_flow_locks, &slot);
	one = sl_learned_at(slot, hash, false);
	two = sl_learned_at(slot, hash, true);
	if (!lock || !one || !two)
		return -1;
	now = bpf_ktime_get_coarse_ns() / SL_SECOND;
	bpf_spin_lock(&lock->lock);
	way = sl_learned_way(one, family, high, low, now);
	other = sl_learned_way(two, family, high, low, now);
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
		WRITE_ONCE(l->family, 0);
		l->high = high;
		l->low = low;
		WRITE_ONCE(l->family, family);
	}
	added = sl_owner_add(l, d->hash, name, until, now);
	bpf_spin_unlock(&lock->lock);
	return added ? 0 : -1;
}

/* ---- messages ---- */

static __always_inline bool sl_dns_load(struct __sk_buff *skb, struct sl_dns *d, __u32 at,
					__u32 length)
{
	if (length < SL_DNS_HEADER || length > SL_DNS_BYTES)
		return false;
	barrier_var(length);
	length = ((length - 1) & (SL_DNS_BYTES - 1)) + 1;
	d->length = length;
	return !bpf_skb_load_bytes(skb, at, d->message, length);
}

/* The question that was read: SL_PARSED or the reason of its denial; p->answer has the
 * rule. Not static: verified once. */
__noinline int sl_judge_question(struct sl_packet *p, struct sl_dns *d)
{
	int reason;

	if (!p || !d)
		return SL_REASON_DNS_PENDING;
	reason = sl_gate_question(&p->subject, d, &p->answer);
	if (reason != SL_PARSED && !(p->answer.deny && (p->answer.flags & SL_F_AUDIT)))
		return reason;
	if (!sl_question_remember(p, d))
		return SL_REASON_DNS_PENDING;
	if (reason == SL_PARSED)
		p->answer.reason = p->answer.rule == SL_NONE ? SL_REASON_DEFAULT : SL_REASON_RULE;
	return reason;
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
		full -= sl_learn(s, d, i, lesson);
	stats = full || d->over ? bpf_map_lookup_elem(&sl_stats, &slot) : NULL;
	if (stats)
		__sync_fetch_and_add(&stats->unlearned, full + d->over);
}

/* One answer, shape and question having been read. */
static __always_inline int sl_judge_answer(struct sl_packet *p, struct sl_dns *d, int verdict)
{
	__u32 i;

	if (verdict == SL_DNS_BAD || !sl_question_take(p, d))
		return SL_REASON_DNS_ANSWER;
	if (verdict == SL_DNS_EMPTY)
		return SL_PARSED;
	if (sl_dns_records(d) != SL_DNS_GOOD)
		return SL_REASON_DNS_ANSWER;
	for (i = 0; i < SL_DNS_ALIASES_MAX && i < d->n_aliases; i++)
		if (sl_alias_is_denied(&p->subject, d, i))
			return SL_REASON_DNS_ANSWER;
	sl_learn_all(&p->subject, d);
	return SL_PARSED;
}

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
	return sl_dns_question(d) == SL_DNS_GOOD ? SL_DNS_IS_ASKED :
						   SL_REASON_DNS_MALFORMED;
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
	verdict = !a->deny ? SL_EV_ALLOW :
		  a->flags & SL_F_AUDIT ? SL_EV_AUDIT_DENY : SL_EV_DENY;
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
					   struct sl_dns *d, __u32 at, __u32 length,
					   bool inbound)
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

	if (!inbound && ((p->flow.tcp_flags & SL_TCP_URG) || p->flow.raw))
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
	if (skb->gso_size)	/* the second segment would not be looked at */
		return inbound ? SL_REASON_DNS_ANSWER : SL_REASON_DNS_MALFORMED;
	if (sl_udp_end(skb, &p->flow) != p->flow.end)	/* bytes that nobody would read */
		return inbound ? SL_REASON_DNS_ANSWER : SL_REASON_DNS_MALFORMED;
	return sl_judge_logged(skb, p, d, p->flow.at + 8, p->flow.end - p->flow.at - 8,
			       inbound);
}

/* A retransmission is the same attempt. (The note on a command's socket does not tell one
 * question of a connection from the next.) */
static __always_inline bool sl_is_dns_again(struct __sk_buff *skb, struct sl_packet *p)
{
#if SL_ON_DEVICE
	return p->flow.protocol == IPPROTO_TCP &&
	       sl_is_retransmission(skb, &p->flow, &p->subject);
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

	if (!(sl_generation_flags(word) & SL_F_FORWARD))
		return SL_TO_RESOLVER;
	if (!f || (!f->inbound && (!f->local || f->family != 4)))
		return SL_TO_ANOTHER;
	if (f->inbound)		/* no message of the command's */
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

/* A message that the flow lets pass: the verdict. The denial of a question is an
 * event with its name. inbound is a constant of the program, p->flow.inbound nothing that
 * the verifier knows: it need not walk what the other direction would do. */
static __always_inline int sl_judge_dns(struct __sk_buff *skb, struct sl_packet *p, bool inbound)
{
	int reason = SL_REASON_DNS_PENDING, to = SL_TO_RESOLVER;
	struct sl_dns *d = NULL;
	bool audit;

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
	reason = p->flow.protocol == IPPROTO_UDP ? sl_judge_datagram(skb, p, d, inbound) :
						   sl_judge_segment(skb, p, d, inbound);
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
