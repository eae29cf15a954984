/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The short way. Most packets are plain and of a flow that is known: on a device without a VLAN
 * tag, IPv4 without options or IPv6 without extension headers, whole, TCP past its
 * first packet or UDP, of no port that anything here reads. What the long way asks of
 * such a packet is asked here with a third of the calls; whatever is not plainly so is
 * left to it, which decides alone. So this can pass a packet, but not deny one.
 */
#ifndef SLUICE_KNOWN_BPF_H
#define SLUICE_KNOWN_BPF_H

#include "packet_hook.bpf.h"
#if SL_ON_DEVICE
#include "link.bpf.h"
#include "sum.bpf.h"
#include "meter.bpf.h"
#include "dhcp.bpf.h"

#define SL_NETWORK_AT SL_ETHERNET_SIZE	/* where the packet begins */
#else
#define SL_NETWORK_AT 0
#endif

#define SL_TCP_ENDS (SL_TCP_FIN | SL_TCP_RST)
#define SL_TCP_KIND (SL_TCP_ENDS | SL_TCP_SYN | SL_TCP_ACK | SL_TCP_URG)

/* Flags that open nothing, and that a device's frame may have, as a set: one question. The long way
 * looks at the others. */
#define SL_KIND(flags) (1ull << (flags))
#define SL_GOES_ON (SL_KIND(SL_TCP_ACK) | SL_KIND(SL_TCP_ACK | SL_TCP_SYN) | \
		    SL_KIND(SL_TCP_ACK | SL_TCP_FIN) | SL_KIND(SL_TCP_ACK | SL_TCP_RST) | \
		    SL_KIND(SL_TCP_ACK | SL_TCP_ENDS) | SL_KIND(SL_TCP_RST) | SL_KIND(SL_TCP_ENDS))

/* Ports behind which a packet is looked into, or ends its flow, on either side. */
static __always_inline bool sl_is_service(__u16 port)
{
#if SL_ON_DEVICE
	return port == SL_DNS_PORT || port == SL_DHCP_SERVER || port == SL_DHCP_CLIENT ||
	       port == SL_DHCP6_SERVER || port == SL_DHCP6_CLIENT;
#else
	return port == 53;
#endif
}

/* f->at and f->end are set. */
static __always_inline bool sl_plain_transport(struct __sk_buff *skb, struct sl_flow *f,
					       const __u8 *t, const void *data_end)
{
	__u32 size;

	if ((const void *)(t + 8) > data_end)
		return false;
	f->source_port = bpf_ntohs(*(const __be16 *)t);
	f->destination_port = bpf_ntohs(*(const __be16 *)(t + 2));
	if (sl_is_service(f->source_port) || sl_is_service(f->destination_port))
		return false;
	if (f->protocol == IPPROTO_UDP) {
		size = bpf_ntohs(*(const __be16 *)(t + 4));
		return size >= 8 && f->at + 8 <= f->end &&
		       (skb->gso_size || f->at + size <= f->end);
	}
	if (f->protocol != IPPROTO_TCP || (const void *)(t + 20) > data_end)
		return false;
	size = (t[12] >> 4) * 4;
	f->tcp_flags = t[13] & SL_TCP_ENDS; /* what is left to be asked of these flags */
	return size >= 20 && f->at + size <= f->end && (SL_GOES_ON >> (t[13] & SL_TCP_KIND) & 1);
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
	const __u64 *head = table ? sl_table_page(table, 0) : NULL, *w;
	__u64 section = head ? head[SL_H_DEVICE] : 0;
	struct sl_place p;

	if (!(section >> 32) || (mac[0] & 1))
		return false;
	p = sl_place_begin(head);	/* where the binding is, too, unless the policy is large */
	if (!sl_place_go(table, &p, (__u32)section))
		return false;
	w = sl_page_chunk(p.page, (__u32)section);
	if ((w[SL_B_MAC] & SL_B_HAS_MAC) && sl_mac(mac) != (w[SL_B_MAC] & SL_B_MAC_MASK))
		return false;
	if (f->inbound)
		return true;
	return (f->source_high | f->source_low) &&
	       (!(w[SL_B_MAC] & SL_B_HAS_ADDRESSES) ||
		sl_chunk_binds(w, f->family, f->source_high, f->source_low));
}

/* A checksum that the device is to write lies where no one is misled by it. */
static __always_inline bool sl_has_plain_sum(struct __sk_buff *skb, const struct sl_flow *f)
{
	int sum = f->inbound ? SL_NO_SUM : sl_sum_at(skb);

	return sum == SL_NO_SUM || sl_sum_is_harmless(f, sum);
}
#else
/* What a socket's note says. */
struct sl_noted {
	__u64 flags, uid;
};

/* 0, of which the verifier knows nothing: what is there and what is not are one path to it. */
static __always_inline __u64 sl_any_zero(const struct __sk_buff *skb)
{
	__u64 any = skb->len * 0x9e3779b97f4a7c15ull, same = any;

	barrier_var(same);
	return any ^ same;
}

/* The socket's part, as sl_packet_origin has it. */
static __always_inline bool sl_plain_socket(struct __sk_buff *skb, struct sl_flow *f,
					    struct sl_noted *noted)
{
	__u64 none = sl_any_zero(skb);
	struct bpf_sock *sk = skb->sk;
	struct sl_socket *note;

