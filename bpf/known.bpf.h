/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The short way. Most packets are plain and of a flow that is known: on a device without a VLAN
 * tag, IPv4 without options or IPv6 without extension headers, whole, TCP past its
 * handshake or UDP, of no port that anything here reads. What the long way asks of
 * such a packet is asked here with a third of the calls; whatever is not plainly so is
 * left to it, which decides alone. So this can pass a packet, but not deny one.
 */
#ifndef SLUICE_KNOWN_BPF_H
#define SLUICE_KNOWN_BPF_H

#include "packet_hook.bpf.h"
#if SL_ON_DEVICE
#include "link.bpf.h"
#include "sum.bpf.h"
#include "dhcp.bpf.h"

#define SL_NETWORK_AT SL_ETHERNET_SIZE	/* where the packet begins */
#else
#define SL_NETWORK_AT 0
#endif

#define SL_TCP_KIND (SL_TCP_FIN | SL_TCP_SYN | SL_TCP_RST | SL_TCP_ACK | SL_TCP_URG)

/* Ports behind which a packet is looked into, on either side. */
static __always_inline bool sl_is_service(__u16 port)
{
#if SL_ON_DEVICE
	return port == SL_DNS_PORT || port == SL_DHCP_SERVER || port == SL_DHCP_CLIENT ||
	       port == SL_DHCP6_SERVER || port == SL_DHCP6_CLIENT;
#elif SL_NAMES
	return port == SL_DNS_PORT;
#else
	return false;
#endif
}

/* f->at and f->end are set. */
static __always_inline bool sl_plain_transport(struct __sk_buff *skb, struct sl_flow *f,
					       const __u8 *t, const void *data_end)
{
	__u32 size;

	if ((const void *)(t + 8) > data_end)
		return false;
	f->source_port = (__u16)t[0] << 8 | t[1];
	f->destination_port = (__u16)t[2] << 8 | t[3];
	if (sl_is_service(f->source_port) || sl_is_service(f->destination_port))
		return false;
	if (f->protocol == IPPROTO_UDP) {
		size = (__u32)t[4] << 8 | t[5];
		return size >= 8 && f->at + 8 <= f->end &&
		       (skb->gso_size || f->at + size <= f->end);
	}
	if (f->protocol != IPPROTO_TCP || (const void *)(t + 20) > data_end)
		return false;
	size = (t[12] >> 4) * 4;
	f->tcp_flags = t[13];
	return size >= 20 && f->at + size <= f->end && (t[13] & SL_TCP_KIND) == SL_TCP_ACK;
}

static __always_inline bool sl_plain_ipv4(struct __sk_buff *skb, struct sl_flow *f, const void *at,
					  const void *data_end)
{
	const struct sl_ipv4 *ip = at;
	__u32 length;

	if ((const void *)(ip + 1) > data_end || ip->version_ihl != 0x45 ||
	    (ip->fragment & bpf_htons(SL_IPV4_MORE | SL_IPV4_OFFSET)))
		return false;
	length = bpf_ntohs(ip->length);
	f->family = 4;
	f->protocol = ip->protocol;
	f->source_low = bpf_ntohl(ip->source);
	f->destination_low = bpf_ntohl(ip->destination);
	f->at = SL_NETWORK_AT + sizeof(*ip);
	f->end = skb->gso_size ? skb->len : SL_NETWORK_AT + length;
	return f->end <= skb->len && sl_plain_transport(skb, f, (const __u8 *)(ip + 1), data_end);
}

static __always_inline bool sl_plain_ipv6(struct __sk_buff *skb, struct sl_flow *f, const void *at,
					  const void *data_end)
{
	const struct sl_ipv6 *ip = at;

	if ((const void *)(ip + 1) > data_end || bpf_ntohl(ip->version_class_label) >> 28 != 6)
		return false;
	f->family = 6;
	f->protocol = ip->next_header;
	f->source_high = bpf_be64_to_cpu(ip->source[0]);
	f->source_low = bpf_be64_to_cpu(ip->source[1]);
	f->destination_high = bpf_be64_to_cpu(ip->destination[0]);
	f->destination_low = bpf_be64_to_cpu(ip->destination[1]);
	f->at = SL_NETWORK_AT + sizeof(*ip);
	f->end = skb->gso_size ? skb->len : f->at + bpf_ntohs(ip->payload_length);
	return f->end <= skb->len && sl_plain_transport(skb, f, (const __u8 *)(ip + 1), data_end);
}

#if SL_ON_DEVICE
/* Is it the workload's, by the first chunk of its binding? */
static __always_inline bool sl_plain_bound(const struct sl_subject *s, const struct sl_flow *f,
					   const __u8 mac[6])
{
	sl_table_map table = sl_table_open(s->word);
	const __u64 *w = table ? sl_table_chunk(table, SL_H_DEVICE) : NULL;
	__u64 section = w ? w[SL_H_DEVICE % SL_CHUNK_WORDS] : 0;

	w = section >> 32 ? sl_table_chunk(table, (__u32)section) : NULL;
	if (!w || (mac[0] & 1))
		return false;
	if ((w[SL_B_MAC] & SL_B_HAS_MAC) && sl_mac(mac) != (w[SL_B_MAC] & SL_B_MAC_MASK))
		return false;
	if (f->inbound)
		return true;
	return (f->source_high | f->source_low) &&
	       (!(w[SL_B_MAC] & SL_B_HAS_ADDRESSES) ||
		sl_chunk_binds(w, f->family, f->source_high, f->source_low));
}

