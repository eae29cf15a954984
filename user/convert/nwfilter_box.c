// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Sets of flows. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "nwfilter_internal.h"

#define EVERY_PORT ((struct nw_range){0, 65535})

static nw_address highest(int family)
{
	return family == 4 ? 0xffffffff : ~(nw_address)0;
}

struct nw_box nw_box_all(int family)
{
	struct nw_box box = {
		.family = (__u8)family,
		.high = highest(family),
		.remote = EVERY_PORT,
		.local = EVERY_PORT,
		.icmp_type = -1,
		.icmp_code = -1,
	};

	memset(box.protocols, 0xff, sizeof(box.protocols));
	return box;
}

void nw_box_only(struct nw_box *box, int protocol)
{
	memset(box->protocols, 0, sizeof(box->protocols));
	box->protocols[protocol / 64] = 1ull << (protocol % 64);
}

bool nw_box_has(const struct nw_box *box, int protocol)
{
	return box->protocols[protocol / 64] >> (protocol % 64) & 1;
}

bool nw_box_every_protocol(const struct nw_box *box)
{
	for (int i = 0; i < 4; i++)
		if (~box->protocols[i])
			return false;
	return true;
}

bool nw_box_empty(const struct nw_box *box)
{
	for (int i = 0; i < 4; i++)
		if (box->protocols[i])
			return false;
	return true;
}

static bool apart(struct nw_range a, struct nw_range b)
{
	return a.high < b.low || b.high < a.low;
}

static bool within(struct nw_range inner, struct nw_range outer)
{
	return outer.low <= inner.low && inner.high <= outer.high;
}

bool nw_box_disjoint(const struct nw_box *a, const struct nw_box *b)
{
	bool shared = false;

	for (int i = 0; i < 4; i++)
		shared |= (a->protocols[i] & b->protocols[i]) != 0;
	return !shared || a->family != b->family || a->high < b->low || b->high < a->low ||
	       apart(a->remote, b->remote) || apart(a->local, b->local) ||
	       (a->icmp_type >= 0 && b->icmp_type >= 0 && a->icmp_type != b->icmp_type) ||
	       (a->icmp_code >= 0 && b->icmp_code >= 0 && a->icmp_code != b->icmp_code);
}

bool nw_box_covers(const struct nw_box *outer, const struct nw_box *inner)
{
	for (int i = 0; i < 4; i++)
		if (inner->protocols[i] & ~outer->protocols[i])
			return false;
	return outer->family == inner->family && outer->low <= inner->low &&
	       inner->high <= outer->high && within(inner->remote, outer->remote) &&
	       within(inner->local, outer->local) &&
	       (outer->icmp_type < 0 || outer->icmp_type == inner->icmp_type) &&
	       (outer->icmp_code < 0 || outer->icmp_code == inner->icmp_code);
}

int nw_icmp(int family)
{
	return family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
}

/* The messages that open a connection: Linux, net/netfilter/nf_conntrack_proto_icmp.c
 * and nf_conntrack_proto_icmpv6.c, valid_new. */
bool nw_icmp_query(int family, int type)
{
	if (family == 6)
		return type == 128 || type == 139;
	return type == 8 || type == 13 || type == 15 || type == 17;
}

/* Same files, invmap. */
int nw_icmp_answer(int family, int type)
{
	if (!nw_icmp_query(family, type))
		return type;
	return family == 4 && type == 8 ? 0 : type + 1;
}

/* What the cut leaves on either side of a range of addresses or ports. */
static int cut_addresses(struct nw_box *rest, const struct nw_box *cut, struct nw_box *pieces)
{
	int n = 0;

	if (rest->low < cut->low) {
		pieces[n] = *rest;
		pieces[n++].high = cut->low - 1;
		rest->low = cut->low;
	}
	if (rest->high > cut->high) {
		pieces[n] = *rest;
		pieces[n++].low = cut->high + 1;
		rest->high = cut->high;
	}
	return n;
}

static int cut_ports(struct nw_box *rest, const struct nw_box *cut, struct nw_box *pieces)
{
	int n = 0;

	if (rest->local.low < cut->local.low) {
		pieces[n] = *rest;
		pieces[n++].local.high = cut->local.low - 1;
	}
	if (rest->local.high > cut->local.high) {
		pieces[n] = *rest;
		pieces[n++].local.low = cut->local.high + 1;
	}
	return n;
}

int nw_box_subtract(const struct nw_box *box, const struct nw_box *cut,
		    struct nw_box pieces[NW_PIECES])
{
	struct nw_box rest = *box;
	int n = 0;

	pieces[0] = *box;
	if (nw_box_disjoint(box, cut))
		return 1;
	for (int i = 0; i < 4; i++) {
		pieces[0].protocols[i] &= ~cut->protocols[i];
		rest.protocols[i] &= cut->protocols[i];
	}
	if (!nw_box_empty(&pieces[0]))
		n++;
	if (!within(rest.remote, cut->remote) || (cut->icmp_type >= 0 && rest.icmp_type < 0) ||
	    (cut->icmp_code >= 0 && rest.icmp_code < 0))
		return -EINVAL;
	n += cut_addresses(&rest, cut, &pieces[n]);
	return n + cut_ports(&rest, cut, &pieces[n]);
}
