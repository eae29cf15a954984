// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What the tables say: of new flows, of their answers, of what is no flow. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#include "nwfilter_internal.h"

enum nw_verdict nw_table_says(const struct nw_table *table, size_t first, const struct nw_box *box,
			      unsigned state, size_t *why)
{
	enum nw_verdict verdict = NW_MIXED; /* none seen yet */
	size_t seen = 0;

	for (size_t i = first; i < table->n; i++) {
		const struct nw_entry *e = &table->entries[i];
		enum nw_verdict this = e->pass ? NW_PASSES : NW_DENIED;

		if (!(e->states & state) || nw_box_disjoint(&e->box, box))
			continue;
		if (verdict == NW_MIXED || e->pos.line)
			seen = i;
		if (why)
			*why = seen;
		if (verdict != NW_MIXED && this != verdict)
			return NW_MIXED;
		verdict = this;
		if (nw_box_covers(&e->box, box))
			return verdict;
	}
	return NW_MIXED; /* not reached: the ends cover everything */
}

/* The states that packets of the box can be in at all. */
static unsigned possible(const struct nw_box *box)
{
	int icmp = nw_icmp(box->family);

	if (!nw_box_has(box, icmp))
		return NW_NEW | NW_ESTABLISHED | NW_RELATED;
	if (box->icmp_type < 0)
		return NW_EVERY_STATE;
	if (nw_icmp_query(box->family, box->icmp_type))
		return NW_NEW | NW_ESTABLISHED | NW_RELATED;
	return NW_EVERY_STATE & ~NW_NEW;
}

/* Takes from each entry the states in which an earlier one always decides. What a
 * mirrored one decides is in question (check_entry), so it decides nothing here. */
static void trim(struct nw_table *table)
{
	for (size_t i = 0; i < table->n; i++) {
		struct nw_entry *late = &table->entries[i];

		late->states &= possible(&late->box);
		for (size_t j = 0; j < i && late->states; j++)
			if (!table->entries[j].mirrored &&
			    nw_box_covers(&table->entries[j].box, &late->box))
				late->states &= ~table->entries[j].states;
	}
}

/* Without entry i: does the table say the same in this state? */
static bool makes_no_difference(const struct nw_table *table, size_t i, unsigned state)
{
	const struct nw_entry *e = &table->entries[i];

	return nw_table_says(table, i + 1, &e->box, state, NULL) ==
	       (e->pass ? NW_PASSES : NW_DENIED);
}

/* ---- what a policy cannot say ---- */

/* DHCP is the device's matter (docs/devices.md), so rules about its ports alone are
 * not looked at but by nw_tables_switches. What comes in on them never reaches a rule;
 * what goes out does if it goes to no broadcast, so there only an accept is passed over. */
static bool is_dhcp(const struct nw_entry *e, bool out)
{
	__u16 client = e->box.family == 4 ? 68 : 546, server = client == 68 ? 67 : 547;
	struct nw_box udp = e->box;

	nw_box_only(&udp, IPPROTO_UDP);
	return nw_box_covers(&udp, &e->box) && (e->pass || !out) && e->box.local.low == client &&
	       e->box.local.high == client && e->box.remote.low == server &&
	       e->box.remote.high == server;
}

static int refuse_mirrored(const struct nw_entry *e, bool out, struct sl_diag *diag)
{
	const char *way = out ? "out" : "in", *other = out ? "in" : "out";

	if (e->pass)
		return sl_error(diag, &e->pos, "direction=\"%s\" that passes packets in every "
				"state: libvirt's iptables driver passes those in direction \"%s\" "
				"too, its nftables driver does not: take out statematch, and write "
				"accept for return", other, way);
	return sl_error(diag, &e->pos, "direction=\"%s\" that drops: libvirt's iptables driver "
			"drops in direction \"%s\" too, its nftables driver does not, and later "
			"rules do not settle it: add state=\"NEW\" to drop one way only, or end the "
			"filter with a drop in direction \"%s\"", other, way, way);
}

/* Takes a state from the entry if that makes no difference. */
static void drop_state(struct nw_table *table, size_t i, unsigned state)
{
	if (table->entries[i].states & state && makes_no_difference(table, i, state))
		table->entries[i].states &= ~state;
}

static int check_entry(struct nw_table *table, size_t i, bool out, struct sl_diag *diag)
{
	struct nw_entry *e = &table->entries[i];
	struct nw_range source = out ? e->box.local : e->box.remote;

	if (!(e->states & (NW_NEW | NW_INVALID)) || !e->rule)
		return 0;
	if (is_dhcp(e, out))
		e->states &= ~(unsigned)(NW_NEW | NW_INVALID);
	if (e->mirrored || !nw_every_port(source)) {
		drop_state(table, i, NW_NEW);
		drop_state(table, i, NW_INVALID);
	}
	if (e->mirrored && e->states & NW_NEW)
		return refuse_mirrored(e, out, diag);
	if (!nw_every_port(source) && e->states & NW_NEW)
		return sl_error(diag, &e->pos, "srcportstart=\"%u\": no rule is about source ports "
				"here: take it out", source.low);
	return 0;
}

