/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * DHCP (RFC 2131, RFC 8415): the workload may be a client, never a server; what a
 * server leases to it is its address. Step 7 of docs/devices.md from the workload,
 * 5 to it.
 */
#ifndef SLUICE_DHCP_BPF_H
#define SLUICE_DHCP_BPF_H

#include "link.bpf.h"
#include "payload.bpf.h"

enum { SL_DHCP_SERVER = 67, SL_DHCP_CLIENT = 68, SL_DHCP6_CLIENT = 546, SL_DHCP6_SERVER = 547 };
enum { SL_DHCP_DISCOVER = 1, SL_DHCP_REQUEST = 3, SL_DHCP_ACK = 5, SL_DHCP_NAK = 6,
       SL_DHCP_INFORM = 8 };
enum { SL_DHCP_OPTION_LEASE = 51, SL_DHCP_OPTION_OVERLOAD = 52, SL_DHCP_OPTION_TYPE = 53,
       SL_DHCP_OPTION_END = 255 };

#define SL_DHCP_FIXED 240		/* up to the options, the magic cookie included */
#define SL_DHCP_COOKIE 0x63825363u
#define SL_DHCP_OPTIONS_MAX 24
#define SL_DHCP_ANSWER_NS (60 * SL_SECOND)
#define SL_DHCP_LEASE_S 60		/* of a lease that does not say how long */
#define SL_BROADCAST 0xffffffffu

/* Can a host have the address at all? Not 0/8, 127/8, nor 224/4 and above. */
static __always_inline bool sl_is_a_hosts(__u32 address)
{
	__u32 first = address >> 24;

	return first && first != 127 && first < 224;
}

enum { SL_AS_SERVER, SL_AS_LEASE };

/*
 * May DHCP say so: that it is a server's address, or the workload's? The network that the
 * device was attached in says where they are, and what is taken. Not static: verified once; no branches, as in sl_less.
 */
__noinline int sl_dhcp_fits(const struct sl_subject *s, __u32 address, int as)
{
	__u64 head, section, within = 0, hit;
	sl_table_map table;
	const __u64 *w;
	__u32 i, k;

	if (!s || !sl_is_a_hosts(address))
		return 0;
	table = sl_table_open(s->word);
	if (!table || !sl_binding(s, &head, &section))
		return 0;
	if (!(head >> SL_B_LEASING_SHIFT))
		return 1;
	for (i = 0; i < SL_B_LEASING_MAX && i < head >> SL_B_LEASING_SHIFT; i++) {
		w = sl_table_chunk(table, (__u32)section + ((__u32)(section >> 32) + i) *
							   SL_CHUNK_WORDS);
		if (!w)
			return 0;
		hit = 0;
		for (k = 0; k < SL_CHUNK_WORDS; k++)
			hit |= sl_is_zero((address & (__u32)w[k]) ^ w[k] >> 32);
		barrier_var(hit);
		within = i ? within & ~hit : hit;
		if (as == SL_AS_SERVER)
			break;
	}
	return within & 1;
}

/* The part of a message that is looked at. */
struct sl_dhcp {
	__u8 op, hardware, hardware_size, hops;
	__be32 xid;
	__be16 seconds, flags;
	__be32 client, your, server, relay;
	__u8 mac[6];
};

struct sl_dhcp_options {
	__u32 lease_s;
	__u32 type;
	__u32 types;	/* how often it is said: once where it is clear */
	__u32 whole;	/* walked to their end */
};

/* Not static: verified once. Stops at what does not fit; what was found stands. */
__noinline int sl_dhcp_options(struct __sk_buff *skb, __u32 at, __u32 end,
			       struct sl_dhcp_options *o)
{
	__u8 head[2] = {}, value[4];
	int i;

	if (!o)
		return 0;
	for (i = 0; i < SL_DHCP_OPTIONS_MAX; i++) {
		if (at + 1 > end) {
			o->whole = 1;
			break;
		}
		if (bpf_skb_load_bytes(skb, at, head, 1))
			break;
		if (head[0] == SL_DHCP_OPTION_END) {
			o->whole = 1;
			break;
		}
		if (!head[0]) {	/* padding */
			at++;
			continue;
		}
		if (at + 2 > end || bpf_skb_load_bytes(skb, at + 1, &head[1], 1) ||
		    at + 2 + head[1] > end)
			break;
		if (head[0] == SL_DHCP_OPTION_TYPE)
			o->types++;
		if (head[0] == SL_DHCP_OPTION_OVERLOAD)	/* there are more, elsewhere */
			o->types += 2;
		if (head[0] == SL_DHCP_OPTION_TYPE && head[1] == 1 &&
		    !bpf_skb_load_bytes(skb, at + 2, value, 1))
			o->type = value[0];
		if (head[0] == SL_DHCP_OPTION_LEASE && head[1] == 4 &&
		    !bpf_skb_load_bytes(skb, at + 2, value, 4))
			o->lease_s = (__u32)value[0] << 24 | value[1] << 16 | value[2] << 8 |
				     value[3];
		at += 2 + head[1];
	}
	return 0;
}

