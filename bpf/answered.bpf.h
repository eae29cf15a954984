/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Whom the kernel answers, in a cgroup. A socket may name any source over IPv6 (IPV6_FREEBIND wants
 * no privilege, and may be taken back after the bind). What it sends so to an address of its own
 * namespace the kernel itself answers, to that source: the whole of an echo request, 1,232 bytes of
 * a datagram to a port where nobody listens. Of these answers no hook sees anything: they are no
 * socket's of the cgroup. So such a packet passes only where its answer might be sent by the
 * target itself; or where somebody else reads it, a resolver of this host: an address that the
 * kernel chose, beside the one that is asked, cannot be told from a forged one. (A reader of the
 * target's own could be gone when the packet is there.)
 *
 * Not asked of TCP, whose answer is a RST, without data: connections that are redirected to a
 * port of this host have the source of another way. Nor of IPv4, whose sources are the
 * namespace's own, but with CAP_NET_RAW.
 */
#ifndef SLUICE_ANSWERED_BPF_H
#define SLUICE_ANSWERED_BPF_H

#include "packet_deny.bpf.h"

enum { SL_ICMPV6_UNREACHABLE_PORT = 1 << 8 | 4, SL_ICMPV6_ECHO_REPLY = 129 << 8 };

/* Does it go to the namespace itself in the name of an address that may be another's? */
static __always_inline bool sl_names_a_source(const struct sl_flow *f)
{
	__u64 differs = (f->source_high ^ f->destination_high) |
			(f->source_low ^ f->destination_low);
	__u64 beyond = f->source_high | (f->source_low ^ 1); /* ::1 is nobody else's */

	return !f->inbound && f->family == 6 && f->protocol != IPPROTO_TCP &&
	       (f->local & SL_LOCAL_DEVICE) && differs && beyond;
}

/* Is it a datagram to a socket that is none of the target's? Not static: verified once, and off
 * the hook's stack. */
__noinline int sl_is_read_by_others(struct __sk_buff *skb, const struct sl_packet *p)
{
	const struct sl_flow *f;
	struct bpf_sock_tuple t = {};
	struct sl_target *target;
	struct bpf_sock *sk;
	bool others;

	if (!p || p->flow.protocol != IPPROTO_UDP || p->flow.fragment == SL_FRAGMENT_LATER)
		return 0;
	f = &p->flow;
	target = sl_subject_target(&p->subject);
	if (!target || !target->cgroup_id)
		return 0;
	t.ipv6.saddr[0] = bpf_htonl(f->source_high >> 32);
	t.ipv6.saddr[1] = bpf_htonl((__u32)f->source_high);
	t.ipv6.saddr[2] = bpf_htonl(f->source_low >> 32);
	t.ipv6.saddr[3] = bpf_htonl((__u32)f->source_low);
	t.ipv6.daddr[0] = bpf_htonl(f->destination_high >> 32);
	t.ipv6.daddr[1] = bpf_htonl((__u32)f->destination_high);
	t.ipv6.daddr[2] = bpf_htonl(f->destination_low >> 32);
	t.ipv6.daddr[3] = bpf_htonl((__u32)f->destination_low);
	t.ipv6.sport = bpf_htons(f->source_port);
	t.ipv6.dport = bpf_htons(f->destination_port);
	sk = bpf_sk_lookup_udp(skb, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return 0;
	others = bpf_sk_ancestor_cgroup_id(sk, target->cgroup_level) != target->cgroup_id;
	bpf_sk_release(sk);
	return others;
}

static __always_inline void sl_turn(struct sl_flow *f)
{
	__u64 high = f->source_high, low = f->source_low;

	f->source_high = f->destination_high;
	f->source_low = f->destination_low;
	f->destination_high = high;
	f->destination_low = low;
}

/* The flow as its answer. Not static: off the hook's stack. */
__noinline int sl_show_to_source(struct sl_flow *f)
{
	if (!f)
		return 0;
	sl_turn(f);
	f->scratch = (__u32)f->key << 8 | f->protocol;	/* nobody's yet */
	f->key = f->icmp_query == SL_ICMP_QUERY ? SL_ICMPV6_ECHO_REPLY : SL_ICMPV6_UNREACHABLE_PORT;
	f->protocol = SL_PROTO_ICMPV6;
	return 0;
}

/* And as itself again, with the answer's verdict. */
__noinline int sl_show_to_itself(struct sl_flow *f, const struct sl_answer *a)
{
	if (!f || !a)
		return 0;
	sl_turn(f);
	f->key = f->scratch >> 8;
	f->protocol = (__u8)f->scratch;
	f->scratch = 0;
	f->forged = a->deny;
	return 0;
}

/* Would the policy not let its answer out? f->forged; p->answer is of no use afterwards. The verdict
 * is the hook's call: within another function it would stand too deep (6.1). */
static __always_inline void sl_judge_source(struct __sk_buff *skb, struct sl_packet *p)
{
	if (!sl_names_a_source(&p->flow) || sl_is_read_by_others(skb, p))
		return;
	sl_show_to_source(&p->flow);
	sl_verdict(&p->flow, &p->subject, &p->answer);
#if SL_NAMES
	if (p->answer.flags & SL_F_NAMES)
		sl_names_verdict(&p->flow, &p->subject, &p->answer);
#endif
	sl_show_to_itself(&p->flow, &p->answer);
}

#endif
