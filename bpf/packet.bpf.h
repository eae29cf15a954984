/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * From an IP packet to a flow. Every bounds check is here. What cannot be
 * parsed yields the reason of its denial; nothing is guessed.
 * RFC 791, RFC 8200, RFC 792, RFC 4443.
 */
#ifndef SLUICE_PACKET_BPF_H
#define SLUICE_PACKET_BPF_H

#include <bpf/bpf_endian.h>
#include <linux/in.h>

#include "flow.bpf.h"

#define SL_PARSED (-1)		/* else an enum sl_reason */
#define SL_ETHERTYPE_IPV4 0x0800
#define SL_ETHERTYPE_IPV6 0x86dd
#define SL_EXTENSIONS_MAX 6	/* IPv6 extension headers that we walk */

/* Protocol numbers that <linux/in.h> lacks. */
enum { SL_PROTO_HOPOPTS = 0, SL_PROTO_ROUTING = 43, SL_PROTO_FRAGMENT = 44,
       SL_PROTO_ICMPV6 = 58, SL_PROTO_DSTOPTS = 60, SL_PROTO_MOBILITY = 135,
       SL_PROTO_HIP = 139, SL_PROTO_SHIM6 = 140 };

struct sl_ipv4 {
	__u8 version_ihl, tos;
	__be16 length, id, fragment;
	__u8 ttl, protocol;
	__be16 checksum;
	__be32 source, destination;
};

struct sl_ipv6 {
	__be32 version_class_label;
	__be16 payload_length;
	__u8 next_header, hop_limit;
	__be64 source[2], destination[2];
} __attribute__((packed, aligned(4)));

#define SL_ICMP_NO_CLASS 255

/* ICMP queries and their answers share an identifier, and the query's type is
 * their class; errors quote a packet. */
static __always_inline void sl_icmp_kind(struct sl_flow *f, __u8 type)
{
	bool v4 = f->protocol == IPPROTO_ICMP;

	f->icmp_class = SL_ICMP_NO_CLASS;
	if (v4 ? type == 8 || type == 13 || type == 15 || type == 17 : type == 128) {
		f->icmp_query = SL_ICMP_QUERY;
		f->icmp_class = type;
	} else if (v4 ? type == 0 || type == 14 || type == 16 || type == 18 : type == 129) {
		f->icmp_query = SL_ICMP_ANSWER;
		f->icmp_class = type ? type - 1 : 8;
	} else if (v4 ? type == 3 || type == 4 || type == 5 || type == 11 || type == 12 :
			type >= 1 && type <= 4) {
		f->icmp_query = SL_ICMP_ERROR;
	}
}

static __always_inline int sl_parse_transport(struct __sk_buff *skb, __u32 at, struct sl_flow *f)
{
	__u8 head[8];

	switch (f->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
	case IPPROTO_ICMP:
	case SL_PROTO_ICMPV6:
		break;
	default:
		return SL_PARSED;
	}
	if (bpf_skb_load_bytes(skb, at, head, sizeof(head)))
		return SL_REASON_MALFORMED;
	if (f->protocol == IPPROTO_ICMP || f->protocol == SL_PROTO_ICMPV6) {
		f->key = (__u16)head[0] << 8 | head[1];
		sl_icmp_kind(f, head[0]);
		f->icmp_id = (__u16)head[4] << 8 | head[5];
		return SL_PARSED;
	}
	f->source_port = (__u16)head[0] << 8 | head[1];
	f->destination_port = (__u16)head[2] << 8 | head[3];
	f->key = f->destination_port;
	f->has_ports = 1;
	if (f->protocol == IPPROTO_TCP &&
	    bpf_skb_load_bytes(skb, at + 13, &f->tcp_flags, sizeof(f->tcp_flags)))
		return SL_REASON_MALFORMED;
	return SL_PARSED;
}

