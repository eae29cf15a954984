// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The rules about frames. They hold a guest to its addresses, which here is the
 * device's binding; so they are not translated but asked: which frames of a guest
 * that keeps to its addresses pass, and which of one that does not?
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nwfilter_internal.h"
#include "policy/text.h"

/* ---- chains and rows ---- */

unsigned nw_chain_frames(const char *chain, int *priority)
{
	static const struct {
		const char *prefix;
		int priority;
		unsigned frames;
	} known[] = {
		{"mac", -800, NW_EVERY_FRAME}, {"stp", -810, NW_OTHER},	 {"vlan", -750, NW_OTHER},
		{"arp", -500, NW_ARP},	       {"rarp", -400, NW_OTHER}, {"ipv4", -700, NW_IP4},
		{"ipv6", -600, NW_IP6},
	};

	*priority = 0;
	if (!strcmp(chain, "root"))
		return NW_EVERY_FRAME;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (!strncmp(chain, known[i].prefix, strlen(known[i].prefix))) {
			*priority = known[i].priority;
			return known[i].frames;
		}
	}
	return 0;
}

int nw_link_row(struct nw_link *link, struct nw_row row, struct sl_diag *diag)
{
	struct nw_row *slot;

	for (size_t i = 0; i < link->n; i++)
		if (!strcmp(link->rows[i].chain, row.chain) &&
		    link->rows[i].chain_priority != row.chain_priority)
			return sl_error(diag, &row.pos,
					"chain %.80s has priority %d here and %d in line %u: give "
					"it one",
					row.chain, row.chain_priority, link->rows[i].chain_priority,
					link->rows[i].pos.line);
	slot = SL_ADD(link->rows, link->n);
	if (!slot)
		return -ENOMEM;
	*slot = row;
	slot->order = (unsigned)link->n;
	return 0;
}

int nw_link_rule(struct nw_link *link, const struct nw_filter *filter, const struct nw_rule *rule,
		 struct sl_diag *diag)
{
	int ignored;
	struct nw_row row = {
		.chain = filter->chain,
		.chain_priority = filter->chain_priority,
		.priority = rule->priority,
		.directions = rule->directions,
		.frames = rule->frames & nw_chain_frames(filter->chain, &ignored),
		.action = rule->action,
		.pos = rule->pos,
	};

	return nw_link_row(link, row, diag);
}

/* ---- one frame's way ---- */

static bool in_root(const struct nw_row *row)
{
	return !strcmp(row->chain, "root");
}

/* The root chain in order; where another chain is entered, its rows stand together. A
 * chain comes before a rule of the same priority. */
static int compare(const void *a, const void *b)
{
	const struct nw_row *x = a, *y = b;
	int px = in_root(x) ? x->priority : x->chain_priority;
	int py = in_root(y) ? y->priority : y->chain_priority;
	int names;

	if (px != py)
		return px < py ? -1 : 1;
	if (in_root(x) != in_root(y))
		return in_root(x) ? 1 : -1;
	names = strcmp(x->chain, y->chain);
	if (names)
		return names;
	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

struct frame {
	unsigned kind, direction, has;
};

/* Does it pass? *why: who drops it. */
static bool passes(const struct nw_link *link, struct frame frame, struct sl_pos *why)
{
	const char *left = NULL; /* the chain that it has returned from */

	for (size_t i = 0; i < link->n; i++) {
		const struct nw_row *row = &link->rows[i];

		if (!(row->frames & frame.kind) || !(row->directions & frame.direction) ||
		    (row->need & frame.has) != row->need || row->action == NW_CONTINUE)
			continue;
		if (left && !strcmp(left, row->chain))
			continue;
		if (row->action == NW_RETURN && !in_root(row)) {
			left = row->chain;
			continue;
		}
		if (row->action == NW_DROP || row->action == NW_REJECT) {
			*why = row->pos;
			return false;
		}
		return true;
	}
	return true;
}

/* ---- the questions ---- */

#define HONEST (NW_HAS_MAC | NW_HAS_ADDRESS | NW_HAS_ARP_MAC)

/* Both ways or neither. */
static int both_ways(struct nw_link *link, unsigned kind, const char *what, bool *out,
		     struct sl_pos *why, struct sl_diag *diag)
{
	bool sent = passes(link, (struct frame){kind, NW_OUT, HONEST}, why);
	bool got = passes(link, (struct frame){kind, NW_IN, 0}, why);

	*out = sent && got;
	if (sent == got)
		return 0;
	return sl_error(diag, why,
			"%s passes %s the guest and not %s it: here it is both or neither; drop it "
			"both ways, or accept it both ways",
			what, sent ? "from" : "to", sent ? "to" : "from");
}

/* Is every kind of frame that passes dropped without this? */
static bool held(const struct nw_link *link, unsigned kinds, unsigned without)
{
	struct sl_pos ignored;

	for (unsigned kind = NW_IP4; kind <= NW_ARP; kind <<= 1)
		if (kinds & kind &&
		    !passes(link, (struct frame){kind, NW_OUT, HONEST & ~without}, &ignored))
			return true;
	return false;
}

static bool dhcp(const struct nw_link *link, unsigned kind, unsigned has)
{
	struct sl_pos ignored;

	return passes(link,
		      (struct frame){kind, NW_OUT,
				     NW_HAS_MAC | NW_HAS_NONE_YET | NW_HAS_DHCP | has},
		      &ignored) &&
	       passes(link, (struct frame){kind, NW_IN, NW_HAS_DHCP}, &ignored);
}

int nw_link_judge(struct nw_link *link, struct nw_link_summary *out, struct sl_diag *diag)
{
	struct nw_link_summary s = {};
	struct sl_pos ignored;
	unsigned open;
	int err;

	if (link->n)
		qsort(link->rows, link->n, sizeof(link->rows[0]), compare);
	err = both_ways(link, NW_IP4, "IPv4", &s.ip4, &s.ip4_pos, diag);
	if (!err)
		err = both_ways(link, NW_IP6, "IPv6", &s.ip6, &s.ip6_pos, diag);
	if (!err)
		err = both_ways(link, NW_ARP, "ARP", &s.arp, &ignored, diag);
	if (err)
		return err;
	open = (s.ip4 ? NW_IP4 : 0) | (s.ip6 ? NW_IP6 : 0) | (s.arp ? NW_ARP : 0);
	/* A device holds ARP's addresses to the frame's, so one binding serves both. */
	s.mac = held(link, open, NW_HAS_MAC) || held(link, open, NW_HAS_ARP_MAC);
	s.ip4_bound = held(link, open & (NW_IP4 | NW_ARP), NW_HAS_ADDRESS);
	s.ip6_bound = held(link, open & NW_IP6, NW_HAS_ADDRESS);
	s.dhcp4 = dhcp(link, NW_IP4, 0);
	s.dhcp6 = dhcp(link, NW_IP6, NW_HAS_MULTICAST);
	s.multicast4 = passes(link, (struct frame){NW_IP4, NW_OUT, HONEST | NW_HAS_MULTICAST},
			      &s.multicast4_pos);
	s.multicast6 = passes(link, (struct frame){NW_IP6, NW_OUT, HONEST | NW_HAS_MULTICAST},
			      &s.multicast6_pos);
	*out = s;
	return 0;
}
