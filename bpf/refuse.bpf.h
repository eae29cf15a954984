/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A refusal that the workload feels: its denied frame, rewritten in place into a TCP
 * RST (RFC 9293, 3.10.7.1) or an ICMP error "administratively prohibited" (RFC 1812
 * 5.2.7.1, RFC 4443 3.1), goes back out of the device it came from. What cannot be
 * rewritten is dropped.
 *
 * The frame may be marked CHECKSUM_PARTIAL: then somebody behind us sums the bytes from
 * the old transport header on into the old checksum field, or nobody does. For TCP the
 * field stays where it was and holds what is asked of it. For UDP it falls into ICMP's
 * unused word, which is 0 and an ICMP message that is right without it stays right:
 * the sum of all the rest is 0xffff, so what is written there is 0 or 0xffff. ICMPv6's
 * sum has the pseudo header in it, which that somebody does not see: it stands once more
 * behind the packet, where he sums it and nobody else looks.
 */
#ifndef SLUICE_REFUSE_BPF_H
#define SLUICE_REFUSE_BPF_H

#include "link.bpf.h"
#include "sum.bpf.h"

const volatile __u32 sl_mark = 0;	/* random; of our own refusals on their way back */

#define SL_TCP_CHECKSUM 16		/* offset in the header */
#define SL_REFUSAL_HOPS 64
#define SL_ICMP_UNREACHABLE 3
#define SL_ICMP_PROHIBITED 13		/* code: communication administratively prohibited */
#define SL_ICMPV6_UNREACHABLE 1
#define SL_ICMPV6_PROHIBITED 1
#define SL_QUOTED 8			/* bytes of transport that an error quotes */

struct sl_tcp {
	__be16 source, destination;
	__be32 sequence, acknowledged;
	__u8 offset, flags;
	__be16 window, checksum, urgent;
};

struct sl_icmp {
	__u8 type, code;
	__be16 checksum;
	__be32 unused;
};

struct sl_rst4 {
	struct sl_ipv4 ip;
	struct sl_tcp tcp;
};

struct sl_rst6 {
	struct sl_ipv6 ip;
	struct sl_tcp tcp;
};

struct sl_error4 {
	struct sl_ipv4 ip;
	struct sl_icmp icmp;
	struct sl_ipv4 quoted;
	__u8 payload[SL_QUOTED];
};

struct sl_error6 {
	struct sl_ipv6 ip;
	struct sl_icmp icmp;
	struct sl_ipv6 quoted;
	__u8 payload[SL_QUOTED];
	__u16 trailer[2];	/* behind the packet, if it is partial: the pseudo header's sum */
};

static __always_inline __u16 sl_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

static __always_inline __u64 sl_sum(const void *data, __u32 size, __u64 sum)
{
	return bpf_csum_diff(NULL, 0, (__be32 *)data, size, (__u32)sum);
}

/* Is the transport checksum left to somebody behind us? Such a frame's field holds
 * the pseudo header's sum, which the kernel leaves alone when other bytes change. */
static __always_inline bool sl_is_partial(struct __sk_buff *skb, __u32 field)
{
	__u16 before, after;

	if (bpf_skb_load_bytes(skb, field, &before, sizeof(before)) ||
	    bpf_l4_csum_replace(skb, field, 0, 1, sizeof(before)) ||
	    bpf_skb_load_bytes(skb, field, &after, sizeof(after)))
		return false;
	return before == after;
}

/* The reset that answers a segment: RFC 9293, 3.10.7.1. */
static __always_inline int sl_reset_of(struct __sk_buff *skb, const struct sl_flow *f,
				       struct sl_tcp *out)
{
	struct sl_tcp in;
	__u32 size;

	if (bpf_skb_load_bytes(skb, f->at, &in, sizeof(in)))
		return -1;
	out->source = in.destination;
	out->destination = in.source;
	out->offset = 5 << 4;
	out->flags = SL_TCP_RST;
	if (in.flags & SL_TCP_ACK) {
		out->sequence = in.acknowledged;
		return 0;
	}
	size = f->end - f->at - (in.offset >> 4) * 4;
	if (in.flags & SL_TCP_SYN)
		size++;
	if (in.flags & SL_TCP_FIN)
		size++;
	out->flags |= SL_TCP_ACK;
	out->acknowledged = bpf_htonl(bpf_ntohl(in.sequence) + size);
	return 0;
}