/* Is it one message? Of a fragmented datagram the rest, of a GSO frame all but the first segment
 * would not be looked at. */
static __always_inline bool sl_dhcp_is_whole(struct __sk_buff *skb, const struct sl_flow *f)
{
	return !f->fragment && !skb->gso_size;
}

static __always_inline bool sl_dhcp_read(struct __sk_buff *skb, const struct sl_flow *f, __u8 op,
					 struct sl_dhcp *m)
{
	__be32 cookie;

	return sl_dhcp_is_whole(skb, f) && sl_udp_end(skb, f) >= f->at + 8 + SL_DHCP_FIXED &&
	       !bpf_skb_load_bytes(skb, f->at + 8, m, sizeof(*m)) &&
	       !bpf_skb_load_bytes(skb, f->at + 8 + SL_DHCP_FIXED - 4, &cookie, sizeof(cookie)) &&
	       m->op == op && m->hardware == 1 && m->hardware_size == 6 &&
	       cookie == bpf_htonl(SL_DHCP_COOKIE);
}

/* Does the workload still have its address? It gives it back by a RELEASE, and not by a message of
 * which no server can think that it is one: what it gave back may be another's next. */
static __always_inline bool sl_dhcp_keeps(const struct sl_dhcp_options *o)
{
	return o->whole && o->types == 1 &&
	       (o->type == SL_DHCP_DISCOVER || o->type == SL_DHCP_REQUEST ||
		o->type == SL_DHCP_INFORM);
}

/* What is sent to a server's port otherwise than as DHCP is judged by the policy; it may be a
 * RELEASE all the same. */
static __always_inline int sl_dhcp4_beside(struct __sk_buff *skb, const struct sl_flow *f,
					   struct sl_lease *l)
{
	struct sl_dhcp_options o = {};

	if (sl_dhcp_is_whole(skb, f))
		sl_dhcp_options(skb, f->at + 8 + SL_DHCP_FIXED, sl_udp_end(skb, f), &o);
	if (!sl_dhcp_keeps(&o))
		l->until_ns = 0;
	return SL_GO_ON;
}

/* A guest that was restored, or came by migration, asks everybody for the address that
 * it had: that it is its own is what the answer will say. */
static __always_inline bool sl_dhcp_rebinds(const struct sl_packet *p, const struct sl_dhcp *m,
					    const struct sl_dhcp_options *o)
{
	const struct sl_flow *f = &p->flow;
	__u64 head, section;

	return o->type == SL_DHCP_REQUEST && bpf_ntohl(m->client) == f->source_low &&
	       f->destination_low == SL_BROADCAST && sl_binding(&p->subject, &head, &section) &&
	       (head & SL_B_LEASE) && sl_dhcp_fits(&p->subject, f->source_low, SL_AS_LEASE);
}

static __always_inline int sl_dhcp4_asks(struct __sk_buff *skb, const struct sl_packet *p,
					 struct sl_lease *l)
{
	const struct sl_flow *f = &p->flow;
	struct sl_dhcp_options o = {};
	struct sl_dhcp m;

	if (!sl_dhcp_read(skb, f, 1, &m) || sl_mac(m.mac) != sl_mac(p->link.source) ||
	    m.relay || (sl_generation_flags(p->subject.word) & SL_F_DHCP_DENY))
		return SL_REASON_DHCP;
	sl_dhcp_options(skb, f->at + 8 + SL_DHCP_FIXED, sl_udp_end(skb, f), &o);
	if (f->source_low && !sl_is_bound(&p->subject, 4, 0, f->source_low) &&
	    !sl_dhcp_rebinds(p, &m, &o))
		return SL_REASON_ADDRESS_BINDING;
	if (!sl_dhcp_keeps(&o))
		l->until_ns = 0;
	l->xid4 = m.xid;
	l->asked4_ns = bpf_ktime_get_boot_ns();
	return SL_PASSES;
}

static __always_inline bool sl_is_awaited(__u64 asked_ns)
{
	return asked_ns && bpf_ktime_get_boot_ns() - asked_ns < SL_DHCP_ANSWER_NS;
}

/* An ACK's lease. Ended first: a reader must not see the new address until the old
 * time. */
static __always_inline void sl_dhcp_lease(struct sl_lease *l, const struct sl_flow *f,
					  const struct sl_dhcp *m,
					  const struct sl_dhcp_options *o, __u64 head)
{
	if (o->type == SL_DHCP_NAK)
		l->until_ns = 0;
	if (o->type != SL_DHCP_ACK || !m->your)
		return;
	WRITE_ONCE(l->until_ns, 0);
	l->address = bpf_ntohl(m->your);
	/* one that may be anywhere is no destination beside the policy */
	l->server = head & SL_B_NETWORK ? (__u32)f->source_low : SL_BROADCAST;
	WRITE_ONCE(l->until_ns, bpf_ktime_get_boot_ns() +
				(o->lease_s ? o->lease_s : SL_DHCP_LEASE_S) * SL_SECOND);
}

