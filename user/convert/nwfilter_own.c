// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * libvirt's own filters (package libvirt-daemon-config-nwfilter, 9.0), in terms of
 * nwfilter_link.c. What is about RARP is left out: a device passes none.
 */
#include <errno.h>
#include <string.h>

#include "nwfilter_internal.h"

static const struct {
	const char *name, *chain;
	int priority; /* of the chain; 0: as its name has it */
} own[] = {
	{"no-mac-spoofing", "mac", 0},
	{"no-ip-spoofing", "ipv4-ip", -710},
	{"no-ipv6-spoofing", "ipv6-ip", -610},
	{"no-arp-mac-spoofing", "arp-mac", -520},
	{"no-arp-ip-spoofing", "arp-ip", -510},
	{"no-arp-spoofing", "root", 0},
	{"allow-arp", "arp", 0},
	{"allow-ipv4", "ipv4", 0},
	{"allow-ipv6", "ipv6", 0},
	{"allow-incoming-ipv4", "ipv4", 0},
	{"allow-incoming-ipv6", "ipv6", 0},
	{"allow-dhcp", "ipv4", 0},
	{"allow-dhcpv6", "ipv6", 0},
	{"no-ip-multicast", "ipv4", 0},
	{"no-ipv6-multicast", "ipv6", 0},
	{"no-other-l2-traffic", "root", 0},
	{"no-other-rarp-traffic", "rarp", 0},
	{"qemu-announce-self", "root", 0},
	{"qemu-announce-self-rarp", "rarp", 0},
	{"clean-traffic", "root", 0},
};

static const struct {
	const char *filter;
	int priority;
	unsigned directions, frames, need;
	enum nw_action action;
} rows[] = {
	{"no-mac-spoofing", 500, NW_OUT, NW_EVERY_FRAME, NW_HAS_MAC, NW_RETURN},
	{"no-mac-spoofing", 500, NW_OUT, NW_EVERY_FRAME, 0, NW_DROP},
	{"no-ip-spoofing", 100, NW_OUT, NW_IP4, NW_HAS_NONE_YET, NW_RETURN},
	{"no-ip-spoofing", 500, NW_OUT, NW_IP4, NW_HAS_ADDRESS, NW_RETURN},
	{"no-ip-spoofing", 1000, NW_OUT, NW_IP4, 0, NW_DROP},
	{"no-ipv6-spoofing", 100, NW_OUT, NW_IP6, NW_HAS_NONE_YET, NW_RETURN},
	{"no-ipv6-spoofing", 500, NW_OUT, NW_IP6, NW_HAS_ADDRESS, NW_RETURN},
	{"no-ipv6-spoofing", 1000, NW_OUT, NW_IP6, 0, NW_DROP},
	{"no-arp-mac-spoofing", 350, NW_OUT, NW_ARP, NW_HAS_ARP_MAC, NW_RETURN},
	{"no-arp-mac-spoofing", 1000, NW_OUT, NW_ARP, 0, NW_DROP},
	{"no-arp-ip-spoofing", 400, NW_OUT, NW_ARP, NW_HAS_ADDRESS, NW_RETURN},
	{"no-arp-ip-spoofing", 1000, NW_OUT, NW_ARP, 0, NW_DROP},
	{"allow-arp", 500, NW_INOUT, NW_ARP, 0, NW_ACCEPT},
	{"allow-ipv4", 500, NW_INOUT, NW_IP4, 0, NW_ACCEPT},
	{"allow-ipv6", 500, NW_INOUT, NW_IP6, 0, NW_ACCEPT},
	{"allow-incoming-ipv4", 500, NW_IN, NW_IP4, 0, NW_ACCEPT},
	{"allow-incoming-ipv6", 500, NW_IN, NW_IP6, 0, NW_ACCEPT},
	{"allow-dhcp", 100, NW_INOUT, NW_IP4, NW_HAS_DHCP, NW_ACCEPT},
	{"allow-dhcpv6", 100, NW_INOUT, NW_IP6, NW_HAS_DHCP, NW_ACCEPT},
	{"no-ip-multicast", 500, NW_OUT, NW_IP4, NW_HAS_MULTICAST, NW_DROP},
	{"no-ipv6-multicast", 500, NW_OUT, NW_IP6, NW_HAS_MULTICAST, NW_DROP},
	{"no-other-l2-traffic", 1000, NW_INOUT, NW_EVERY_FRAME, 0, NW_DROP},
	{"clean-traffic", -650, NW_OUT, NW_IP4, 0, NW_ACCEPT},
	{"clean-traffic", -500, NW_INOUT, NW_ARP, 0, NW_ACCEPT},
};

static const struct {
	const char *filter, *to;
} references[] = {
	{"no-arp-spoofing", "no-arp-mac-spoofing"},
	{"no-arp-spoofing", "no-arp-ip-spoofing"},
	{"qemu-announce-self", "qemu-announce-self-rarp"},
	{"qemu-announce-self", "no-other-rarp-traffic"},
	{"clean-traffic", "no-mac-spoofing"},
	{"clean-traffic", "no-ip-spoofing"},
	{"clean-traffic", "allow-incoming-ipv4"},
	{"clean-traffic", "no-arp-spoofing"},
	{"clean-traffic", "no-other-l2-traffic"},
	{"clean-traffic", "qemu-announce-self"},
};

static const struct {
	const char *filter, *advice;
} refused[] = {
	{"clean-traffic-gateway", "no rule is about the other side's MAC address here: refer to "
				  "clean-traffic, and let rules name the addresses"},
	{"no-mac-broadcast", "no rule is about the destination's MAC address here: take it out"},
	{"allow-dhcp-server", "answers to the guest's own requests are taken from any DHCP server "
			      "here: refer to allow-dhcp if that will do"},
	{"allow-dhcpv6-server", "answers to the guest's own requests are taken from any DHCP server "
				"here: refer to allow-dhcpv6 if that will do"},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static int add_rows(struct nw_link *link, size_t which, const struct sl_pos *pos,
		    struct sl_diag *diag)
{
	struct nw_row row = {.chain = own[which].chain, .pos = *pos};
	int err = 0;

	nw_chain_frames(row.chain, &row.chain_priority);
	if (own[which].priority)
		row.chain_priority = own[which].priority;
	for (size_t i = 0; i < COUNT(rows) && !err; i++) {
		if (strcmp(rows[i].filter, own[which].name))
			continue;
		row.priority = rows[i].priority;
		row.directions = rows[i].directions;
		row.frames = rows[i].frames;
		row.need = rows[i].need;
		row.action = rows[i].action;
		err = nw_link_row(link, row, diag);
	}
	return err;
}

int nw_link_own(struct nw_link *link, const char *name, const struct sl_pos *pos,
		struct sl_diag *diag)
{
	size_t which = 0;
	int err = 0;

	for (size_t i = 0; i < COUNT(refused); i++)
		if (!strcmp(refused[i].filter, name))
			return sl_error(diag, pos, "filterref \"%s\": %s", name, refused[i].advice);
	while (which < COUNT(own) && strcmp(own[which].name, name))
		which++;
	if (which == COUNT(own))
		return -ENOENT;
	for (size_t i = 0; i < COUNT(references) && !err; i++)
		if (!strcmp(references[i].filter, name))
			err = nw_link_own(link, references[i].to, pos, diag);
	return err ? err : add_rows(link, which, pos, diag);
}
