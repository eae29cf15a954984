/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Recording a decision: counters always, an event if the decision is one that
 * is logged and the target's budget allows. Nothing here changes a verdict.
 */
#ifndef SLUICE_EVENT_BPF_H
#define SLUICE_EVENT_BPF_H

#include <bpf/bpf_endian.h>

#include "carried.bpf.h"
#include "flow.bpf.h"
#include "maps.bpf.h"
#include "socket.bpf.h"

static __always_inline void sl_hit_count(struct sl_stats *stats, const struct sl_subject *s,
					 const struct sl_answer *a)
{
	struct sl_hit_key key = {.slot = s->slot, .rule = a->rule, .reason = a->reason,
				 .generation = (__u32)SL_WORD_GENERATION(s->word)};
	struct sl_hit *hit = sl_hit_row(&key);

	if (!hit) {
		__sync_fetch_and_add(&stats->uncounted, 1);
		return;
	}
	__sync_fetch_and_add(&hit->count, 1);
	hit->last_ns = bpf_ktime_get_boot_ns();
}

/* One token of the target's event budget. */
static __always_inline bool sl_budget_take(__u32 slot)
{
	struct sl_budget *b = bpf_map_lookup_elem(&sl_budgets, &slot);
	__u64 now = bpf_ktime_get_ns(), earned;
	bool taken = false;

	if (!b)
		return false;
	bpf_spin_lock(&b->lock);
	if (!b->filled_ns) {
		b->filled_ns = now;
		b->tokens = SL_BUDGET_BURST;
	} else if (now > b->filled_ns) {
		earned = (now - b->filled_ns) / (1000000000ull / SL_BUDGET_RATE);
		if (earned) {
			b->filled_ns += earned * (1000000000ull / SL_BUDGET_RATE);
			earned += b->tokens;
			b->tokens = earned > SL_BUDGET_BURST ? SL_BUDGET_BURST : earned;
		}
	}
	if (b->tokens) {
		b->tokens--;
		taken = true;
	}
	bpf_spin_unlock(&b->lock);
	return taken;
}

static __always_inline void sl_write_address(__u8 out[16], __u8 family, __u64 high, __u64 low)
{
	if (family == 4) {
		*(__be32 *)out = bpf_htonl((__u32)low);
		return;
	}
	((__be64 *)out)[0] = bpf_cpu_to_be64(high);
	((__be64 *)out)[1] = bpf_cpu_to_be64(low);
}

/* Where an attempt came from: a process; on a device the frame around the packet. */
#if SL_ON_DEVICE
typedef struct sl_link sl_origin;

static __always_inline void sl_event_origin(struct sl_event *e, const sl_origin *o)
{
	if (!o)
		return;
	e->flags |= SL_EVENT_LINK;
	__builtin_memcpy(e->mac_source, o->source, sizeof(e->mac_source));
	__builtin_memcpy(e->mac_destination, o->destination, sizeof(e->mac_destination));
	e->ethertype = o->ethertype;
	e->vlan = o->vlan;
}
#else
typedef struct sl_process sl_origin;

static __always_inline void sl_event_origin(struct sl_event *e, const sl_origin *o)
{
	if (!o || !o->known)
		return;
	e->flags |= SL_EVENT_PROCESS;
	e->pid = o->pid;
	e->process_uid = o->uid;
	__builtin_memcpy(e->comm, o->comm, sizeof(e->comm));
}
#endif

static __always_inline void sl_event_fill(struct sl_event *e, const struct sl_flow *f,
					  const struct sl_subject *s, const struct sl_answer *a,
					  __u8 verdict)
{
	__builtin_memset(e, 0, sizeof(*e));
	e->time_ns = bpf_ktime_get_boot_ns();
	e->generation = SL_WORD_GENERATION(s->word);
	e->slot = s->slot;
	e->rule = a->rule;
	e->reason = a->reason;
	e->verdict = verdict;
	e->hook = f->hook;
	e->direction = f->inbound ? SL_INGRESS : SL_EGRESS;
	e->family = f->family;
	e->protocol = f->protocol;
	if (f->family)
		e->flags |= SL_EVENT_PARSED;
	sl_write_address(e->destination, f->family, f->destination_high, f->destination_low);
	e->destination_port = f->has_ports ? f->destination_port : f->key;
	if (f->has_ports)
		e->flags |= SL_EVENT_PORTS;
	if (f->icmp_class)
		e->flags |= SL_EVENT_ICMP;
	if (f->has_source) {
		e->flags |= SL_EVENT_SOURCE;
		sl_write_address(e->source, f->family, f->source_high, f->source_low);
		e->source_port = f->has_ports ? f->source_port : 0;
	}
	if (s->has_uid) {
		e->flags |= SL_EVENT_UID;
		e->socket_uid = s->uid;
	}
	e->vlan = SL_VLAN_NONE;
}