static __always_inline int sl_dhcp4_answers(struct __sk_buff *skb, const struct sl_packet *p,
					    struct sl_lease *l)
{
	const struct sl_flow *f = &p->flow;
	struct sl_dhcp_options o = {};
	__u64 head, section;
	struct sl_dhcp m;

	if (!sl_dhcp_read(skb, f, 2, &m) || !sl_binding(&p->subject, &head, &section) ||
	    ((head & SL_B_HAS_MAC) && sl_mac(m.mac) != (head & SL_B_MAC_MASK)) ||
	    (sl_generation_flags(p->subject.word) & SL_F_DHCP_DENY) ||
	    !sl_is_awaited(l->asked4_ns) || m.xid != l->xid4 ||
	    !sl_dhcp_fits(&p->subject, f->source_low, SL_AS_SERVER) ||
	    (m.your && !sl_dhcp_fits(&p->subject, bpf_ntohl(m.your), SL_AS_LEASE)))
		return SL_REASON_DHCP;
	sl_dhcp_options(skb, f->at + 8 + SL_DHCP_FIXED, sl_udp_end(skb, f), &o);
	sl_dhcp_lease(l, f, &m, &o, head);
	return SL_PASSES;
}

static __always_inline int sl_dhcp6(struct __sk_buff *skb, const struct sl_packet *p,
				    struct sl_lease *l)
{
	const struct sl_flow *f = &p->flow;
	__be32 xid;	/* message type, then 3 bytes */

	if (!sl_dhcp_is_whole(skb, f) || sl_udp_end(skb, f) < f->at + 12 ||
	    bpf_skb_load_bytes(skb, f->at + 8, &xid, sizeof(xid)) ||
	    (sl_generation_flags(p->subject.word) & SL_F_DHCP_DENY))
		return SL_REASON_DHCP;
	xid &= bpf_htonl(0x00ffffff);
	if (!f->inbound) {
		if (!sl_is_bound(&p->subject, 6, f->source_high, f->source_low))
			return SL_REASON_ADDRESS_BINDING;
		l->xid6 = xid;
		l->asked6_ns = bpf_ktime_get_boot_ns();
		return SL_PASSES;
	}
	return sl_is_link_local(f->source_high) && sl_is_awaited(l->asked6_ns) && xid == l->xid6 ?
		       SL_PASSES : SL_REASON_DHCP;
}

static __always_inline bool sl_is_all_dhcp_servers(const struct sl_flow *f)
{
	return f->destination_high == 0xff02ull << 48 && f->destination_low == 0x10002;
}

/* The ports say which message it may be. */
static __always_inline int sl_judge_dhcp_ports(struct __sk_buff *skb, const struct sl_packet *p,
					       struct sl_lease *l)
{
	const struct sl_flow *f = &p->flow;
	__u16 from = f->source_port, to = f->destination_port;
	bool v4 = f->family == 4;

	if (f->inbound) {
		if (v4 && from == SL_DHCP_SERVER && to == SL_DHCP_CLIENT)
			return sl_dhcp4_answers(skb, p, l);
		return !v4 && from == SL_DHCP6_SERVER && to == SL_DHCP6_CLIENT ?
			       sl_dhcp6(skb, p, l) : SL_GO_ON;
	}
	if (from == (v4 ? SL_DHCP_SERVER : SL_DHCP6_SERVER))
		return SL_REASON_ROGUE_DHCP;
	if (v4 && from == SL_DHCP_CLIENT && to == SL_DHCP_SERVER &&
	    (f->destination_low == SL_BROADCAST ||
	     (l->until_ns > bpf_ktime_get_boot_ns() && f->destination_low == l->server)))
		return sl_dhcp4_asks(skb, p, l);
	if (v4 && to == SL_DHCP_SERVER)
		return sl_dhcp4_beside(skb, f, l);
	return !v4 && from == SL_DHCP6_CLIENT && to == SL_DHCP6_SERVER &&
	       sl_is_all_dhcp_servers(f) ? sl_dhcp6(skb, p, l) : SL_GO_ON;
}

static __always_inline bool sl_may_be_dhcp(const struct sl_flow *f)
{
	return f->source_port == SL_DHCP_SERVER || f->source_port == SL_DHCP_CLIENT ||
	       f->source_port == SL_DHCP6_SERVER || f->source_port == SL_DHCP6_CLIENT ||
	       (!f->inbound && f->destination_port == SL_DHCP_SERVER);
}

/* Not static: verified once. */
__noinline int sl_judge_dhcp(struct __sk_buff *skb, const struct sl_packet *p)
{
	struct sl_lease *l;
	__u32 slot;

	if (!p || (!p->flow.inbound && !sl_payload_stays(skb, &p->flow, p->flow.end)))
		return SL_REASON_DHCP;
	slot = p->subject.slot;
	l = bpf_map_lookup_elem(&sl_leases, &slot);
	return l ? sl_judge_dhcp_ports(skb, p, l) : SL_REASON_DHCP;
}

#endif
