/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A source that is not the workload's, where no list of its addresses is given: of a pod or a
 * container, which may have networks behind it. The host knows by its routes who has an
 * address. Linux' own reverse path filter is IPv4's alone, does not see what a bridge hands
 * on, and is off on many hosts. Asked once a flow.
 */
#ifndef SLUICE_ROUTED_BPF_H
#define SLUICE_ROUTED_BPF_H

#include "link.bpf.h"

enum { SL_AF_INET = 2, SL_AF_INET6 = 10 };

static __always_inline void sl_route_query(const struct sl_flow *f, struct bpf_fib_lookup *q)
{
	__be64 *from = (__be64 *)q->ipv6_src, *to = (__be64 *)q->ipv6_dst;

	if (f->family == 4) {
		q->family = SL_AF_INET;
		q->ipv4_src = bpf_htonl((__u32)f->destination_low);
		q->ipv4_dst = bpf_htonl((__u32)f->source_low);
		return;
	}
	q->family = SL_AF_INET6;
	from[0] = bpf_cpu_to_be64(f->destination_high);
	from[1] = bpf_cpu_to_be64(f->destination_low);
	to[0] = bpf_cpu_to_be64(f->source_high);
	to[1] = bpf_cpu_to_be64(f->source_low);
}

/*
 * Does the way back to the source lead over the interface that the workload is on? Link-local
 * addresses have no route that says so. A host that forwards nothing from there has no
 * answer, and hands nothing to another interface. Not static: verified once, and
 * off the hook's stack.
 */
__noinline int sl_source_is_routed(struct __sk_buff *skb, const struct sl_packet *p)
{
	struct bpf_fib_lookup q = {};
	__u64 head, section;
	const struct sl_flow *f;
	long answer;

	if (!p || !sl_binding(&p->subject, &head, &section))
		return 0;
	f = &p->flow;
	if (!(head & (f->family == 4 ? SL_B_ROUTED4 : SL_B_ROUTED6)) ||
	    (f->family == 6 && sl_is_link_local(f->source_high)))
		return 1;
	q.ifindex = (__u32)head;
	sl_route_query(f, &q);
	answer = bpf_fib_lookup(skb, &q, sizeof(q), 0);
	if (answer == BPF_FIB_LKUP_RET_FWD_DISABLED)
		return 1;
	return (answer == BPF_FIB_LKUP_RET_SUCCESS || answer == BPF_FIB_LKUP_RET_NO_NEIGH ||
		answer == BPF_FIB_LKUP_RET_FRAG_NEEDED) && q.ifindex == (__u32)head;
}

#endif
