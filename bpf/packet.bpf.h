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
#define SL_EXTENSIONS_MAX 5	/* IPv6 extension headers that we walk */

#define SL_IPV4_MORE 0x2000	/* of the fragment field */
#define SL_IPV4_OFFSET 0x1fff

/* How a packet is read: as one that is to be judged, or as what an ICMP error
 * quotes, of which the beginning must do (RFC 792: 8 bytes of transport). */
enum sl_parse_kind { SL_PARSE_PACKET, SL_PARSE_QUOTE };

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

struct sl_ipv6_fragment {
	__u8 next_header, reserved;
	__be16 offset_more;
	__be32 id;
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

/* The transport header's fixed part, in bytes; 0: a protocol that has none for us. */
static __always_inline __u32 sl_transport_size(const struct sl_flow *f)
{
	switch (f->protocol) {
	case IPPROTO_TCP:
		return 20;
	case IPPROTO_SCTP:
		return 12;
	case IPPROTO_UDP:
		return 8;
	case IPPROTO_ICMP:
		return f->family == 4 ? 8 : 0;
	case SL_PROTO_ICMPV6:
		return f->family == 6 ? 8 : 0;
	}
	return 0;
}

static __always_inline int sl_parse_tcp(struct __sk_buff *skb, struct sl_flow *f)
{
	__u8 head[2];
	__u32 size;

	if (bpf_skb_load_bytes(skb, f->at + 12, head, sizeof(head)))
		return SL_REASON_MALFORMED;
	f->tcp_flags = head[1];
	size = (head[0] >> 4) * 4;
	return size < 20 || f->at + size > f->end ? SL_REASON_MALFORMED : SL_PARSED;
}

/* Where a UDP datagram ends by its own length, which the parser has held against the
 * packet's; 0 if it cannot be read. */
static __always_inline __u32 sl_udp_end(struct __sk_buff *skb, const struct sl_flow *f)
{
	__u8 length[2];

	if (bpf_skb_load_bytes(skb, f->at + 4, length, sizeof(length)))
		return 0;
	return f->at + ((__u32)length[0] << 8 | length[1]);
}

/* The length of a first fragment's datagram, and of a GSO frame's, lies beyond. */
static __always_inline int sl_parse_udp(struct __sk_buff *skb, struct sl_flow *f, __u32 length)
{
	if (length < 8)
		return SL_REASON_MALFORMED;
	if (f->fragment || skb->gso_size)
		return SL_PARSED;
	return f->at + length > f->end ? SL_REASON_MALFORMED : SL_PARSED;
}

static __always_inline int sl_parse_transport(struct __sk_buff *skb, struct sl_flow *f,
					      enum sl_parse_kind kind)
{
	__u32 size = sl_transport_size(f);
	__u8 head[8];

	if (!size)
		return SL_PARSED;
	if (kind == SL_PARSE_QUOTE)
		size = sizeof(head);
	if (f->at + size > f->end || bpf_skb_load_bytes(skb, f->at, head, sizeof(head)))
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
	if (kind == SL_PARSE_QUOTE)
		return SL_PARSED;
	if (f->protocol == IPPROTO_TCP)
		return sl_parse_tcp(skb, f);
	if (f->protocol == IPPROTO_UDP)
		return sl_parse_udp(skb, f, (__u32)head[4] << 8 | head[5]);
	return SL_PARSED;
}

/* What stands behind the IP header, of a fragment too. A first fragment decides
 * for the others, so its transport header must be whole (RFC 1858, RFC 7112). */
static __always_inline int sl_parse_payload(struct __sk_buff *skb, struct sl_flow *f,
					    enum sl_parse_kind kind)
{
	int reason;

