/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Rates: of bytes, of new flows, of refusals. A rate is kept as the time at which
 * its bucket will be full again (GCRA, ITU-T I.371): what comes may take it at most
 * `burst` ahead of now. A frame larger than the whole burst passes a full bucket,
 * else it could never pass.
 *
 * A slot without a limiter (impossible) is over every limit.
 */
#ifndef SLUICE_LIMIT_BPF_H
#define SLUICE_LIMIT_BPF_H

#include "flow.bpf.h"
#include "maps.bpf.h"
#include "verdict.bpf.h"

/* The due time after taking `cost`, or 0 if that is too far ahead. All in ns. */
static __always_inline __u64 sl_limit_next(__u64 due, __u64 now, __u64 cost, __u64 burst)
{
	if (due <= now)
		return now + cost;
	return due + cost - now <= burst ? due + cost : 0;
}

static __always_inline bool sl_limit_take(__u32 slot, enum sl_limit which, __u64 cost, __u64 burst,
					  bool only_ask)
{
	struct sl_limiter *l = bpf_map_lookup_elem(&sl_limiters, &slot);
	__u64 now = bpf_ktime_get_ns(), due;

	if (!l)
		return false;
	bpf_spin_lock(&l->lock);
	due = sl_limit_next(l->due_ns[which], now, cost, burst);
	if (due && !only_ask)
		l->due_ns[which] = due;
	bpf_spin_unlock(&l->lock);
	return due;
}

/* Average and peak together: a frame takes from both or from none. */
static __always_inline bool sl_limit_take_both(__u32 slot, bool inbound, const __u64 cost[2],
					       const __u64 burst[2])
{
	struct sl_limiter *l = bpf_map_lookup_elem(&sl_limiters, &slot);
	__u64 now = bpf_ktime_get_ns(), due, peak, *at;

	if (!l)
		return false;
	at = inbound ? &l->due_ns[SL_LIMIT_IN] : &l->due_ns[SL_LIMIT_OUT];
	bpf_spin_lock(&l->lock);
	due = sl_limit_next(at[0], now, cost[0], burst[0]);
	peak = cost[1] ? sl_limit_next(at[1], now, cost[1], burst[1]) : 1;
	if (due && peak) {
		at[0] = due;
		at[1] = cost[1] ? peak : 0;
	}
	bpf_spin_unlock(&l->lock);
	return due && peak;
}

/* The peak bucket holds this much of the average rate: less, and TCP on a short path,
 * which can only be slowed down by time-outs of 200 ms, would not reach the average. */
#define SL_PEAK_BURST_NS 250000000ull

/*
 * Is there bandwidth for a frame of so many bytes? Not static: verified once. Only
 * asked where the target's word says SL_WORD_SHAPED. A limit that cannot be read is
 * no limit here: the verdict, which reads the same table, has denied by then.
 */
__noinline int sl_has_bandwidth(const struct sl_subject *s, __u32 inbound, __u32 bytes)
{
	__u64 section, rate, peak, size, cost[2] = {}, burst[2] = {};
	sl_table_map table;
	__u32 at;

	if (!s)
		return 1;
	table = sl_table_open(s->word);
	if (!table || !sl_table_word(table, SL_H_LIMITS, &section) || !(section >> 32))
		return 1;
	at = (__u32)section + (inbound ? SL_L_IN_RATE : SL_L_OUT_RATE);
	if (!sl_table_word(table, at, &rate) || !sl_table_word(table, at + 1, &peak) ||
	    !sl_table_word(table, at + 2, &size) || !rate)
		return 1;
	cost[0] = bytes * SL_SECOND / rate;
	burst[0] = size * SL_SECOND / rate;
	if (peak) {
		cost[1] = bytes * SL_SECOND / peak;
		burst[1] = SL_PEAK_BURST_NS * rate / peak;
	}
	return sl_limit_take_both(s->slot, inbound, cost, burst);
}

/* May one more flow be opened? Asked where SL_F_LIMIT_FLOWS is set; connect() only
 * asks, the packet takes. */
__noinline int sl_may_open_flow(const struct sl_subject *s, __u32 only_ask)
{
	__u64 section, interval, burst;
	sl_table_map table;

	if (!s)
		return 0;
	table = sl_table_open(s->word);
	if (!table || !sl_table_word(table, SL_H_LIMITS, &section) ||
	    !sl_table_word(table, (__u32)section + SL_L_FLOW_NS, &interval) ||
	    !sl_table_word(table, (__u32)section + SL_L_FLOW_BURST, &burst))
		return 0;
	return sl_limit_take(s->slot, SL_LIMIT_FLOW, interval, interval * burst,
			     only_ask);
}

#endif
