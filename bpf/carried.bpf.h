/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What flows carry, by rule. A packet that passes is added to its flow's entry alone, which
 * is at hand: one atomic add. What an entry has that is not yet its rule's is added there
 * (it is settled) when the flow gets another verdict, before its place is given away, and
 * when somebody wants to know (sweep.bpf.c).
 */
#ifndef SLUICE_CARRIED_BPF_H
#define SLUICE_CARRIED_BPF_H

#include "flow.bpf.h"
#include "maps.bpf.h"

/* The row of a key, made if it is not there. NULL: there is no room. */
static __always_inline struct sl_hit *sl_hit_row(const struct sl_hit_key *key)
{
	struct sl_hit first = {}, *hit = bpf_map_lookup_elem(&sl_hits, key);

	if (hit)
		return hit;
	bpf_map_update_elem(&sl_hits, key, &first, BPF_NOEXIST);
	return bpf_map_lookup_elem(&sl_hits, key);
}

struct sl_carried {
	struct sl_hit_key key;
	__u64 bytes[2];		/* by enum sl_direction */
};

#if SL_ON_DEVICE
#define SL_HOOK_INWARD SL_HOOK_TC_EGRESS
#else
#define SL_HOOK_INWARD SL_HOOK_CGROUP_INGRESS
#endif

/* enum sl_direction of the packet, whatever else the flow is shown as. Without branches. */
static __always_inline __u32 sl_direction_of(const struct sl_flow *f)
{
	return ((__u32)(f->hook ^ SL_HOOK_INWARD) - 1) >> 31;
}

/* A packet of the flow passes. bytes: as sl_meter counts. */
static __always_inline void sl_carry(struct sl_flow_entry *e, const struct sl_flow *f, __u32 bytes)
{
	__sync_fetch_and_add(&e->bytes[sl_direction_of(f) & 1], bytes);
}

static __always_inline bool sl_is_added(const struct sl_flow_entry *e)
{
	return !((e->bytes[0] ^ e->settled[0]) | (e->bytes[1] ^ e->settled[1]));
}

/* Has its end, as far as there was one, been told? */
static __always_inline bool sl_is_told(const struct sl_flow_entry *e)
{
	__u32 flags = e->flags;

	return !(flags & SL_FLOW_LOGGED) ||
	       ((flags & SL_FLOW_TOLD) && !(e->bytes[0] | e->bytes[1]));
}

/* Under the slot's lock, all but the slot. A packet that is refused after all may make a difference
 * negative: so the sums are modulo 2^64. */
static __always_inline void sl_carried_take(struct sl_flow_entry *e, struct sl_carried *c)
{
	__u64 out = READ_ONCE(e->bytes[0]), in = READ_ONCE(e->bytes[1]);

	c->key.rule = e->rule;
	c->key.reason = e->reason;
	c->key.generation = (__u32)SL_WORD_GENERATION(e->word);
	c->bytes[0] = out - e->settled[0];
	c->bytes[1] = in - e->settled[1];
	e->settled[0] = out;
	e->settled[1] = in;
}

/* Without the lock: no helper may be called under it. */
static __always_inline void sl_carried_add(const struct sl_carried *c)
{
	__u32 slot = c->key.slot;
	struct sl_stats *stats;
	struct sl_hit *hit;

	if (!(c->bytes[0] | c->bytes[1]))
		return;
	hit = sl_hit_row(&c->key);
	if (hit) {
		__sync_fetch_and_add(&hit->bytes[0], c->bytes[0]);
		__sync_fetch_and_add(&hit->bytes[1], c->bytes[1]);
		return;
	}
	stats = bpf_map_lookup_elem(&sl_stats, &slot);
	if (stats)
		__sync_fetch_and_add(&stats->uncounted, 1);
}

#endif
