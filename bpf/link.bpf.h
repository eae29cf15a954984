/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The Ethernet frame: who sent it, VLAN tags, what it carries; ARP. Steps 1 to 5
 * of docs/devices.md. A step answers SL_GO_ON, SL_PASSES (the frame passes as it
 * is), or the enum sl_reason that denies it.
 */
#ifndef SLUICE_LINK_BPF_H
#define SLUICE_LINK_BPF_H

#include <bpf/bpf_endian.h>

#include "packet_hook.bpf.h"

enum { SL_GO_ON = -1, SL_PASSES = -2 };

#define SL_ETHERNET_SIZE 14
#define SL_ETHERTYPE_ARP 0x0806
#define SL_ETHERTYPE_VLAN 0x8100	/* 802.1Q */
#define SL_ETHERTYPE_QINQ 0x88a8	/* 802.1ad */
#define SL_VID_MASK 0x0fff

struct sl_ethernet {
	__u8 destination[6], source[6];
	__be16 type;
};

/* RFC 826, for Ethernet and IPv4. */
struct sl_arp {
	__be16 hardware, protocol;
	__u8 hardware_size, protocol_size;
	__be16 operation;
	__u8 sender_mac[6];
	__be16 sender_ip[2];
	__u8 target_mac[6];
	__be16 target_ip[2];
};

enum { SL_ARP_REQUEST = 1, SL_ARP_REPLY = 2 };

/* fe80::/10, of an address's upper half */
static __always_inline bool sl_is_link_local(__u64 high)
{
	return high >> 54 == 0xfe80 >> 6;
}

static __always_inline __u64 sl_mac(const __u8 m[6])
{
	return (__u64)m[0] << 40 | (__u64)m[1] << 32 | (__u64)m[2] << 24 | m[3] << 16 | m[4] << 8 |
	       m[5];
}

/* What DHCP said to the workload of this slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);		/* loader */
	__type(key, __u32);
	__type(value, struct sl_lease);
} sl_leases SEC(".maps");

/* The head of the device's binding (enum sl_binding_word), and where it stands. False:
 * the table has none, which denies. */
static __always_inline bool sl_binding(const struct sl_subject *s, __u64 *head, __u64 *section)
{
	sl_table_map table = sl_table_open(s->word);

	return table && sl_table_word(table, SL_H_DEVICE, section) && *section >> 32 &&
	       sl_table_word(table, (__u32)*section + SL_B_MAC, head);
}

static __always_inline bool sl_is_leased(__u32 slot, __u64 address)
{
	struct sl_lease *l = bpf_map_lookup_elem(&sl_leases, &slot);

	return l && l->until_ns > bpf_ktime_get_boot_ns() && l->address == address;
}

/* Does one chunk of the binding hold the address? */
static __always_inline bool sl_chunk_binds(const __u64 *w, __u32 family, __u64 high, __u64 low)
{
	if (family == 4)
		return (low & (__u32)w[SL_B_V4]) == w[SL_B_V4] >> 32 ||
		       (low & (__u32)w[SL_B_V4 + 1]) == w[SL_B_V4 + 1] >> 32;
	return (high & w[SL_B_V6 + 2]) == w[SL_B_V6] && (low & w[SL_B_V6 + 3]) == w[SL_B_V6 + 1];
}

/* Is the address the workload's? The unspecified one is nobody's. Not static:
 * verified once. */
__noinline int sl_is_bound(const struct sl_subject *s, __u32 family, __u64 high, __u64 low)
{
	sl_table_map table;
	const __u64 *w;
	__u64 section;
	bool lease = false;
	__u32 i;

	if (!s || !(high | low))
		return 0;
	table = sl_table_open(s->word);
	if (!table || !sl_table_word(table, SL_H_DEVICE, &section))
		return 0;
	for (i = 0; i < SL_BINDING_CHUNKS_MAX && i < section >> 32; i++) {
		w = sl_table_chunk(table, (__u32)section + i * SL_B_WORDS);
		if (!w)
			return 0;
		if (!i && !(w[SL_B_MAC] & SL_B_HAS_ADDRESSES))
			return 1;
		if (!i)
			lease = w[SL_B_MAC] & SL_B_LEASE;
		if (sl_chunk_binds(w, family, high, low))
			return 1;
	}
	return family == 4 && lease && sl_is_leased(s->slot, low);
}

static __always_inline bool sl_is_tagged(__u16 ethertype)
{
	return ethertype == SL_ETHERTYPE_VLAN || ethertype == SL_ETHERTYPE_QINQ;
}

/* The kernel has taken the outer tag off the frame; one that still stands there is a
 * second one, or one that nobody understood. */
static __always_inline int sl_judge_vlan(struct __sk_buff *skb, const struct sl_subject *s,
					 struct sl_link *link)
{
	sl_table_map table;
	__u64 section, vlans;
	int i;

	link->vlan = skb->vlan_present ? skb->vlan_tci & SL_VID_MASK : SL_VLAN_NONE;
	if (sl_is_tagged(link->ethertype))
		return SL_REASON_VLAN;
	if (!skb->vlan_present)
		return SL_GO_ON;
	if (skb->vlan_proto != bpf_htons(SL_ETHERTYPE_VLAN))
		return SL_REASON_VLAN;
	table = sl_table_open(s->word);
	if (!table || !sl_table_word(table, SL_H_DEVICE, &section) ||
	    !sl_table_word(table, (__u32)section + SL_B_VLANS, &vlans))
		return SL_REASON_VLAN;
	for (i = 0; i < 4; i++, vlans >>= 16)
		if ((vlans & 0xffff) == link->vlan)
			return SL_GO_ON;
	return SL_REASON_VLAN;
}

