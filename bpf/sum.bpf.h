/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A checksum that the sender leaves to the network card (CHECKSUM_PARTIAL). Where it
 * is to be stored the sender says too, in the virtio-net header of a tap or by
 * PACKET_VNET_HDR in a container, and the kernel believes any place within the frame.
 * If the card behind does not sum by itself, the kernel does, after we have judged:
 * 16 bits of an address, a port, an ARP sender become what the sender likes.
 */
#ifndef SLUICE_SUM_BPF_H
#define SLUICE_SUM_BPF_H

#include <vmlinux.h>
#include <bpf/bpf_core_read.h>

#include "packet.bpf.h"

/* The context as what it is (6.2). */
extern void *bpf_cast_to_kern_ctx(void *context) __ksym __weak;

/* Asked by what came with tcx (6.6). */
static __always_inline bool sl_is_kernel_context(void)
{
	return bpf_core_field_exists(struct net_device, tcx_ingress);
}

#define SL_CHECKSUM_PARTIAL 3	/* include/linux/skbuff.h */
#define SL_NO_SUM (-1)

/* The offset in the frame where the sum will be stored, or SL_NO_SUM. At tc ingress the
 * context is the sk_buff, and its data begins at the MAC header. csum_start and csum_offset
 * are the two halves of one word of it (csum), in every kernel. */
__noinline int sl_sum_place(struct __sk_buff *context)
{
	struct sk_buff *skb = (struct sk_buff *)context;
	struct {
		__u16 start, offset;
	} sum = {};

	if (BPF_CORE_READ_BITFIELD_PROBED(skb, ip_summed) != SL_CHECKSUM_PARTIAL)
		return SL_NO_SUM;
	bpf_core_read(&sum, sizeof(sum), &skb->csum_start);
	return (int)sum.start - (int)BPF_CORE_READ(skb, mac_header) + (int)sum.offset;
}

/* The same without a call, where the context can be read as what it is. */
static __always_inline int sl_sum_at(struct __sk_buff *context)
{
	struct sk_buff *skb;

	if (!sl_is_kernel_context())
		return sl_sum_place(context);
	skb = bpf_cast_to_kern_ctx(context);
	if (BPF_CORE_READ_BITFIELD(skb, ip_summed) != SL_CHECKSUM_PARTIAL)
		return SL_NO_SUM;
	return (int)skb->csum_start - (int)skb->mac_header + (int)skb->csum_offset;
}

/* What we read of a datagram's payload must stay as it was read. */
static __always_inline bool sl_reads_payload(const struct sl_flow *f)
{
	return f->destination_port == 53 || f->destination_port == 67 ||
	       f->destination_port == 547;
}

/*
 * Does a sum that is stored there leave alone what was judged? It may stand in the
 * transport's own field, or behind what we read: in a packet within a tunnel's. Behind TCP's
 * header are a server's name and options, and no tunnel's packets. The kernel leaves neither
 * ICMP's nor IGMP's nor a fragment's to the card.
 */
static __always_inline bool sl_sum_is_harmless(const struct sl_flow *f, int place)
{
	int field, behind = (int)f->at;

	switch (f->protocol) {
	case IPPROTO_TCP:
		return !f->fragment && place == behind + 16;
	case IPPROTO_UDP:
		field = 6;
		break;
	case IPPROTO_SCTP:
		field = 8;
		break;
	default:
		return !f->fragment && f->protocol != IPPROTO_ICMP &&
		       f->protocol != IPPROTO_IGMP && f->protocol != SL_PROTO_ICMPV6 &&
		       place >= behind;
	}
	return !f->fragment && (place == behind + field ||
				(place >= behind + field + 2 && !sl_reads_payload(f)));
}

#endif
