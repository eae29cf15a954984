// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A set of flows as a match of a policy. */
#include <errno.h>

#include "nwfilter_internal.h"
#include "policy/text.h"

static int add_host(struct sl_match *match, int family, nw_address address, int len)
{
	struct sl_host *host = SL_ADD(match->hosts, match->n_hosts);
	int bytes = family == 4 ? 4 : 16;

	if (!host)
		return -ENOMEM;
	host->kind = SL_HOST_CIDR;
	host->cidr.family = (__u8)family;
	host->cidr.len = (__u8)len;
	for (int i = 0; i < bytes; i++)
		host->cidr.addr[i] = (__u8)(address >> 8 * (bytes - 1 - i));
	return 0;
}

/* IPv6 blocks that hold IPv4 addresses (docs/policy.md): a wider prefix does not cover
 * the first four here, so they are named beside it; the last two are judged as IPv4. */
static const struct {
	nw_address first;
	int len;
	bool as_ipv4;
} embedding[] = {
	{(nw_address)0xffff << 48, 96, false},	     {(nw_address)0x64ff9b0001 << 80, 48, false},
	{(nw_address)0x2002 << 112, 16, false},	     {(nw_address)0x20010000 << 96, 32, false},
	{(nw_address)0xffff << 32, 96, true},	     {(nw_address)0x64ff9b << 96, 96, true},
};
#define N_EMBEDDING (int)(sizeof(embedding) / sizeof(embedding[0]))

static int add_prefix(struct sl_match *match, int family, nw_address first, int len)
{
	nw_address span = len ? ((nw_address)1 << (128 - len)) - 1 : ~(nw_address)0;
	int err = 0;

	if (family == 4)
		return add_host(match, family, first, len);
	for (int i = 0; i < N_EMBEDDING; i++) {
		nw_address block = ((nw_address)1 << (128 - embedding[i].len)) - 1;

		if (embedding[i].as_ipv4 && (first & ~block) == embedding[i].first &&
		    len >= embedding[i].len)
			return 0;
	}
	err = add_host(match, family, first, len);
	for (int i = 0; i < N_EMBEDDING && !err; i++)
		if (!embedding[i].as_ipv4 && (embedding[i].first & ~span) == first &&
		    len < embedding[i].len)
			err = add_host(match, family, embedding[i].first, embedding[i].len);
	return err;
}

/* The range as prefixes: each as long as where it begins and where it ends allow. */
static int add_hosts(struct sl_match *match, const struct nw_box *box)
{
	int width = box->family == 4 ? 32 : 128;
	nw_address at = box->low, span;

	for (;;) {
		int len = width, err;

		while (len) {
			span = len == 1 && width == 128 ? ~(nw_address)0
							: ((nw_address)1 << (width - len + 1)) - 1;
			if (at & span || box->high - at < span)
				break;
			len--;
		}
		span = len ? ((nw_address)1 << (width - len)) - 1 : ~(nw_address)0;
		err = add_prefix(match, box->family, at, len);
		if (err || !len || box->high - at <= span)
			return err;
		at += span + 1;
	}
}

static int add_protocols(struct sl_match *match, const struct nw_box *box)
{
	for (int protocol = 0; protocol < 256 && !nw_box_every_protocol(box); protocol++) {
		int *slot;

		if (!nw_box_has(box, protocol))
			continue;
		slot = SL_ADD(match->protocols, match->n_protocols);
		if (!slot)
			return -ENOMEM;
		*slot = protocol;
	}
	return 0;
}

bool nw_every_port(struct nw_range ports)
{
	return !ports.low && ports.high == 65535;
}

int nw_match_ports(struct sl_match *match, struct nw_range ports)
{
	struct sl_port_range *slot = SL_ADD(match->ports, match->n_ports);

	if (!slot)
		return -ENOMEM;
	slot->low = ports.low ? ports.low : 1;
	slot->high = ports.high;
	return 0;
}

int nw_match_fill(struct sl_match *match, const struct nw_box *box, struct nw_range ports)
{
	int err = nw_every_port(ports) ? 0 : nw_match_ports(match, ports);

	match->icmp_code = box->icmp_code;
	match->has_icmp = box->icmp_type >= 0;
	if (match->has_icmp)
		match->icmp_type = (__u8)box->icmp_type;
	if (!err)
		err = add_protocols(match, box);
	return err ? err : add_hosts(match, box);
}