static __always_inline bool sl_is_plain(struct __sk_buff *skb, struct sl_packet *p)
{
	const void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	const struct sl_ethernet *e = data;
	struct sl_flow *f = &p->flow;
	bool plain;

	if ((const void *)(e + 1) > data_end || skb->vlan_present || skb->protocol != e->type)
		return false;
	if (e->type == bpf_htons(SL_ETHERTYPE_IPV4))
		plain = sl_plain_ipv4(skb, f, e + 1, data_end);
	else
		plain = e->type == bpf_htons(SL_ETHERTYPE_IPV6) &&
			sl_plain_ipv6(skb, f, e + 1, data_end);
	return plain &&
	       sl_plain_bound(&p->subject, f, f->inbound ? e->destination : e->source);
}

/* A checksum that the device is to write lies where no one is misled by it. */
static __always_inline bool sl_has_plain_sum(struct __sk_buff *skb, const struct sl_flow *f)
{
	int sum = f->inbound ? SL_NO_SUM : sl_sum_place(skb);

	return sum == SL_NO_SUM || sl_sum_is_harmless(f, sum);
}
#else
/* The socket's part, as sl_packet_origin has it. */
static __always_inline bool sl_plain_socket(struct __sk_buff *skb, struct sl_flow *f,
					    struct sl_socket **note)
{
	struct bpf_sock *sk = skb->sk;

	f->local = skb->ifindex == SL_LOOPBACK_IFINDEX;
	sk = sk ? bpf_sk_fullsock(sk) : NULL;
	if (!sk)
		return true;
	if (sk->type == SL_SOCK_RAW)
		return false;
	*note = bpf_sk_storage_get(&sl_sockets, sk, 0, 0);
	if (*note && ((*note)->flags & SL_SOCK_ELSEWHERE))
		f->netns = (*note)->netns;
	return true;
}

static __always_inline bool sl_is_plain(struct __sk_buff *skb, struct sl_packet *p)
{
	const void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	struct sl_flow *f = &p->flow;

	if (skb->protocol == bpf_htons(SL_ETHERTYPE_IPV4)) {
		if (!sl_plain_ipv4(skb, f, data, data_end))
			return false;
	} else if (skb->protocol != bpf_htons(SL_ETHERTYPE_IPV6) ||
		   !sl_plain_ipv6(skb, f, data, data_end)) {
		return false;
	}
#if SL_NAMES
	/* nat.bpf.h: it may be a question to another port */
	return f->inbound || f->family != 4 || f->destination_low >> 24 != 127;
#else
	return true;
#endif
}

/* Nothing is to be noted on its socket, and a flow that a uid rule let out is the socket's: as
 * sl_note_server and sl_is_anothers have it. */
static __always_inline bool sl_is_sockets(const struct sl_socket *note, const struct sl_flow *f,
					  const struct sl_flow_entry *e)
{
	if (!sl_is_opener(e, f))
		return true;
	if (f->inbound)
		return f->protocol != IPPROTO_UDP || (note && (note->flags & SL_SOCK_SERVES));
	return !(e->flags & SL_FLOW_HAS_UID) ||
	       (note && (note->flags & SL_SOCK_UID) && note->uid == e->uid);
}
#endif

/* Judged by the generation in force, for good, with nothing left to look at. */
static __always_inline bool sl_is_settled(const struct sl_flow_entry *e, __u64 word)
{
	return e && e->word == word && !e->deadline_ns &&
	       !(e->flags & (SL_FLOW_SNI | SL_FLOW_STREAM));
}

static __always_inline bool sl_is_known(struct __sk_buff *skb, struct sl_packet *p)
{
	struct sl_flow_entry *e;
	__u64 now;
	int place;
#if SL_ON_DEVICE
	if ((p->subject.word & SL_WORD_SHAPED) || !sl_is_plain(skb, p) ||
	    !sl_has_plain_sum(skb, &p->flow))
		return false;
#else
	struct sl_socket *note = NULL;

	if ((p->subject.word & SL_WORD_SHAPED) || !sl_is_plain(skb, p) ||
	    !sl_plain_socket(skb, &p->flow, &note))
		return false;
#endif
	now = bpf_ktime_get_coarse_ns();
	e = sl_flow_seek(&p->flow, p->subject.slot, now, &place);
	if (!sl_is_settled(e, p->subject.word))
		return false;
#if !SL_ON_DEVICE
	if (!sl_is_sockets(note, &p->flow, e))
		return false;
#endif
	sl_flow_pass(p, e, place, now, skb->len);
	return true;
}

/* Does the packet pass as one of a flow that is known? If not, *p is as it was. Not
 * static: verified once, and off the hook's stack. */
__noinline int sl_passes_as_known(struct __sk_buff *skb, struct sl_packet *p)
{
	__u8 inbound, hook;

	if (!p)
		return 0;
	inbound = p->flow.inbound;
	hook = p->flow.hook;
	if (sl_is_known(skb, p))
		return 1;
	__builtin_memset(&p->flow, 0, sizeof(p->flow));	/* no copy on the stack (6.1) */
	p->flow.inbound = inbound;
	p->flow.hook = hook;
	return 0;
}

#endif
