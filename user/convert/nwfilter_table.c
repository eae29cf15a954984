// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The rules about packets → two tables, of what the guest sends and of what reaches
 * it, in the order in which packets meet them.
 *
 * What libvirt makes of one rule (its ebtables/iptables driver, src/nwfilter, and the
 * expected rules of its tests):
 *
 *	accept			its own direction: NEW and later packets of a flow that
 *				this direction opened; the other, with source and
 *				destination exchanged: the answers of such a flow
 *	accept, inout		both: every packet
 *	statematch='false'	its own direction and the other: every packet
 *	drop, reject, return	the same
 *	with state=		its own direction: packets in one of the states
 *	with an ICMP type	never the other direction; accept: its own, for NEW and
 *				ESTABLISHED packets of flows that either side opened
 *
 * A box tells the other side's address and the guest's port apart, not source and
 * destination: so the exchange changes nothing in it.
 */
#include <errno.h>
#include <stdlib.h>

#include "nwfilter_internal.h"
#include "policy/text.h"

static int compare_uses(const void *a, const void *b)
{
	const struct nw_use *x = a, *y = b;

	if (x->rule->priority != y->rule->priority)
		return x->rule->priority < y->rule->priority ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

static int add(struct nw_table *table, struct nw_entry entry)
{
	struct nw_entry *slot = SL_ADD(table->entries, table->n);

	if (!slot)
		return -ENOMEM;
	*slot = entry;
	slot->made = entry.states;
	return 0;
}

static unsigned own_states(const struct nw_rule *rule)
{
	if (rule->states)
		return rule->states;
	if (rule->action == NW_ACCEPT && !rule->stateless && rule->directions != NW_INOUT)
		return NW_NEW | NW_LATER | (rule->box.icmp_type < 0 ? 0 : NW_ANSWER);
	return NW_EVERY_STATE;
}

/* Of the direction that the rule does not name; 0: no entry. */
static unsigned mirrored_states(const struct nw_rule *rule)
{
	if (rule->states || rule->directions == NW_INOUT || rule->box.icmp_type >= 0)
		return 0;
	if (rule->action == NW_ACCEPT && !rule->stateless)
		return NW_ANSWER;
	return NW_EVERY_STATE;
}

static int add_use(struct nw_tables *tables, const struct nw_use *use, unsigned order)
{
	const struct nw_rule *rule = use->rule;
	struct nw_entry entry = {
		.box = rule->box,
		.pass = rule->action == NW_ACCEPT || rule->action == NW_RETURN,
		.reject = rule->action == NW_REJECT,
		.order = order,
		.rule = rule,
		.pos = rule->pos,
	};
	int err = 0;

	for (unsigned direction = NW_OUT; direction <= NW_IN && !err; direction++) {
		entry.mirrored = !(rule->directions & direction);
		entry.states = entry.mirrored ? mirrored_states(rule) : own_states(rule);
		if (entry.states)
			err = add(direction == NW_OUT ? &tables->out : &tables->in, entry);
	}
	return err;
}

/* What the link layer drops never comes to the rules about packets. */
static int add_link(struct nw_tables *tables, const struct nw_link_summary *link)
{
	struct nw_entry entry = {.states = NW_EVERY_STATE};
	int err = 0;

	for (int family = 4; family <= 6 && !err; family += 2) {
		bool open = family == 4 ? link->ip4 : link->ip6;
		bool multicast = family == 4 ? link->multicast4 : link->multicast6;

		entry.box = nw_box_all(family);
		if (!open) {
			entry.pos = family == 4 ? link->ip4_pos : link->ip6_pos;
			err = add(&tables->out, entry);
			if (!err)
				err = add(&tables->in, entry);
		} else if (!multicast) {
			entry.pos = family == 4 ? link->multicast4_pos : link->multicast6_pos;
			entry.box.low = family == 4 ? 0xe0000000 : (nw_address)0xff << 120;
			if (family == 4)
				entry.box.high = 0xefffffff;
			err = add(&tables->out, entry);
		}
	}
	return err;
}

/* A packet that no rule decides passes. */
static int add_ends(struct nw_table *table, unsigned order)
{
	struct nw_entry end = {.states = NW_EVERY_STATE, .pass = true, .order = order};
	int err;

	end.box = nw_box_all(4);
	err = add(table, end);
	end.box = nw_box_all(6);
	return err ? err : add(table, end);
}

int nw_tables_make(struct nw_use *uses, size_t n, const struct nw_link_summary *link,
		   struct nw_tables *out)
{
	struct nw_tables tables = {};
	int err = add_link(&tables, link);

	if (n)
		qsort(uses, n, sizeof(*uses), compare_uses);
	for (size_t i = 0; i < n && !err; i++)
		err = add_use(&tables, &uses[i], (unsigned)i + 1);
	if (!err)
		err = add_ends(&tables.out, (unsigned)n + 1);
	if (!err)
		err = add_ends(&tables.in, (unsigned)n + 1);
	if (err)
		nw_tables_free(&tables);
	else
		*out = tables;
	return err;
}

void nw_tables_free(struct nw_tables *tables)
{
	free(tables->out.entries);
	free(tables->in.entries);
	*tables = (struct nw_tables){};
}
