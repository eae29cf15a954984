// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The other end of a veth: its egress, in the namespace of the workload. A frame that an
 * ifb device has handed on is marked (tc_skip_classify), the mark goes over the veth, and
 * the host's end then skips tc, and netfilter's ingress, for it (net/core/dev.c,
 * __netif_receive_skb_core). An ifb device hands on by dev_queue_xmit, whose egress hook
 * does not look at the mark; here such a frame ends. All others go on to be judged at the
 * host's end.
 *
 * A tcx link runs before every queueing discipline and filter of the namespace, and its
 * root cannot take it off: that wants the link's descriptor.
 *
 * An object of its own: only veths need it, and only where there is tcx (6.6).
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SL_ON_DEVICE 1
#define SL_NAMES 1
#define SL_TC_NEXT (-1)
#define SL_TC_DROP 2

#include <vmlinux.h>
#include <bpf/bpf_core_read.h>

#include "link.bpf.h"
#include "meter.bpf.h"
#include "device_of.bpf.h"

#define SL_NETDEV_ALIGN 32	/* include/linux/netdevice.h: netdev_priv */

/* The interface index of a veth's other end, which its private part begins with the address
 * of (drivers/net/veth.c, struct veth_priv); 0: it is not in the namespace whose indexes we know. */
static __always_inline __u32 sl_other_end(struct net_device *dev)
{
	__u32 size = bpf_core_type_size(struct net_device);
	struct net_device *other = NULL;

	size = (size + SL_NETDEV_ALIGN - 1) & -SL_NETDEV_ALIGN;
	if (bpf_probe_read_kernel(&other, sizeof(other), (void *)dev + size) || !other)
		return 0;
	return BPF_CORE_READ(other, nd_net.net, net_cookie) == sl_netns ?
		       BPF_CORE_READ(other, ifindex) : 0;
}

/* What the record shall say of it; that it is no frame we would let pass is no matter. */
static __always_inline void sl_describe(struct __sk_buff *context, struct sl_packet *p)
{
	if (sl_judge_link(context, p) == SL_GO_ON && p->link.ethertype != SL_ETHERTYPE_ARP)
		sl_parse_packet(context, p, SL_ETHERNET_SIZE);
}

/* Of a device that we do not find, it is dropped without a word. */
static __always_inline int sl_end_marked(struct __sk_buff *context, struct net_device *dev)
{
	struct sl_packet p = {};
	struct sl_meter *m;
	bool audit;

	if (!sl_subject_of(sl_other_end(dev), &p.subject))
		return SL_TC_DROP;
	p.flow.hook = SL_HOOK_TC_INGRESS;
	sl_describe(context, &p);
	sl_deny_because(&p, SL_REASON_SKIPS_TC);
	audit = p.answer.flags & SL_F_AUDIT;
	sl_record(&p.flow, &p.subject, &p.answer, &p.link,
		  audit ? SL_EV_AUDIT_DENY : SL_EV_DENY);
	if (audit)
		return SL_TC_NEXT;
	m = sl_meter(p.subject.slot);
	if (m)
		m->tx_denied++;
	return SL_TC_DROP;
}

SEC("tc")
int sluice_peer(struct __sk_buff *context)
{
	struct sk_buff *skb = bpf_cast_to_kern_ctx(context);

	if (!BPF_CORE_READ_BITFIELD(skb, tc_skip_classify))
		return SL_TC_NEXT;
	return sl_end_marked(context, skb->dev);
}

char _license[] SEC("license") = "Dual BSD/GPL";