	if (f->fragment == SL_FRAGMENT_LATER)
		return SL_PARSED;
	reason = sl_parse_transport(skb, f, kind);
	if (f->fragment == SL_FRAGMENT_FIRST &&
	    (reason != SL_PARSED || ((f->end - f->at) & 7)))
		return SL_REASON_FRAGMENT;
	return reason;
}

/* Where the packet ends: its own length must not pass the frame's. A GSO frame may
 * be longer than the field can say (BIG TCP); a quote is shorter than it says. */
static __always_inline bool sl_packet_ends(struct __sk_buff *skb, struct sl_flow *f, __u32 at,
					   __u32 length, enum sl_parse_kind kind)
{
	if (kind == SL_PARSE_QUOTE)	/* f->end is that of the error */
		return at + (f->family == 4 ? sizeof(struct sl_ipv4) : sizeof(struct sl_ipv6)) <=
		       f->end;
	f->end = skb->len;
	if (skb->gso_size)
		return true;
	f->end = at + length;
	return f->end <= skb->len;
}

static __always_inline int sl_parse_ipv4(struct __sk_buff *skb, __u32 at, struct sl_flow *f,
					 enum sl_parse_kind kind)
{
	__u32 length, fragment;
	struct sl_ipv4 ip;

	if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)))
		return SL_REASON_MALFORMED;
	f->family = 4;
	f->has_source = 1;
	f->source_low = bpf_ntohl(ip.source);
	f->destination_low = bpf_ntohl(ip.destination);
	f->protocol = ip.protocol;
	f->hop_limit = ip.ttl;
	length = bpf_ntohs(ip.length);
	if (ip.version_ihl >> 4 != 4 || (ip.version_ihl & 15) < 5 ||
	    (length < sizeof(ip) && !skb->gso_size && kind != SL_PARSE_QUOTE) || !sl_packet_ends(skb, f, at, length, kind))
		return SL_REASON_MALFORMED;
	if ((ip.version_ihl & 15) > 5)
		return SL_REASON_IP_OPTIONS;
	f->at = at + sizeof(ip);
	fragment = bpf_ntohs(ip.fragment);
	if (fragment & (SL_IPV4_MORE | SL_IPV4_OFFSET)) {
		if (!f->take_fragments)
			return SL_REASON_FRAGMENT;
		f->fragment_id = bpf_ntohs(ip.id);
		f->fragment_begin = (fragment & SL_IPV4_OFFSET) * 8;
		f->fragment = f->fragment_begin ? SL_FRAGMENT_LATER : SL_FRAGMENT_FIRST;
		f->more = !!(fragment & SL_IPV4_MORE);
	}
	return sl_parse_payload(skb, f, kind);
}

static __always_inline bool sl_is_extension(__u8 next)
{
	switch (next) {
	case SL_PROTO_HOPOPTS:
	case SL_PROTO_DSTOPTS:
	case SL_PROTO_ROUTING:
	case SL_PROTO_FRAGMENT:
	case SL_PROTO_MOBILITY:
	case SL_PROTO_HIP:
	case SL_PROTO_SHIM6:
		return true;
	}
	return false;
}

/* A fragment header at f->at. An atomic fragment (RFC 6946) is walked over; of the
 * others the next header is the transport. */
static __always_inline int sl_parse_fragment6(struct __sk_buff *skb, struct sl_flow *f)
{
	struct sl_ipv6_fragment head;
	__u32 offset_more;

	if (!f->take_fragments)
		return SL_REASON_FRAGMENT;
	if (f->at + sizeof(head) > f->end || bpf_skb_load_bytes(skb, f->at, &head, sizeof(head)))
		return SL_REASON_MALFORMED;
	f->at += sizeof(head);
	f->protocol = head.next_header;
	offset_more = bpf_ntohs(head.offset_more);
	if (!(offset_more & 0xfff9))
		return SL_PARSED;
	f->fragment_id = bpf_ntohl(head.id);
	f->fragment_begin = offset_more & 0xfff8;
	f->fragment = f->fragment_begin ? SL_FRAGMENT_LATER : SL_FRAGMENT_FIRST;
	f->more = offset_more & 1;
	return f->fragment == SL_FRAGMENT_FIRST && sl_is_extension(f->protocol) ?
		       SL_REASON_FRAGMENT : SL_PARSED;
}