static __always_inline int sl_judge_mac(const struct sl_packet *p, __u64 head)
{
	const struct sl_flow *f = &p->flow;
	const __u8 *mac = f->inbound ? p->link.destination : p->link.source;
	bool differs = (head & SL_B_HAS_MAC) && sl_mac(mac) != (head & SL_B_MAC_MASK);

	if (f->inbound)
		return differs && !f->group ? SL_REASON_STRAY : SL_GO_ON;
	if (differs)
		return SL_REASON_MAC_BINDING;
	return mac[0] & 1 ? SL_REASON_MALFORMED : SL_GO_ON;
}

/* Steps 1 to 4. Not static: verified once, and off the hook's stack. */
__noinline int sl_judge_link(struct __sk_buff *skb, struct sl_packet *p)
{
	struct sl_ethernet e;
	struct sl_link *link;
	__u64 head, section;
	int reason;

	if (!p)
		return SL_REASON_MALFORMED;
	link = &p->link;
	if (bpf_skb_load_bytes(skb, 0, &e, sizeof(e)))
		return SL_REASON_MALFORMED;
	__builtin_memcpy(link->source, e.source, sizeof(link->source));
	__builtin_memcpy(link->destination, e.destination, sizeof(link->destination));
	link->ethertype = bpf_ntohs(e.type);
	p->flow.group = e.destination[0] & 1;
	if (!sl_binding(&p->subject, &head, &section))
		return SL_REASON_NO_POLICY;
	reason = sl_judge_vlan(skb, &p->subject, link);
	/* the same addresses in another VLAN are others' */
	p->flow.netns = link->vlan == SL_VLAN_NONE ? 0 : link->vlan + 1;
	if (reason == SL_GO_ON)
		reason = sl_judge_mac(p, head);
	if (reason != SL_GO_ON)
		return reason;
	switch (link->ethertype) {
	case SL_ETHERTYPE_ARP:
		return SL_GO_ON;
	case SL_ETHERTYPE_IPV4:
	case SL_ETHERTYPE_IPV6:	/* the parser goes by what the kernel takes it for */
		return skb->protocol == e.type ? SL_GO_ON : SL_REASON_MALFORMED;
	}
	return SL_REASON_ETHERTYPE;
}

static __always_inline __u32 sl_arp_ip(const __be16 ip[2])
{
	return (__u32)bpf_ntohs(ip[0]) << 16 | bpf_ntohs(ip[1]);
}

static __always_inline bool sl_arp_is_ours(const struct sl_arp *arp, const struct sl_packet *p)
{
	__u32 sender = sl_arp_ip(arp->sender_ip), target = sl_arp_ip(arp->target_ip);
	bool request = arp->operation == bpf_htons(SL_ARP_REQUEST);

	if (p->flow.inbound)
		return !request || sender == target || sl_is_bound(&p->subject, 4, 0, target);
	/* a probe asks whether an address is free that the workload is about to use */
	return sl_mac(arp->sender_mac) == sl_mac(p->link.source) &&
	       sl_is_bound(&p->subject, 4, 0, request && !sender ? target : sender);
}

#define SL_ARP_END (SL_ETHERNET_SIZE + sizeof(struct sl_arp))
#define SL_ETHERNET_LEAST 60	/* a frame's size, that short ones are padded to */

/* Nothing travels behind it: two workloads that may not talk would. */
static __always_inline bool sl_arp_ends(struct __sk_buff *skb)
{
	__u64 padding[3] = {};
	__u32 size = skb->len - SL_ARP_END;

	if (skb->len == SL_ARP_END)
		return true;
	if (!size || size > SL_ETHERNET_LEAST - SL_ARP_END)
		return false;
	barrier_var(size);
	size = ((size - 1) & 31) + 1;	/* 6.1 wants to see that it is not 0 */
	if (size > sizeof(padding) || bpf_skb_load_bytes(skb, SL_ARP_END, padding, size))
		return false;
	return !(padding[0] | padding[1] | padding[2]);
}

/* Step 5. */
__noinline int sl_judge_arp(struct __sk_buff *skb, const struct sl_packet *p)
{
	struct sl_arp arp;

	if (!p || bpf_skb_load_bytes(skb, SL_ETHERNET_SIZE, &arp, sizeof(arp)) ||
	    arp.hardware != bpf_htons(1) || arp.protocol != bpf_htons(SL_ETHERTYPE_IPV4) ||
	    arp.hardware_size != 6 || arp.protocol_size != 4 ||
	    (arp.operation != bpf_htons(SL_ARP_REQUEST) &&
	     arp.operation != bpf_htons(SL_ARP_REPLY)))
		return SL_REASON_MALFORMED;
	if ((sl_generation_flags(p->subject.word) & SL_F_ARP_DENY) ||
	    (!p->flow.inbound && !sl_arp_ends(skb)))
		return SL_REASON_ARP;
	if (sl_arp_is_ours(&arp, p))
		return SL_PASSES;
	return p->flow.inbound ? SL_REASON_STRAY : SL_REASON_ARP;
}

#endif