static int check_table(struct nw_table *table, bool out, struct sl_diag *diag)
{
	int err = 0;

	trim(table);
	for (size_t i = 0; i < table->n; i++)
		if (check_entry(table, i, out, diag))
			err = -EINVAL;
	return err;
}

int nw_tables_check(struct nw_tables *tables, struct sl_diag *diag)
{
	int out = check_table(&tables->out, true, diag), in = check_table(&tables->in, false, diag);

	return out ? out : in;
}

/* ---- a flow's later packets, and its answers ---- */

/* No flow comes from a multicast address, so none is answered there. */
static bool multicast_only(const struct nw_box *box)
{
	return box->family == 4 ? box->low >= 0xe0000000 : box->low >> 120 == 0xff;
}

/* Does the rule of e drop the opening packet too, before `opener` lets it through? */
static bool drops_the_opening(const struct nw_table *table, const struct nw_entry *e,
			      const struct nw_entry *opener)
{
	if (e->order > opener->order)
		return false;
	for (size_t i = 0; i < table->n; i++) {
		const struct nw_entry *other = &table->entries[i];

		if (other->order == e->order && other->rule == e->rule && !other->pass &&
		    nw_box_covers(&other->box, &e->box) && other->made & NW_NEW)
			return true;
	}
	return false;
}

/* The entry that drops established packets of the opener's flows, or NULL. The opener's
 * table is `opening`; `table` is that, or for answers the other one. */
static const struct nw_entry *who_drops(const struct nw_table *opening,
					const struct nw_entry *opener, const struct nw_table *table)
{
	unsigned state = table == opening ? NW_LATER : NW_ANSWER;
	struct nw_box box = opener->box;

	if (table != opening && box.icmp_type >= 0)
		box.icmp_type = nw_icmp_answer(box.family, box.icmp_type);
	for (size_t i = 0; i < table->n; i++) {
		const struct nw_entry *e = &table->entries[i];

		if (!(e->states & state) || nw_box_disjoint(&e->box, &box))
			continue;
		if (e->pass && nw_box_covers(&e->box, &box))
			return NULL;
		if (!e->pass && !drops_the_opening(opening, e, opener) &&
		    !(table != opening && multicast_only(&e->box)))
			return e;
	}
	return NULL;
}

static int check_answers(const struct nw_table *opening, const struct nw_table *answering,
			 const char *way, struct sl_diag *diag)
{
	const struct nw_entry *e, *by = NULL;
	int err = 0;

	for (size_t i = 0; i < opening->n; i++) {
		e = &opening->entries[i];
		if (!e->pass || !(e->states & NW_NEW))
			continue;
		by = who_drops(opening, e, opening);
		if (!by)
			by = who_drops(opening, e, answering);
		if (!by)
			continue;
		err = sl_error(diag, e->rule ? &e->pos : &by->pos, "%s lets %s new flows whose "
			       "later packets or answers the rule in line %u drops; here they "
			       "always pass: accept state=\"ESTABLISHED\" in both directions before "
			       "that rule, or drop state=\"NEW\" alone there", e->rule ? "this" :
			       "the end of the filter", way, by->pos.line);
	}
	return err;
}

int nw_tables_answers(const struct nw_tables *tables, struct sl_diag *diag)
{
	int out = check_answers(&tables->out, &tables->in, "out", diag);
	int in = check_answers(&tables->in, &tables->out, "in", diag);

	return out ? out : in;
}

/* ---- refusals ---- */

int nw_tables_refusal(const struct nw_tables *tables, enum sl_on_deny *out, struct sl_diag *diag)
{
	const struct nw_entry *first = NULL;

	for (size_t i = 0; i < tables->in.n; i++) {
		const struct nw_entry *e = &tables->in.entries[i];

		if (e->reject && !e->mirrored && e->states & NW_NEW &&
		    !(e->rule->directions & NW_OUT))
			return sl_error(diag, &e->pos, "action=\"reject\" direction=\"in\": what "
					"comes in is dropped here, never answered: write drop");
	}
	for (size_t i = 0; i < tables->out.n; i++) {
		const struct nw_entry *e = &tables->out.entries[i];

		if (!e->rule || e->pass || e->mirrored || !(e->states & NW_NEW))
			continue;
		if (first && first->reject != e->reject)
			return sl_error(diag, &e->pos, "action=\"%s\", but line %u has \"%s\": "
					"`on_deny` is one for the whole policy: write the same in "
					"all rules about what the guest sends", e->reject ? "reject" : "drop",
					first->pos.line, first->reject ? "reject" : "drop");
		if (!first)
			first = e;
	}
	*out = first && first->reject ? SL_REJECT : SL_DROP;
	return 0;
}
