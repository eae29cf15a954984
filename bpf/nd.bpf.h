/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ICMPv6 of the link: neighbour discovery (RFC 4861, RFC 6980) and multicast listener
 * reports (RFC 2710, RFC 3810), for the workload's own addresses. Step 8 of
 * docs/devices.md from the workload, 6 to it.
 */
#ifndef SLUICE_ND_BPF_H
#define SLUICE_ND_BPF_H

#include "link.bpf.h"

enum { SL_MLD_QUERY = 130, SL_MLD_REPORT = 131, SL_MLD_DONE = 132, SL_ND_ROUTER_SOLICIT = 133,
       SL_ND_ROUTER = 134, SL_ND_SOLICIT = 135, SL_ND_ADVERT = 136, SL_ND_REDIRECT = 137,
       SL_MLD2_REPORT = 143 };
enum { SL_ND_SOURCE_MAC = 1, SL_ND_TARGET_MAC = 2, SL_ND_NONCE = 14 /* RFC 7527 */ };

#define SL_ND_OPTIONS_MAX 4

struct sl_nd {
	__u8 type, code;
	__be16 checksum;
	__be32 flags;
	__be32 target[4];
};

static __always_inline bool sl_is_link_message(const struct sl_flow *f)
{
	__u8 type = f->key >> 8;

	return f->family == 6 && f->protocol == SL_PROTO_ICMPV6 &&
	       f->fragment != SL_FRAGMENT_LATER &&
	       ((type >= SL_MLD_QUERY && type <= SL_ND_REDIRECT) || type == SL_MLD2_REPORT);
}

static __always_inline bool sl_is_link_multicast(const struct sl_flow *f)
{
	return f->destination_high >> 48 == 0xff02;
}

/* The options of a message of the workload: SL_PASSES, or why not. */
static __always_inline int sl_nd_options(struct __sk_buff *skb, const struct sl_packet *p,
					 __u8 type, __u32 at)
{
	const struct sl_flow *f = &p->flow;
	__u8 allowed = type == SL_ND_ADVERT ? SL_ND_TARGET_MAC : SL_ND_SOURCE_MAC;
	bool unspecified = !(f->source_high | f->source_low);
	__u8 option[8];
	__u32 size;
	int i;

	for (i = 0; i < SL_ND_OPTIONS_MAX && at < f->end; i++) {
		if (bpf_skb_load_bytes(skb, at, option, sizeof(option)))
			return SL_REASON_MALFORMED;
		size = option[1] * 8;
		if (!size || at + size > f->end)
			return SL_REASON_MALFORMED;
		if (option[1] != 1)
			return SL_REASON_ND;
		if (option[0] == SL_ND_NONCE ? type != SL_ND_SOLICIT || !sl_is_link_multicast(f) :
		    option[0] != allowed || unspecified ||
			    sl_mac(option + 2) != sl_mac(p->link.source))
			return SL_REASON_ND;
		at += size;
	}
	return at == f->end ? SL_PASSES : SL_REASON_MALFORMED;
}

static __always_inline __u64 sl_nd_word(const __be32 target[2])
{
	return (__u64)bpf_ntohl(target[0]) << 32 | bpf_ntohl(target[1]);
}

/* To whom a message of the workload may go: it must not leave the link. */
static __always_inline bool sl_nd_stays(const struct sl_flow *f, __u8 type, __u64 high, __u64 low)
{
	if (sl_is_link_multicast(f) || sl_is_link_local(f->destination_high))
		return true;
	if (type == SL_ND_SOLICIT)
		return f->destination_high == high && f->destination_low == low;
	return type == SL_ND_ADVERT && f->destination_high >> 56 != 0xff;
}

static __always_inline int sl_nd_asks(struct __sk_buff *skb, const struct sl_packet *p, __u8 type)
{
	__u32 size = type == SL_ND_ROUTER_SOLICIT ? 8 : sizeof(struct sl_nd);
	const struct sl_flow *f = &p->flow;
	bool unspecified = !(f->source_high | f->source_low);
	__u64 high, low;
	struct sl_nd m = {};

	if (f->extended || f->hop_limit != 255)
		return SL_REASON_ND;
	if (f->end < f->at + size ||
	    (type != SL_ND_ROUTER_SOLICIT && bpf_skb_load_bytes(skb, f->at, &m, sizeof(m))))
		return SL_REASON_MALFORMED;
	high = sl_nd_word(m.target);
	low = sl_nd_word(m.target + 2);
	if (unspecified ? type == SL_ND_ADVERT :
			  !sl_is_bound(&p->subject, 6, f->source_high, f->source_low))
		return SL_REASON_ND;
	if (!sl_nd_stays(f, type, high, low))
		return SL_REASON_ND;
	if ((type == SL_ND_ADVERT || (type == SL_ND_SOLICIT && unspecified)) &&
	    !sl_is_bound(&p->subject, 6, high, low))
		return SL_REASON_ND;
	return sl_nd_options(skb, p, type, f->at + size);
}

