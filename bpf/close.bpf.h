/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The end of a flow whose opening was an event. Nothing happens in the kernel when a flow goes
 * idle, and the last packets of a TCP connection come behind its end: so an end is told by
 * whoever sweeps the target's flows (sweep.bpf.c), or by the hook that needs the place. With no room in the
 * ring the one who sweeps comes again; the one who needs the place counts it as lost.
 */
#ifndef SLUICE_CLOSE_BPF_H
#define SLUICE_CLOSE_BPF_H

#include "carried.bpf.h"
#include "event.bpf.h"
#include "state.bpf.h"
#include "sluice_sweep.h"

/* A closed flow is over when it has been silent for so long. */
#define SL_CLOSED_PAUSE (2 * SL_SECOND)

static __always_inline bool sl_is_closed(const struct sl_flow_entry *e, __u32 why, __u64 now)
{
	__u64 pause = why == SL_SETTLE_OVER ? SL_CLOSED_PAUSE : 0;

	return (e->flags & SL_FLOW_CLOSED) && e->expires_ns + pause <= now + SL_CLOSED_LIFE;
}

/* How the flow ended, SL_END_OPEN if it has not. */
static __always_inline __u8 sl_end_of(const struct sl_flow_entry *e, __u32 why, __u64 now)
{
	__u32 both = SL_FLOW_FIN_A | SL_FLOW_FIN_B;

	if (e->word & SL_WORD_DENIED)
		return SL_END_DENIED;
	if (sl_is_closed(e, why, now))
		return e->key.protocol != IPPROTO_TCP ? SL_END_ANSWERED :
		       (e->flags & both) == both ? SL_END_FINISHED : SL_END_RESET;
	if (e->expires_ns <= now)
		return SL_END_IDLE;
	return why == SL_SETTLE_TAKEN ? SL_END_REPLACED :
	       why == SL_SETTLE_DETACHED ? SL_END_DETACHED : SL_END_OPEN;
}

/* Its last packet came its time-out before it expires; after the first one it has another. */
static __always_inline __u64 sl_flow_lasted(const struct sl_flow_entry *e)
{
	__u64 last = e->expires_ns - sl_flow_timeout(e->key.protocol, e->flags);

	if (e->expires_ns == e->opened_ns + SL_FIRST_LIFE || last < e->opened_ns)
		return 0;
	return last - e->opened_ns;
}

/* The opening of a flow was an event. */
static __always_inline void sl_flow_logged(__u32 slot, int place)
{
	struct sl_stats *stats = bpf_map_lookup_elem(&sl_stats, &slot);
	struct sl_flow_entry *e = sl_flow_at(slot, place);

	if (!stats || !e)
		return;
	__sync_fetch_and_add(&stats->logged, 1);
	__sync_fetch_and_or(&e->flags, SL_FLOW_LOGGED);
}

static __always_inline void sl_close_address(struct sl_event *e, const struct sl_flow_key *k,
					     bool from_a)
{
	sl_write_address(e->source, k->family, from_a ? k->a_high : k->b_high,
			 from_a ? k->a_low : k->b_low);
	sl_write_address(e->destination, k->family, from_a ? k->b_high : k->a_high,
			 from_a ? k->b_low : k->a_low);
}

/* Under the slot's lock: no helper is called. */
static __always_inline void sl_close_fill(struct sl_close_event *c, const struct sl_flow_entry *f,
					  __u32 slot, __u8 end)
{
	struct sl_event *e = &c->named.event;
	bool from_a = f->flags & SL_FLOW_FROM_A;

	e->generation = SL_WORD_GENERATION(f->word & ~SL_WORD_DENIED);
	e->slot = slot;
	e->rule = f->rule;
	e->reason = f->reason;
	e->verdict = SL_EV_ALLOW;
	e->hook = f->hook;
	e->direction = f->flags & SL_FLOW_INBOUND ? SL_INGRESS : SL_EGRESS;
	e->family = f->key.family;
	e->protocol = f->key.protocol;
	e->vlan = SL_VLAN_NONE;
	e->flags = SL_EVENT_CLOSE | SL_EVENT_PARSED | SL_EVENT_SOURCE;
	sl_close_address(e, &f->key, from_a);
	e->destination_port = f->open_key;
	if (f->has_ports) {
		e->flags |= SL_EVENT_PORTS;
		e->source_port = from_a ? f->key.a_port : f->key.b_port;
		e->destination_port = from_a ? f->key.b_port : f->key.a_port;
	}
	if (f->key.icmp_class)
		e->flags |= SL_EVENT_ICMP;
	if (f->flags & SL_FLOW_HAS_UID) {
		e->flags |= SL_EVENT_UID;
		e->socket_uid = f->uid;
	}
	c->bytes[0] = f->bytes[0];
	c->bytes[1] = f->bytes[1];
	c->lasted_ns = sl_flow_lasted(f);
	c->end = end;
}