	f->local = sl_local_of(skb);
	f->netns = noted->flags = noted->uid = none;
	sk = sk ? bpf_sk_fullsock(sk) : NULL;
	if (!sk)
		return true;
	if (sk->type == SL_SOCK_RAW)
		return false;
	note = bpf_sk_storage_get(&sl_sockets, sk, 0, 0);
	if (!note)
		return true;
	noted->flags = note->flags;
	noted->uid = note->uid;
	if (noted->flags & SL_SOCK_ELSEWHERE)
		f->netns = note->netns;
	return true;
}

/* Nothing is to be noted on its socket, and a flow that a uid rule let out is the socket's: as
 * sl_note_server and sl_is_anothers have it. */
static __always_inline bool sl_is_sockets(const struct sl_noted *noted, const struct sl_flow *f,
					  const struct sl_flow_entry *e)
{
	if (!sl_is_opener(e, f))
		return true;
	if (f->inbound)
		return e->key.protocol != IPPROTO_UDP || (noted->flags & SL_SOCK_SERVES);
	return !(e->flags & SL_FLOW_HAS_UID) ||
	       ((noted->flags & SL_SOCK_UID) && noted->uid == e->uid);
}
#endif

/* Judged by the generation in force, for good, with nothing left to look at. */
static __always_inline bool sl_is_settled(const struct sl_flow_entry *e, __u64 word)
{
	return e->word == word && !e->deadline_ns && !(e->flags & (SL_FLOW_SNI | SL_FLOW_STREAM));
}

/* Some 16 to 160 ms. */
static __always_inline __u32 sl_tick(void)
{
	return (__u32)(bpf_jiffies64() >> 4) | 1;	/* 0: never */
}

/*
 * A packet of a flow that is known passes: as sl_flow_pass has it, but for the time. To ask for
 * that takes as long as to find the flow: what was alive in this tick is alive, and has its
 * time-out. False: it is over.
 */
static __always_inline bool sl_known_touch(struct sl_flow_entry *e, const struct sl_flow *f, __u32 slot)
{
	__u64 told = sl_is_opener(e, f) | (e->flags / SL_FLOW_REPLIED & 1);
	__u32 tick = sl_tick();
	__u64 now, news;

	news = (e->tick ^ tick) | (told ^ 1) | (f->tcp_flags & SL_TCP_ENDS);
	barrier_var(news);	/* one question */
	if (!news)
		return true;
	now = bpf_ktime_get_coarse_ns();
	if (e->expires_ns <= now)
		return false;
	sl_flow_touch(e, f, now);
	WRITE_ONCE(e->tick, tick);
#if SL_NAMES
	if (e->name)
		sl_name_keep(slot, e->name, e->expires_ns);
#endif
	return true;
}

/* What is asked of a plain packet of either family. */
static __always_inline bool sl_known_passes(struct __sk_buff *skb, const struct sl_subject *s,
					    struct sl_flow *f, const __u8 *mac)
{
	struct sl_flow_entry *e;
	__u32 direction = f->inbound;
	int place;
#if SL_ON_DEVICE
	if (!sl_plain_bound(s, f, mac) || !sl_has_plain_sum(skb, f))
		return false;
#else
	struct sl_noted noted;

	if (!sl_plain_socket(skb, f, &noted))
		return false;
#endif
	e = sl_flow_match(f, s->slot, &place);
	if (!e || !sl_speaks_for(e, f) || !sl_is_settled(e, s->word))
		return false;
#if !SL_ON_DEVICE
	if (!sl_is_sockets(&noted, f, e))
		return false;
#endif
	if (!sl_entry_still_is(e, f) || !sl_known_touch(e, f, s->slot))
		return false;
	barrier_var(direction);
	__sync_fetch_and_add(&e->bytes[direction & 1], skb->len);
#if SL_ON_DEVICE
	sl_meter_frame(s->slot, f->inbound, skb->len);
#endif
	return true;
}

/* Is it the packet of a flow that is known? Each family has its own way, in which what is
 * nothing to IPv4 costs nothing. */
static __always_inline bool sl_is_known(struct __sk_buff *skb, const struct sl_subject *s, bool inbound)
{
	const void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	const void *at = data + SL_NETWORK_AT;
	const __u8 *mac = NULL;
	struct sl_flow f = {.inbound = inbound};
#if SL_ON_DEVICE
	const struct sl_ethernet *e = data;

	if ((const void *)(e + 1) > data_end || skb->vlan_present || skb->protocol != e->type)
		return false;
	mac = inbound ? e->destination : e->source;
#endif
	if (skb->protocol == bpf_htons(SL_ETHERTYPE_IPV4))
		return sl_plain_ipv4(skb, &f, at, data_end) &&
#if SL_NAMES && !SL_ON_DEVICE
		       /* nat.bpf.h: it may be a question to another port */
		       (inbound || f.destination_low >> 24 != 127) &&
#endif
		       sl_known_passes(skb, s, &f, mac);
	if (skb->protocol == bpf_htons(SL_ETHERTYPE_IPV6))
		return sl_plain_ipv6(skb, &f, at, data_end) && sl_known_passes(skb, s, &f, mac);
	return false;
}

/* Does the packet pass as one of a flow that is known? Not static: verified once, and off the
 * hook's stack. */
__noinline int sl_passes_as_known(struct __sk_buff *skb, const struct sl_subject *s, bool inbound)
{
	return s && !(s->word & SL_WORD_SHAPED) && sl_is_known(skb, s, inbound);
}

#endif