/* MLDv1 reports a group to the group itself, whatever its scope (RFC 2710, 8). */
static __always_inline bool sl_reports_group(struct __sk_buff *skb, const struct sl_flow *f,
					     __u8 type)
{
	struct sl_nd m;

	return type == SL_MLD_REPORT && f->destination_high >> 56 == 0xff &&
	       f->end >= f->at + sizeof(m) && !bpf_skb_load_bytes(skb, f->at, &m, sizeof(m)) &&
	       f->destination_high == sl_nd_word(m.target) &&
	       f->destination_low == sl_nd_word(m.target + 2);
}

static __always_inline int sl_mld_reports(struct __sk_buff *skb, const struct sl_packet *p,
					  __u8 type)
{
	const struct sl_flow *f = &p->flow;

	return f->hop_limit == 1 && (sl_is_link_multicast(f) || sl_reports_group(skb, f, type)) &&
	       (!(f->source_high | f->source_low) ||
		sl_is_bound(&p->subject, 6, f->source_high, f->source_low)) ?
		       SL_PASSES : SL_REASON_ND;
}

static __always_inline int sl_nd_answers(struct __sk_buff *skb, const struct sl_packet *p,
					 __u8 type)
{
	const struct sl_flow *f = &p->flow;
	struct sl_nd m;

	if (f->extended || f->hop_limit != 255 || (f->key & 0xff))
		return SL_REASON_ND;
	if (type == SL_ND_ROUTER) {
		if (!sl_is_link_local(f->source_high))
			return SL_REASON_ROGUE_RA;
		return f->end < f->at + 16 ? SL_REASON_MALFORMED : SL_PASSES;
	}
	if (f->end < f->at + sizeof(m) || bpf_skb_load_bytes(skb, f->at, &m, sizeof(m)))
		return SL_REASON_MALFORMED;
	if (type == SL_ND_SOLICIT && !sl_is_bound(&p->subject, 6, sl_nd_word(m.target),
						  sl_nd_word(m.target + 2)))
		return SL_REASON_STRAY;
	return SL_PASSES;
}

static __always_inline int sl_judge_nd_from(struct __sk_buff *skb, const struct sl_packet *p,
					    bool denied)
{
	__u8 type = p->flow.key >> 8;

	if (type == SL_MLD_QUERY || type == SL_ND_ROUTER || type == SL_ND_REDIRECT)
		return SL_REASON_ROGUE_RA;
	/* nothing travels behind the packet either */
	if (denied || p->flow.fragment || (p->flow.key & 0xff) || skb->len != p->flow.end)
		return SL_REASON_ND;
	if (type == SL_MLD_REPORT || type == SL_MLD_DONE || type == SL_MLD2_REPORT)
		return sl_mld_reports(skb, p, type);
	return sl_nd_asks(skb, p, type);
}

static __always_inline int sl_judge_nd_to(struct __sk_buff *skb, const struct sl_packet *p,
					  bool denied)
{
	const struct sl_flow *f = &p->flow;
	__u8 type = f->key >> 8;

	if (denied || f->fragment)
		return SL_REASON_ND;
	switch (type) {
	case SL_MLD_REPORT:
	case SL_MLD_DONE:
	case SL_MLD2_REPORT:
		return SL_REASON_STRAY;
	case SL_ND_ROUTER_SOLICIT:
	case SL_ND_REDIRECT:
		return SL_REASON_ROGUE_RA;
	case SL_MLD_QUERY:
		return f->hop_limit == 1 && sl_is_link_local(f->source_high) ? SL_PASSES :
									       SL_REASON_ND;
	}
	return sl_nd_answers(skb, p, type);
}

/* Not static: verified once. */
__noinline int sl_judge_nd(struct __sk_buff *skb, const struct sl_packet *p)
{
	bool denied;

	if (!p)
		return SL_REASON_ND;
	if (!sl_is_link_message(&p->flow))
		return SL_GO_ON;
	denied = sl_generation_flags(p->subject.word) & SL_F_ND_DENY;
	return p->flow.inbound ? sl_judge_nd_to(skb, p, denied) :
				 sl_judge_nd_from(skb, p, denied);
}

#endif
