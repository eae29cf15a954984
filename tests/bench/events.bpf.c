// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Decisions that are events, as fast as a CPU makes them, for `make bench`: recorded by what
 * records every decision (event.bpf.h), each of the next slot, since a slot's budget is small.
 * Only ever run by BPF_PROG_TEST_RUN.
 */
#define SL_NAMES 0
#define SL_ON_DEVICE 0

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "event.bpf.h"

__u32 events_next, events_slots;

SEC("tc")
int events_record(struct __sk_buff *skb)
{
	struct sl_subject s = {.word = 1ull << SL_WORD_INDEX_BITS};
	struct sl_answer a = {.deny = 1, .rule = 1, .reason = SL_REASON_RULE};
	struct sl_flow f = {.family = 4,
			    .protocol = 6,
			    .has_ports = 1,
			    .has_source = 1,
			    .hook = SL_HOOK_CGROUP_EGRESS};
	__u32 i = events_next++;

	s.slot = i % (events_slots ?: 1);
	f.destination_low = i;
	f.destination_port = f.key = (__u16)i;
	sl_record(&f, &s, &a, NULL, SL_EV_DENY);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