/* In the field: the checksum; of a partial frame the pseudo header's sum. */
static __always_inline void sl_tcp_sum(struct sl_tcp *tcp, __u64 pseudo, bool partial)
{
	pseudo += bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(*tcp));
	pseudo = sl_fold(pseudo);
	tcp->checksum = partial ? (__u16)pseudo : (__u16)~sl_fold(sl_sum(tcp, sizeof(*tcp), pseudo));
}

static __always_inline void sl_ipv4_back(struct sl_ipv4 *ip, const struct sl_flow *f, __u8 protocol,
					 __u32 size)
{
	ip->version_ihl = 0x45;
	ip->length = bpf_htons(size);
	ip->fragment = bpf_htons(0x4000);	/* do not fragment */
	ip->ttl = SL_REFUSAL_HOPS;
	ip->protocol = protocol;
	ip->source = bpf_htonl((__u32)f->destination_low);
	ip->destination = bpf_htonl((__u32)f->source_low);
	ip->checksum = ~sl_fold(sl_sum(ip, sizeof(*ip), 0));
}

static __always_inline void sl_ipv6_back(struct sl_ipv6 *ip, const struct sl_flow *f, __u8 protocol,
					 __u32 size)
{
	ip->version_class_label = bpf_htonl(6u << 28);
	ip->payload_length = bpf_htons(size - sizeof(*ip));
	ip->next_header = protocol;
	ip->hop_limit = SL_REFUSAL_HOPS;
	ip->source[0] = bpf_cpu_to_be64(f->destination_high);
	ip->source[1] = bpf_cpu_to_be64(f->destination_low);
	ip->destination[0] = bpf_cpu_to_be64(f->source_high);
	ip->destination[1] = bpf_cpu_to_be64(f->source_low);
}

/* The frame becomes Ethernet header and packet, back to where it came from. */
static __always_inline int sl_rewrite(struct __sk_buff *skb, const struct sl_link *link,
				      const void *packet, __u32 size)
{
	struct sl_ethernet e = {.type = bpf_htons(link->ethertype)};

	__builtin_memcpy(e.destination, link->source, sizeof(e.destination));
	__builtin_memcpy(e.source, link->destination, sizeof(e.source));
	return bpf_skb_change_tail(skb, sizeof(e) + size, 0) ||
	       bpf_skb_store_bytes(skb, 0, &e, sizeof(e), 0) ||
	       bpf_skb_store_bytes(skb, sizeof(e), packet, size, 0) ? -1 : 0;
}

static __always_inline int sl_reset4(struct __sk_buff *skb, const struct sl_packet *p)
{
	const struct sl_flow *f = &p->flow;
	bool partial = sl_is_partial(skb, f->at + SL_TCP_CHECKSUM);
	struct sl_rst4 r = {};

	if (sl_reset_of(skb, f, &r.tcp))
		return -1;
	sl_ipv4_back(&r.ip, f, IPPROTO_TCP, sizeof(r));
	sl_tcp_sum(&r.tcp, sl_sum(&r.ip.source, 8, 0), partial);
	return sl_rewrite(skb, &p->link, &r, sizeof(r));
}

static __always_inline int sl_reset6(struct __sk_buff *skb, const struct sl_packet *p)
{
	const struct sl_flow *f = &p->flow;
	bool partial = sl_is_partial(skb, f->at + SL_TCP_CHECKSUM);
	struct sl_rst6 r = {};

	if (sl_reset_of(skb, f, &r.tcp))
		return -1;
	sl_ipv6_back(&r.ip, f, IPPROTO_TCP, sizeof(r));
	sl_tcp_sum(&r.tcp, sl_sum(&r.ip.source, 32, 0), partial);
	return sl_rewrite(skb, &p->link, &r, sizeof(r));
}

static __always_inline int sl_error4(struct __sk_buff *skb, const struct sl_packet *p)
{
	const struct sl_flow *f = &p->flow;
	__u32 size = sizeof(struct sl_error4);
	struct sl_error4 r = {};

	if (bpf_skb_load_bytes(skb, SL_ETHERNET_SIZE, &r.quoted, sizeof(r.quoted)))
		return -1;
	if (bpf_skb_load_bytes(skb, f->at, r.payload, sizeof(r.payload))) {
		__builtin_memset(r.payload, 0, sizeof(r.payload));
		size -= sizeof(r.payload);	/* a packet that has no more */
	}
	r.icmp.type = SL_ICMP_UNREACHABLE;
	r.icmp.code = SL_ICMP_PROHIBITED;
	r.icmp.checksum = ~sl_fold(sl_sum(&r.icmp, sizeof(r) - sizeof(r.ip), 0));
	sl_ipv4_back(&r.ip, f, IPPROTO_ICMP, size);
	return size == sizeof(r) ? sl_rewrite(skb, &p->link, &r, sizeof(r)) :
				   sl_rewrite(skb, &p->link, &r, sizeof(r) - sizeof(r.payload));
}