/* One extension header of as many as are walked: the next is SL_WALK_ON, the upper-layer
 * header SL_PARSED. Not static: verified once, and not for each header. */
#define SL_WALK_ON 255		/* no reason, and not SL_PARSED */

__noinline int sl_walk_extension(struct __sk_buff *skb, struct sl_flow *f, bool last)
{
	__u8 head[2];
	int reason;

	if (!f)
		return SL_REASON_MALFORMED;
	switch (f->protocol) {
	case SL_PROTO_HOPOPTS:
	case SL_PROTO_DSTOPTS:
		if (last)
			return SL_REASON_EXTENSION_HEADERS;
		break;
	case SL_PROTO_ROUTING:
		return SL_REASON_ROUTING_HEADER;
	case SL_PROTO_FRAGMENT:
		f->extended = 1;
		reason = sl_parse_fragment6(skb, f);
		return reason != SL_PARSED || f->fragment ? reason : SL_WALK_ON;
	case SL_PROTO_MOBILITY:
	case SL_PROTO_HIP:
	case SL_PROTO_SHIM6:
		return SL_REASON_EXTENSION_HEADERS;
	default:
		return SL_PARSED;
	}
	f->extended = 1;
	if (bpf_skb_load_bytes(skb, f->at, head, sizeof(head)))
		return SL_REASON_MALFORMED;
	f->protocol = head[0];
	f->at += ((__u32)head[1] + 1) * 8;
	return f->at > f->end ? SL_REASON_MALFORMED : SL_WALK_ON;
}

/* Walks f->at and f->protocol to the upper-layer header. */
static __always_inline int sl_walk_extensions(struct __sk_buff *skb, struct sl_flow *f)
{
	int i, reason;

	if (!sl_is_extension(f->protocol))
		return SL_PARSED;
	for (i = 0; i <= SL_EXTENSIONS_MAX; i++) {
		reason = sl_walk_extension(skb, f, i == SL_EXTENSIONS_MAX);
		if (reason != SL_WALK_ON)
			return reason;
	}
	return SL_REASON_EXTENSION_HEADERS;
}

static __always_inline int sl_parse_ipv6(struct __sk_buff *skb, __u32 at, struct sl_flow *f,
					 enum sl_parse_kind kind)
{
	struct sl_ipv6 ip;
	int reason;

	if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)))
		return SL_REASON_MALFORMED;
	f->family = 6;
	f->has_source = 1;
	f->source_high = bpf_be64_to_cpu(ip.source[0]);
	f->source_low = bpf_be64_to_cpu(ip.source[1]);
	f->destination_high = bpf_be64_to_cpu(ip.destination[0]);
	f->destination_low = bpf_be64_to_cpu(ip.destination[1]);
	f->hop_limit = ip.hop_limit;
	f->protocol = ip.next_header;
	if (bpf_ntohl(ip.version_class_label) >> 28 != 6 ||
	    !sl_packet_ends(skb, f, at, sizeof(ip) + bpf_ntohs(ip.payload_length), kind))
		return SL_REASON_MALFORMED;
	f->at = at + sizeof(ip);
	reason = sl_walk_extensions(skb, f);
	return reason != SL_PARSED ? reason : sl_parse_payload(skb, f, kind);
}

/* The IP packet at offset `at`: what the kernel sends it as decides how it is
 * read, not what its first byte says. SL_PARSED, or the reason why it is denied;
 * as much of *f as could be read is filled, for the event. Not static: verified
 * once, and what it found does not multiply the caller's paths. */
__noinline int sl_parse_ip(struct __sk_buff *skb, __u32 at, struct sl_flow *f, int kind)
{
	if (!f)
		return SL_REASON_MALFORMED;
	if (skb->protocol == bpf_htons(SL_ETHERTYPE_IPV4))
		return sl_parse_ipv4(skb, at, f, kind);
	if (skb->protocol == bpf_htons(SL_ETHERTYPE_IPV6))
		return sl_parse_ipv6(skb, at, f, kind);
	return SL_REASON_MALFORMED;
}

#endif