/* What it carries from here on is another end's. Its bytes have been settled. */
static __always_inline void sl_flow_told(struct sl_flow_entry *e, __u64 now)
{
	__u64 out = e->settled[0], in = e->settled[1];

	__sync_fetch_and_sub(&e->bytes[0], out);
	__sync_fetch_and_sub(&e->bytes[1], in);
	e->settled[0] = e->settled[1] = 0;
	e->opened_ns = now;
	__sync_fetch_and_or(&e->flags, SL_FLOW_TOLD);
}

#if SL_NAMES
static __always_inline void sl_close_name(struct sl_close_event *c, __u32 slot, __u32 name)
{
	struct sl_name *n = name ? sl_name_at(slot, name - 1) : NULL;

	if (!n)
		return;
	__builtin_memcpy(c->named.name, n->key.data, sizeof(c->named.name));
	c->named.characters = n->characters;
	c->named.event.flags |= SL_EVENT_NAMED;
}
#else
#define sl_close_name(c, slot, name) ((void)(name))
#endif

/* How a flow ended that nobody was told of; SL_END_OPEN: there is nothing to be told. */
static __always_inline __u8 sl_end_to_tell(const struct sl_flow_entry *e, __u32 why, __u64 now)
{
	return why == SL_SETTLE_RULES || sl_is_told(e) ? SL_END_OPEN : sl_end_of(e, why, now);
}

/* Without an event: there is nothing to be told, or no room. */
static __always_inline void sl_settle_quietly(struct sl_flow_lock *lock, struct sl_stats *stats,
					      struct sl_flow_entry *e, struct sl_carried *carried,
					      __u32 why, __u64 now)
{
	bool lost;

	bpf_spin_lock(&lock->lock);
	sl_carried_take(e, carried);
	lost = why >= SL_SETTLE_TAKEN && sl_end_to_tell(e, why, now);
	if (lost)
		sl_flow_told(e, now);
	bpf_spin_unlock(&lock->lock);
	if (lost)
		__sync_fetch_and_add(&stats->closes_lost, 1);
}

/* With an event, which another CPU may have written meanwhile. */
static __always_inline void sl_settle_telling(struct sl_flow_lock *lock, struct sl_stats *stats,
					      struct sl_flow_entry *e, struct sl_carried *carried,
					      __u32 why, __u64 now, struct sl_close_event *c)
{
	__u32 name = 0;
	__u8 end;

	__builtin_memset(c, 0, sizeof(*c));
	bpf_spin_lock(&lock->lock);
	sl_carried_take(e, carried);
	end = sl_end_to_tell(e, why, now);
	if (end) {
		sl_close_fill(c, e, carried->key.slot, end);
		name = e->name;
		sl_flow_told(e, now);
	}
	bpf_spin_unlock(&lock->lock);
	if (!end) {
		bpf_ringbuf_discard(c, 0);
		return;
	}
	sl_close_name(c, carried->key.slot, name);
	c->named.event.time_ns = bpf_ktime_get_boot_ns();
	c->named.event.sequence = __sync_fetch_and_add(&stats->sequence, 1);
	__sync_fetch_and_add(&stats->closes, 1);
	bpf_ringbuf_submit(c, 0);
}

/* Two ways, since 6.1 does not see that a flag on the stack tells whether there is an event. Not
 * static: verified once, and its frame, which may not grow (6.1), does not add to the hook's. */
__noinline int sl_flow_settle(__u32 slot, __u32 place, __u32 why)
{
	struct sl_flow_lock *lock = bpf_map_lookup_elem(&sl_flow_locks, &slot);
	struct sl_stats *stats = bpf_map_lookup_elem(&sl_stats, &slot);
	struct sl_flow_entry *e = sl_flow_at(slot, (int)place);
	struct sl_carried carried = {.key.slot = slot};
	__u64 now = bpf_ktime_get_coarse_ns();
	struct sl_close_event *c = NULL;

	if (!lock || !stats || !e)
		return 0;
	if (sl_end_to_tell(e, why, now))
		c = bpf_ringbuf_reserve(&sl_events, sizeof(*c), 0);
	if (c)
		sl_settle_telling(lock, stats, e, &carried, why, now, c);
	else
		sl_settle_quietly(lock, stats, e, &carried, why, now);
	sl_carried_add(&carried);
	return 0;
}

#endif