/* Counts a decision. True: it is an event, which its target's budget pays. */
static __always_inline bool sl_count(struct sl_stats *stats, const struct sl_subject *s,
				     const struct sl_answer *a, __u8 verdict)
{
	bool logged;

	__sync_fetch_and_add(&stats->decided, 1);
	sl_hit_count(stats, s, a);
	__sync_fetch_and_add(verdict == SL_EV_ALLOW ? &stats->allowed :
			     verdict == SL_EV_DENY ? &stats->denied : &stats->audit_denied, 1);
	logged = verdict == SL_EV_ALLOW ? !!(a->flags & SL_F_LOG_ALL) :
					  !a->quiet && !(a->flags & SL_F_LOG_NONE);
	if (logged && sl_budget_take(s->slot))
		return true;
	__sync_fetch_and_add(&stats->suppressed, 1);
	if (logged)
		__sync_fetch_and_add(&stats->over_budget, 1);
	return false;
}

#if SL_NAMES
static __always_inline struct sl_named_event *sl_reserve_named(struct sl_stats *stats)
{
	struct sl_named_event *e = bpf_ringbuf_reserve(&sl_events, sizeof(*e), 0);

	if (!e)
		__sync_fetch_and_add(&stats->lost, 1);
	return e;
}

static __always_inline void sl_submit(struct sl_stats *stats, struct sl_named_event *e)
{
	e->event.flags |= SL_EVENT_NAMED;
	e->event.sequence = __sync_fetch_and_add(&stats->sequence, 1);
	__sync_fetch_and_add(&stats->submitted, 1);
	bpf_ringbuf_submit(e, 0);
}

/* A connection to an address that a name owns. */
static __always_inline int sl_submit_named(struct sl_stats *stats, const struct sl_flow *f,
					   const struct sl_subject *s, const struct sl_answer *a,
					   __u8 verdict, const sl_origin *o)
{
	struct sl_named_event *e = sl_reserve_named(stats);
	struct sl_name *n;

	if (!e)
		return 0;
	sl_event_fill(&e->event, f, s, a, verdict);
	sl_event_origin(&e->event, o);
	e->type = 0;
	e->characters = 0;
	e->reserved = 0;
	n = sl_name_at(s->slot, a->name - 1);
	if (n) {
		__builtin_memcpy(e->name, n->key.data, sizeof(e->name));
		e->characters = n->characters;
	} else {
		__builtin_memset(e->name, 0, sizeof(e->name));
	}
	sl_submit(stats, e);
	return 1;
}
#endif

/* Counts one decision and submits its event; `o` may be NULL (unknown). 1 if there is one. Not
 * static: verified once. */
__noinline int sl_record(const struct sl_flow *f, const struct sl_subject *s,
			 const struct sl_answer *a, const sl_origin *o, __u8 verdict)
{
	struct sl_stats *stats;
	struct sl_event *e;
	__u32 slot;

	if (!f || !s || !a)
		return 0;
	slot = s->slot;
	stats = bpf_map_lookup_elem(&sl_stats, &slot);
	if (!stats)
		return 0;
	if (!sl_count(stats, s, a, verdict))
		return 0;
#if SL_NAMES
	if (a->name)
		return sl_submit_named(stats, f, s, a, verdict, o);
#endif
	e = bpf_ringbuf_reserve(&sl_events, sizeof(*e), 0);
	if (!e) {
		__sync_fetch_and_add(&stats->lost, 1);
		return 0;
	}
	sl_event_fill(e, f, s, a, verdict);
	sl_event_origin(e, o);
	e->sequence = __sync_fetch_and_add(&stats->sequence, 1);
	__sync_fetch_and_add(&stats->submitted, 1);
	bpf_ringbuf_submit(e, 0);
	return 1;
}

#endif
