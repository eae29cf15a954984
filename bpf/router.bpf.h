/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What a workload on a device may not say, whatever its policy: it is no router. "What a router
 * says" in docs/devices.md; the messages of ICMPv6's link are nd.bpf.h's. */
#ifndef SLUICE_ROUTER_BPF_H
#define SLUICE_ROUTER_BPF_H

#include "packet.bpf.h"

enum { SL_ICMP_REDIRECT = 5, SL_ICMP_ROUTER = 9 };	/* RFC 792, 1256 */
enum { SL_MRD_ADVERT = 151, SL_MRD_TERMINATION = 153 }; /* RFC 4286 */
enum { SL_PROTO_IGMP = 2, SL_PROTO_PIM = 103 };
enum {
	SL_IGMP_REPORT1 = 0x12,
	SL_IGMP_REPORT2 = 0x16,
	SL_IGMP_LEAVE = 0x17,
	SL_IGMP_REPORT3 = 0x22
}; /* RFC 1112, 2236, 3376 */

/* Of IGMP a host sends reports and leaves alone. */
static __always_inline bool sl_is_igmp_report(struct __sk_buff *skb, const struct sl_flow *f)
{
	__u8 type;

	if (f->fragment || f->at >= f->end || bpf_skb_load_bytes(skb, f->at, &type, sizeof(type)))
		return false;
	return type == SL_IGMP_REPORT1 || type == SL_IGMP_REPORT2 || type == SL_IGMP_LEAVE ||
	       type == SL_IGMP_REPORT3;
}

/* What only a router sends (beside what sl_judge_nd knows): a bridge that snoops sends
 * all multicast to whoever says it, and a host believes its routes. */
static __always_inline bool sl_is_routers(struct __sk_buff *skb, const struct sl_flow *f)
{
	__u8 type = f->key >> 8; /* 0 where it is no ICMP of its family */

	if (f->fragment == SL_FRAGMENT_LATER) /* it follows its first */
		return false;
	switch (f->protocol) {
	case IPPROTO_ICMP:
		return type == SL_ICMP_REDIRECT || type == SL_ICMP_ROUTER;
	case SL_PROTO_ICMPV6:
		return type >= SL_MRD_ADVERT && type <= SL_MRD_TERMINATION;
	case SL_PROTO_PIM:
		return true;
	case SL_PROTO_IGMP:
		return f->family == 4 && !sl_is_igmp_report(skb, f);
	}
	return false;
}

#endif
