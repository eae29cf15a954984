// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What a device decides before any rule: ARP, neighbour discovery, DHCP. Each is one
 * switch, so the filter must treat what belongs to it alike.
 */
#include <errno.h>
#include <netinet/in.h>

#include "nwfilter_internal.h"

#define LINK_LOCAL ((nw_address)0xfe80 << 112)
#define ALL_LINK ((nw_address)0xff02 << 112)

/* Messages of the link that a device lets a guest send and get (docs/devices.md). */
static const struct {
	unsigned direction;
	int type;
} messages[] = {
	{NW_OUT, 131}, {NW_OUT, 132}, {NW_OUT, 133}, {NW_OUT, 135}, {NW_OUT, 136},
	{NW_OUT, 143}, {NW_IN, 130},  {NW_IN, 134},  {NW_IN, 135},  {NW_IN, 136},
};

static enum nw_verdict of_message(const struct nw_tables *tables, size_t i, struct sl_pos *why)
{
	const struct nw_table *table = messages[i].direction == NW_OUT ? &tables->out : &tables->in;
	struct nw_box box = nw_box_all(6);
	enum nw_verdict first, second;
	size_t by, by2;

	nw_box_only(&box, IPPROTO_ICMPV6);
	box.icmp_type = messages[i].type;
	box.low = LINK_LOCAL;
	box.high = box.low | (((nw_address)1 << 118) - 1);
	first = nw_table_says(table, 0, &box, NW_UNTRACKED, &by);
	*why = table->entries[by].pos;
	if (messages[i].direction == NW_IN || first == NW_MIXED)
		return first;
	box.low = ALL_LINK;
	box.high = box.low | (((nw_address)1 << 112) - 1);
	second = nw_table_says(table, 0, &box, NW_UNTRACKED, &by2);
	if (second == first)
		return first;
	if (second != NW_PASSES)
		*why = table->entries[by2].pos;
	return NW_MIXED;
}

static int judge_nd(const struct nw_tables *tables, bool *deny, struct sl_diag *diag)
{
	enum nw_verdict verdict = NW_MIXED, this;
	struct sl_pos pos, denied = {};

	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		this = of_message(tables, i, &pos);
		if (this != NW_PASSES)
			denied = pos;
		if (this == NW_MIXED || (i && this != verdict))
			return sl_error(
				diag, &denied,
				"part of neighbour discovery and listener reports (ICMPv6 130 to "
				"136, 143) passes and part is dropped; libvirt does not track them, "
				"so only inout, statematch=\"false\" and drop decide about them. "
				"`device: nd` is one switch: accept all of them with <rule "
				"action=\"accept\" direction=\"inout\"><icmpv6/></rule>, or drop "
				"all");
		verdict = this;
	}
	*deny = verdict == NW_DENIED;
	return 0;
}

/* Rules of the link layer stand first in the tables; what they do with DHCP is in the
 * summary already. */
static size_t behind_link(const struct nw_table *table)
{
	size_t i = 0;

	while (!table->entries[i].order)
		i++;
	return i;
}

static enum nw_verdict of_dhcp(const struct nw_table *table, int family, nw_address low,
			       nw_address high, struct sl_pos *why)
{
	__u16 server = family == 4 ? 67 : 547, client = family == 4 ? 68 : 546;
	struct nw_box box = nw_box_all(family);
	enum nw_verdict verdict;
	size_t by;

	nw_box_only(&box, IPPROTO_UDP);
	box.low = low;
	box.high = high;
	box.remote = (struct nw_range){server, server};
	box.local = (struct nw_range){client, client};
	verdict = nw_table_says(table, behind_link(table), &box, NW_NEW, &by);
	*why = table->entries[by].pos;
	return verdict;
}

static int judge_dhcp(const struct nw_tables *tables, const struct nw_link_summary *link,
		      bool *deny, struct sl_diag *diag)
{
	nw_address servers6 = ALL_LINK | 0x10002, local = LINK_LOCAL;
	nw_address local_end = local | (((nw_address)1 << 118) - 1);
	struct sl_pos sent_pos, got_pos, pos6;
	enum nw_verdict sent, got;
	bool v4, v6;

	sent = of_dhcp(&tables->out, 4, 0xffffffff, 0xffffffff, &sent_pos);
	got = of_dhcp(&tables->in, 4, 0, 0xffffffff, &got_pos);
	if (sent == NW_PASSES && got == NW_MIXED)
		return sl_error(
			diag, &got_pos,
			"DHCP answers of some servers pass and of others do not; here they are "
			"taken from any server that the guest has asked: before this, accept udp "
			"from port 67 to port 68 from everywhere, or drop it");
	v4 = link->dhcp4 && sent == NW_PASSES && got == NW_PASSES;
	v6 = link->dhcp6 && of_dhcp(&tables->out, 6, servers6, servers6, &pos6) == NW_PASSES &&
	     of_dhcp(&tables->in, 6, local, local_end, &pos6) == NW_PASSES;
	if (link->dhcp4 && sent == NW_PASSES && got == NW_DENIED)
		sl_warn(diag, &got_pos,
			"this drops the answers to the guest's DHCP requests, which pass: the "
			"requests are denied too (dhcp: deny)");
	else if (!v4 && v6)
		sl_warn(diag, link->dhcp4 ? &sent_pos : &link->ip4_pos,
			"the guest's DHCP requests are dropped here, its DHCPv6 requests pass: "
			"`device: dhcp` is one switch, both are denied. If the guest needs DHCP, "
			"write `client`");
	else if (!v4)
		sl_warn(diag, link->dhcp4 ? &sent_pos : &link->ip4_pos,
			"the guest's DHCP requests are dropped here (dhcp: deny): if it needs DHCP, "
			"write `client` in the policy");
	else if (!v6 && link->ip6)
		sl_warn(diag, NULL,
			"DHCP passes and DHCPv6 does not: `device: dhcp` is one switch, so DHCPv6 "
			"requests pass too; an --address that is IPv4, and none that is IPv6, "
			"denies all IPv6");
	*deny = !v4;
	return 0;
}

int nw_device_switches(const struct nw_tables *tables, const struct nw_link_summary *link,
		       struct sl_device_switches *out, struct sl_diag *diag)
{
	struct sl_device_switches switches = {.arp_deny = !link->arp, .nd_deny = !link->ip6};
	int err = 0;

	if (link->ip6)
		err = judge_nd(tables, &switches.nd_deny, diag);
	if (!err)
		err = judge_dhcp(tables, link, &switches.dhcp_deny, diag);
	if (!err)
		*out = switches;
	return err;
}