static __always_inline int sl_parse_ipv4(struct __sk_buff *skb, __u32 at, struct sl_flow *f)
{
	struct sl_ipv4 ip;

	if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)))
		return SL_REASON_MALFORMED;
	f->family = 4;
	f->has_source = 1;
	f->source_low = bpf_ntohl(ip.source);
	f->destination_low = bpf_ntohl(ip.destination);
	f->protocol = ip.protocol;
	if (ip.version_ihl >> 4 != 4 || (ip.version_ihl & 15) < 5)
		return SL_REASON_MALFORMED;
	if ((ip.version_ihl & 15) > 5)
		return SL_REASON_IP_OPTIONS;
	if (ip.fragment & bpf_htons(0x3fff))	/* more fragments, or an offset */
		return SL_REASON_FRAGMENT;
	return sl_parse_transport(skb, at + sizeof(ip), f);
}

/* Walks to the upper-layer header; *at then points to it. */
static __always_inline int sl_walk_extensions(struct __sk_buff *skb, __u32 *at, __u8 *next)
{
	__u8 head[2];
	int i;

	for (i = 0; i < SL_EXTENSIONS_MAX; i++) {
		switch (*next) {
		case SL_PROTO_HOPOPTS:
		case SL_PROTO_DSTOPTS:
			break;
		case SL_PROTO_ROUTING:
			return SL_REASON_ROUTING_HEADER;
		case SL_PROTO_FRAGMENT:
			return SL_REASON_FRAGMENT;
		case SL_PROTO_MOBILITY:
		case SL_PROTO_HIP:
		case SL_PROTO_SHIM6:
			return SL_REASON_EXTENSION_HEADERS;
		default:
			return SL_PARSED;
		}
		if (bpf_skb_load_bytes(skb, *at, head, sizeof(head)))
			return SL_REASON_MALFORMED;
		*next = head[0];
		*at += ((__u32)head[1] + 1) * 8;
	}
	return SL_REASON_EXTENSION_HEADERS;
}

static __always_inline int sl_parse_ipv6(struct __sk_buff *skb, __u32 at, struct sl_flow *f)
{
	struct sl_ipv6 ip;
	int reason;
	__u8 next;

	if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)))
		return SL_REASON_MALFORMED;
	f->family = 6;
	f->has_source = 1;
	f->source_high = bpf_be64_to_cpu(ip.source[0]);
	f->source_low = bpf_be64_to_cpu(ip.source[1]);
	f->destination_high = bpf_be64_to_cpu(ip.destination[0]);
	f->destination_low = bpf_be64_to_cpu(ip.destination[1]);
	if (bpf_ntohl(ip.version_class_label) >> 28 != 6)
		return SL_REASON_MALFORMED;
	next = ip.next_header;
	at += sizeof(ip);
	reason = sl_walk_extensions(skb, &at, &next);
	f->protocol = next;
	if (reason != SL_PARSED)
		return reason;
	return sl_parse_transport(skb, at, f);
}

/* The IP packet at offset `at`: what the kernel sends it as decides how it is
 * read, not what its first byte says. SL_PARSED, or the reason why it is denied;
 * as much of *f as could be read is filled, for the event. Not static: verified
 * once, and what it found does not multiply the caller's paths. */
__noinline int sl_parse_ip(struct __sk_buff *skb, __u32 at, struct sl_flow *f)
{
	if (!f)
		return SL_REASON_MALFORMED;
	if (skb->protocol == bpf_htons(SL_ETHERTYPE_IPV4))
		return sl_parse_ipv4(skb, at, f);
	if (skb->protocol == bpf_htons(SL_ETHERTYPE_IPV6))
		return sl_parse_ipv6(skb, at, f);
	return SL_REASON_MALFORMED;
}

/* Where an ICMP error's quoted packet begins. */
static __always_inline __u32 sl_icmp_quote(__u32 at, const struct sl_flow *f)
{
	if (f->family == 4)
		return at + sizeof(struct sl_ipv4) + 8;
	return at + sizeof(struct sl_ipv6) + 8; /* with extension headers: no match, denied */
}

#endif
