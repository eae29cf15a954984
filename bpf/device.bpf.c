// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The programs of network devices: a guest's tap, the host's end of a container's
 * veth. They decide alone; there is no other hook on the way. docs/devices.md says
 * what a frame goes through.
 *
 * One object for all devices of a network namespace: the target is found by the
 * device that the frame is on. A device without a target passes nothing.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SL_ON_DEVICE 1
#define SL_NAMES 1

/* tcx and clsact share the numbers (linux/pkt_cls.h). */
#define SL_TC_NEXT (-1)		/* whoever comes behind us decides too */
#define SL_TC_DROP 2

#include "packet_hook.bpf.h"
#include "sni.bpf.h"
#include "link.bpf.h"
#include "meter.bpf.h"
#include "sum.bpf.h"
#include "dhcp.bpf.h"
#include "nd.bpf.h"
#include "router.bpf.h"
#include "routed.bpf.h"
#include "refuse.bpf.h"
#include "known.bpf.h"
#include "device_of.bpf.h"

/* A frame that came from the workload, or passes to it; or one that is denied. Not static: off the
 * hook's stack. */
__noinline int sl_meter_long(const struct sl_subject *s, bool inbound, bool denied, __u32 bytes)
{
	if (!s)
		return 0;
	if (denied)
		sl_meter_denied(s->slot, inbound);
	else
		sl_meter_frame(s->slot, inbound, bytes);
	return 0;
}

/* The steps that are about an IP packet but not a flow: SL_GO_ON, SL_PASSES, or the
 * reason of a denial. A later fragment has no ports to look at. */
__noinline int sl_judge_services(struct __sk_buff *skb, const struct sl_packet *p)
{
	const struct sl_flow *f;
	int answer = SL_GO_ON;

	if (!p)
		return SL_REASON_MALFORMED;
	f = &p->flow;

	if (f->protocol == IPPROTO_UDP && f->has_ports && sl_may_be_dhcp(f))
		answer = sl_judge_dhcp(skb, p);
	else if (f->protocol == SL_PROTO_ICMPV6)
		answer = sl_judge_nd(skb, p);
	if (answer != SL_GO_ON)
		return answer;
	if (!f->inbound && sl_is_routers(skb, f))
		return SL_REASON_ROGUE_RA;
	if (!f->inbound && !sl_is_bound(&p->subject, f->family, f->source_high, f->source_low))
		return SL_REASON_ADDRESS_BINDING;
	if (f->protocol == IPPROTO_TCP && f->has_ports &&
	    (!(f->tcp_flags & (SL_TCP_SYN | SL_TCP_ACK | SL_TCP_RST)) ||
	     ((f->tcp_flags & SL_TCP_SYN) && (f->tcp_flags & (SL_TCP_FIN | SL_TCP_RST)))))
		return SL_REASON_TCP_FLAGS;
	return SL_GO_ON;
}

/* Everything before the flow: SL_GO_ON, SL_PASSES, or the reason of a denial. */
static __always_inline int sl_judge_frame(struct __sk_buff *skb, struct sl_packet *p)
{
	int answer = sl_judge_link(skb, p), sum;

	/* functions of their own keep the hook's frame of the stack small (6.1) */
	if (answer != SL_GO_ON)
		return answer;
	sum = p->flow.inbound ? SL_NO_SUM : sl_sum_place(skb);
	if (p->link.ethertype == SL_ETHERTYPE_ARP)
		return sum == SL_NO_SUM ? sl_judge_arp(skb, p) : SL_REASON_MALFORMED;
	answer = sl_parse_packet(skb, p, SL_ETHERNET_SIZE);
	if (answer != SL_PARSED)
		return answer;
	if (sum != SL_NO_SUM && !sl_sum_is_harmless(&p->flow, sum))
		return SL_REASON_MALFORMED;
	return sl_judge_services(skb, p);
}

static __always_inline int sl_judge_device(struct __sk_buff *skb, struct sl_packet *p, bool inbound)
{
	int answer = sl_judge_frame(skb, p), verdict;

	if (answer == SL_PASSES)
		return SL_PASS;
	verdict = answer == SL_GO_ON ? sl_judge_fragments(skb, p) : sl_deny_shape(skb, p, answer);
	if (verdict == SL_PASS)
		verdict = sl_judge_dns(skb, p, inbound);
	if (verdict == SL_PASS)
		verdict = sl_judge_sni(skb, p, inbound);
	return verdict == SL_PASS ? sl_shape(skb, p, inbound) : verdict;
}

static __always_inline int sl_device_hook(struct __sk_buff *skb, bool inbound, __u8 hook)
{
	__u32 bytes = skb->len;
	struct sl_packet p;

	__builtin_memset(&p.subject, 0, sizeof(p.subject));
	if (!sl_device_subject(skb, &p.subject))
		return SL_TC_DROP;
	if (sl_passes_as_known(skb, &p.subject, inbound))
		return SL_TC_NEXT;
	sl_packet_begin(&p, inbound, hook);
	if (!inbound)
		sl_meter_long(&p.subject, inbound, false, bytes);
	if (sl_judge_device(skb, &p, inbound) == SL_PASS) {
		if (inbound)
			sl_meter_long(&p.subject, inbound, false, bytes);
		return SL_TC_NEXT;
	}
	sl_uncarry(&p.flow, p.subject.slot, bytes);
	sl_meter_long(&p.subject, inbound, true, bytes);
	return inbound ? SL_TC_DROP : sl_refuse(skb, &p);
}

/* Our own refusal on its way back is not judged, but the device counts it. */
static __always_inline int sl_pass_refusal(struct __sk_buff *skb)
{
	struct sl_packet p = {};

	skb->mark = 0;
	if (sl_device_subject(skb, &p.subject))
		sl_meter_long(&p.subject, true, false, skb->len);
	return SL_TC_NEXT;
}

SEC("tc")
int sluice_from_workload(struct __sk_buff *skb)
{
	return sl_device_hook(skb, false, SL_HOOK_TC_INGRESS);
}

SEC("tc")
int sluice_to_workload(struct __sk_buff *skb)
{
	if (sl_mark && skb->mark == sl_mark)
		return sl_pass_refusal(skb);
	return sl_device_hook(skb, true, SL_HOOK_TC_EGRESS);
}

char _license[] SEC("license") = "Dual BSD/GPL";