/* Extension headers are quoted as the 8 bytes that they begin with. */
static __always_inline int sl_error6(struct __sk_buff *skb, const struct sl_packet *p)
{
	const struct sl_flow *f = &p->flow;
	__u32 size = offsetof(struct sl_error6, trailer);
	struct sl_error6 r = {};
	__u64 sum;

	if (bpf_skb_load_bytes(skb, SL_ETHERNET_SIZE, &r.quoted, sizeof(r.quoted)))
		return -1;
	if (bpf_skb_load_bytes(skb, SL_ETHERNET_SIZE + sizeof(r.quoted), r.payload,
			       sizeof(r.payload))) {
		__builtin_memset(r.payload, 0, sizeof(r.payload));
		size -= sizeof(r.payload);
	}
	sl_ipv6_back(&r.ip, f, SL_PROTO_ICMPV6, size);
	r.icmp.type = SL_ICMPV6_UNREACHABLE;
	r.icmp.code = SL_ICMPV6_PROHIBITED;
	sum = sl_sum(&r.ip.source, 32, 0);
	sum = sl_fold(sum) + bpf_htons(SL_PROTO_ICMPV6) + bpf_htons(size - sizeof(r.ip));
	r.icmp.checksum = ~sl_fold(sl_sum(&r.icmp, sizeof(r) - sizeof(r.ip), sl_fold(sum)));
	r.trailer[0] = sl_fold(sum);
	if (size < offsetof(struct sl_error6, trailer))
		return sl_rewrite(skb, &p->link, &r, offsetof(struct sl_error6, payload));
	return sl_sum_place(skb) == SL_NO_SUM ?
		       sl_rewrite(skb, &p->link, &r, offsetof(struct sl_error6, trailer)) :
		       sl_rewrite(skb, &p->link, &r, sizeof(r));
}

/* ---- a refused question ---- */

#define SL_UDP_CHECKSUM 6		/* offset in the header */
#define SL_DNS_FLAGS 10			/* behind the UDP header's beginning */
#define SL_DNS_NXDOMAIN (SL_DNS_QR | 0x0080 | 3) /* an answer, recursion available, no such name */

/* Turns the frame round as it is: the sums of addresses and ports stay the same. */
static __always_inline int sl_turn_round(struct __sk_buff *skb, const struct sl_packet *p)
{
	const struct sl_flow *f = &p->flow;
	struct sl_ethernet e = {.type = bpf_htons(p->link.ethertype)};
	__be16 ports[2] = {bpf_htons(f->destination_port), bpf_htons(f->source_port)};
	__be64 addresses[4];
	__u32 at = f->family == 4 ? SL_ETHERNET_SIZE + 12 : SL_ETHERNET_SIZE + 8;

	__builtin_memcpy(e.destination, p->link.source, sizeof(e.destination));
	__builtin_memcpy(e.source, p->link.destination, sizeof(e.source));
	if (bpf_skb_store_bytes(skb, 0, &e, sizeof(e), 0) ||
	    bpf_skb_store_bytes(skb, f->at, ports, sizeof(ports), 0))
		return -1;
	if (f->family == 4) {
		addresses[0] = (__u64)bpf_htonl((__u32)f->destination_low) |
			       (__u64)bpf_htonl((__u32)f->source_low) << 32;
		return bpf_skb_store_bytes(skb, at, addresses, 8, 0);
	}
	addresses[0] = bpf_cpu_to_be64(f->destination_high);
	addresses[1] = bpf_cpu_to_be64(f->destination_low);
	addresses[2] = bpf_cpu_to_be64(f->source_high);
	addresses[3] = bpf_cpu_to_be64(f->source_low);
	return bpf_skb_store_bytes(skb, at, addresses, sizeof(addresses), 0);
}

/* NXDOMAIN ends a search list where REFUSED would not; without a SOA nobody caches it.
 * Not static: verified once. */
