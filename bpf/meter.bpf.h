/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Bytes and packets of a target. */
#ifndef SLUICE_METER_BPF_H
#define SLUICE_METER_BPF_H

#include "sluice_abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);		/* loader */
	__type(key, __u32);
	__type(value, struct sl_meter);
} sl_meters SEC(".maps");

static __always_inline struct sl_meter *sl_meter(__u32 slot)
{
	return bpf_map_lookup_elem(&sl_meters, &slot);
}

#if SL_ON_DEVICE
/* Only this CPU adds here: tc programs run with bottom halves off. */
static __always_inline void sl_meter_frame(__u32 slot, bool inbound, __u32 bytes)
{
	struct sl_meter *m = sl_meter(slot);

	if (!m)
		return;
	if (inbound) {
		m->rx_frames++;
		m->rx_bytes += bytes;
	} else {
		m->tx_frames++;
		m->tx_bytes += bytes;
	}
}

static __always_inline void sl_meter_denied(__u32 slot, bool inbound)
{
	struct sl_meter *m = sl_meter(slot);

	if (!m)
		return;
	if (inbound)
		m->rx_denied++;
	else
		m->tx_denied++;
}
#endif

/* Programs of a cgroup are preempted: another of this CPU may add meanwhile. */
static __always_inline void sl_meter_packet(const struct __sk_buff *skb, __u32 slot, bool inbound,
					    bool passed)
{
	struct sl_meter *m = sl_meter(slot);

	if (!m)
		return;
	if (!passed)
		__sync_fetch_and_add(inbound ? &m->rx_denied : &m->tx_denied, 1);
	if (!passed && inbound)
		return;
	__sync_fetch_and_add(inbound ? &m->rx_frames : &m->tx_frames, 1);
	__sync_fetch_and_add(inbound ? &m->rx_bytes : &m->tx_bytes, skb->len);
}

#endif
