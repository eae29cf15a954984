// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Goes through the flows of a target: a tc program that is only ever run by
 * BPF_PROG_TEST_RUN, over the maps of the target's programs. So an entry is read and written under the lock
 * that its packets take, and user space needs not open the inner map, which wants
 * CAP_SYS_ADMIN. No SEC("syscall") program: those sleep, and may take no spin lock.
 */
#define SL_NAMES 1
#define SL_ON_DEVICE 0

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "state.bpf.h"
#include "names.bpf.h"
#include "event.bpf.h"
#include "close.bpf.h"

struct sl_walk {
	struct sl_sweep sweep;
	__u64 now;
};

static __always_inline void sl_sweep_entry(const struct sl_walk *w, struct sl_flow_bucket *b,
					   __u32 place)
{
	struct sl_flow_entry *e = sl_bucket_entry(b, place & (SL_FLOW_WAYS - 1));

	if (!sl_is_added(e) ||
	    (w->sweep.why != SL_SETTLE_RULES && !sl_is_told(e) && sl_end_of(e, w->sweep.why, w->now)))
		sl_flow_settle(w->sweep.slot, place, w->sweep.why);
}

static long sl_sweep_bucket(__u32 at, void *context)
{
	const struct sl_walk *w = context;
	struct sl_flow_bucket *b = sl_bucket_at(w->sweep.slot, at);
	int i;

	for (i = 0; b && i < SL_FLOW_WAYS; i++)
		sl_sweep_entry(w, b, at * SL_FLOW_WAYS + i);
	return 0;
}

SEC("tc")
int sluice_sweep(struct __sk_buff *skb)
{
	struct sl_sweep *asked = (void *)(long)skb->data;
	struct sl_walk w = {.now = bpf_ktime_get_coarse_ns()};
	struct sl_target *t;

	if ((void *)(asked + 1) > (void *)(long)skb->data_end)
		return 0;
	w.sweep = *asked;
	t = bpf_map_lookup_elem(&sl_targets, &w.sweep.slot);
	if (t)
		bpf_loop(t->buckets, sl_sweep_bucket, &w, 0);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