__noinline int sl_no_such_name(struct __sk_buff *skb, const struct sl_packet *p)
{
	__be16 before, after;

	if (!p || p->flow.extended)
		return -1;
	if (bpf_skb_load_bytes(skb, p->flow.at + SL_DNS_FLAGS, &before, sizeof(before)))
		return -1;
	after = before | bpf_htons(SL_DNS_NXDOMAIN);
	if (bpf_l4_csum_replace(skb, p->flow.at + SL_UDP_CHECKSUM, before, after,
				BPF_F_MARK_MANGLED_0 | sizeof(after)) ||
	    bpf_skb_store_bytes(skb, p->flow.at + SL_DNS_FLAGS, &after, sizeof(after), 0))
		return -1;
	return sl_turn_round(skb, p);
}

/* Rewrites the frame. 0, or it is dropped. Not static: its frame of the stack does
 * not add to the hook's. */
__noinline int sl_refusal4(struct __sk_buff *skb, const struct sl_packet *p)
{
	if (!p)
		return -1;
	return p->flow.protocol == IPPROTO_TCP ? sl_reset4(skb, p) : sl_error4(skb, p);
}

__noinline int sl_refusal6(struct __sk_buff *skb, const struct sl_packet *p)
{
	if (!p)
		return -1;
	return p->flow.protocol == IPPROTO_TCP ? sl_reset6(skb, p) : sl_error6(skb, p);
}

/* An address that many have, or nobody: no answer goes to or speaks for it. */
static __always_inline bool sl_is_nobodys(__u8 family, __u64 high, __u64 low)
{
	if (family == 4)
		return !low || low >> 28 == 14 || low == 0xffffffff;
	return !(high | low) || high >> 56 == 0xff;
}

static __always_inline bool sl_is_answerable(const struct sl_flow *f)
{
	if (f->group || f->fragment == SL_FRAGMENT_LATER || f->icmp_query == SL_ICMP_ERROR ||
	    (f->protocol == IPPROTO_TCP && (f->tcp_flags & SL_TCP_RST)))
		return false;
	return !sl_is_nobodys(f->family, f->source_high, f->source_low) &&
	       !sl_is_nobodys(f->family, f->destination_high, f->destination_low);
}

/* The policy's denials are answered; those of a frame's shape or sender are not: who
 * would get the answer is not known. */
static __always_inline bool sl_is_answered(const struct sl_packet *p)
{
	switch (p->answer.reason) {
	case SL_REASON_RULE:
	case SL_REASON_DEFAULT:
	case SL_REASON_EMBEDDED:
	case SL_REASON_DNS_GATE:
	case SL_REASON_FLOW_TABLE:
	case SL_REASON_CONNECTION_LIMIT:
	case SL_REASON_UNSOLICITED:	/* of a flow from outside that is cut now */
	case SL_REASON_DNS_NAME:
	case SL_REASON_DNS_TYPE:
	case SL_REASON_SNI_NAME:
	case SL_REASON_SNI_MISSING:
	case SL_REASON_SNI_SPLIT:
	case SL_REASON_SNI_QUIC:
		return true;
	case SL_REASON_DNS_MALFORMED:
	case SL_REASON_DNS_RATE:
	case SL_REASON_DNS_PENDING:	/* a stream that lost a segment for good would hang */
		return p->flow.protocol == IPPROTO_TCP;
	}
	return false;
}

static __always_inline bool sl_is_question(const struct sl_packet *p)
{
	return p->flow.protocol == IPPROTO_UDP && (p->answer.reason == SL_REASON_DNS_NAME ||
						   p->answer.reason == SL_REASON_DNS_TYPE);
}

/* What becomes of a denied frame from the workload: the program's return value. */
static __always_inline int sl_refuse(struct __sk_buff *skb, const struct sl_packet *p)
{
	const struct sl_flow *f = &p->flow;
	int err;

	if ((p->answer.flags & SL_F_DROP) || !sl_is_answered(p) ||
	    !sl_is_answerable(f) ||
	    !sl_limit_take(p->subject.slot, SL_LIMIT_REFUSAL, SL_SECOND / SL_REFUSAL_RATE,
			   SL_SECOND, false))
		return SL_TC_DROP;
	if (sl_is_question(p))
		err = sl_no_such_name(skb, p);
	else
		err = f->family == 4 ? sl_refusal4(skb, p) : sl_refusal6(skb, p);
	if (err)
		return SL_TC_DROP;
	skb->mark = sl_mark;
	return bpf_redirect(skb->ifindex, 0);
}

#endif
