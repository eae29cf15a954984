// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The verdict alone, for the oracle: a tc program that is only ever run by
 * BPF_PROG_TEST_RUN. The packet is a struct sl_judge_packet: flow and subject
 * in, answer out. It shares every line of the verdict with the real hooks.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "verdict.bpf.h"
#include "judge.h"

SEC("tc")
int sluice_judge(struct __sk_buff *skb)
{
	struct sl_judge_packet *p = (void *)(long)skb->data;
	struct sl_subject s;
	struct sl_answer a = {};
	struct sl_flow f;

	if ((void *)(p + 1) > (void *)(long)skb->data_end)
		return -1;
	__builtin_memcpy(&f, &p->flow, sizeof(f));
	__builtin_memcpy(&s, &p->subject, sizeof(s));
	sl_verdict(&f, &s, &a);
	p = (void *)(long)skb->data;
	if ((void *)(p + 1) > (void *)(long)skb->data_end)
		return -1;
	__builtin_memcpy(&p->answer, &a, sizeof(a));
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
