// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The tables as rules and `inbound`.
 *
 * A packet of connection tracking's state NEW opens a flow. ICMP that is no query opens
 * none and is INVALID, so an accept for NEW packets does not let it through, while a
 * rule here knows no states: such an accept becomes one rule a query's type, and what
 * the filter does with the other types is said before a rule for every protocol.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nwfilter_internal.h"
#include "policy/text.h"

#define PIECES_MAX 4096

struct boxes {
	struct nw_box *list; /* owned */
	size_t n;
};

struct emitter {
	struct sl_policy *policy;
	const struct nw_table *table;
	struct boxes done; /* what earlier rules decide */
	struct sl_diag *diag;
};

static int push(struct boxes *boxes, const struct nw_box *box)
{
	struct nw_box *slot = SL_ADD(boxes->list, boxes->n);

	if (!slot)
		return -ENOMEM;
	*slot = *box;
	return 0;
}

static bool is_done(const struct emitter *e, const struct nw_box *box)
{
	for (size_t i = 0; i < e->done.n; i++)
		if (nw_box_covers(&e->done.list[i], box))
			return true;
	return false;
}

/* ---- what the guest sends ---- */

static bool taken(const struct sl_policy *policy, const char *id)
{
	for (size_t i = 0; i < policy->n_items; i++)
		if (policy->items[i].rule && policy->items[i].rule->id &&
		    !strcmp(policy->items[i].rule->id, id))
			return true;
	return false;
}

/* `line-7`, `FILTER-line-7` for a rule of a filter referred to, `line-7.2` for its
 * second; what is of no rule is of the link layer or the filter's end. */
static char *make_id(const struct sl_policy *policy, const struct nw_entry *entry)
{
	char base[40] = "", id[SL_ID_MAX + 1];

	if (entry->rule && entry->rule->of)
		snprintf(base, sizeof(base), "%.38s-", entry->rule->of);
	for (char *c = base; *c; c++)
		if (!sl_text_name(c, 1, true))
			*c = '-';
	for (unsigned copy = 1;; copy++) {
		int len = entry->pos.line
				  ? snprintf(id, sizeof(id), "%sline-%u", base, entry->pos.line)
				  : snprintf(id, sizeof(id), "end-ipv%u", entry->box.family);

		if (copy > 1)
			snprintf(id + len, sizeof(id) - (size_t)len, ".%u", copy);
		if (!taken(policy, id))
			return strdup(id);
	}
}

static int put(struct emitter *e, const struct nw_entry *entry, const struct nw_box *box, bool pass)
{
	struct sl_rule *rule;
	char *id;
	int err;

	if (nw_box_empty(box) || is_done(e, box))
		return 0;
	err = push(&e->done, box);
	id = err ? NULL : make_id(e->policy, entry);
	rule = id ? sl_policy_add_rule(e->policy, pass ? SL_ALLOW : SL_DENY) : NULL;
	if (!rule) {
		free(id);
		return -ENOMEM;
	}
	rule->id = id;
	rule->id_written = true;
	if (entry->rule && entry->rule->comment && !(rule->reason = strdup(entry->rule->comment)))
		return -ENOMEM;
	return nw_match_fill(&rule->matches[0], box, box->remote);
}

static struct nw_box icmp_part(const struct nw_box *box)
{
	struct nw_box part = *box;

	nw_box_only(&part, nw_icmp(box->family));
	return part;
}

static struct nw_box other_part(const struct nw_box *box)
{
	struct nw_box part = *box;
	int icmp = nw_icmp(box->family);

	part.protocols[icmp / 64] &= ~(1ull << (icmp % 64));
	return part;
}

static int put_queries(struct emitter *e, const struct nw_entry *entry, bool pass)
{
	struct nw_box box = icmp_part(&entry->box);
	int err = 0;

	for (int type = 0; type < 256 && !err; type++) {
		box.icmp_type = type;
		if (nw_icmp_query(box.family, type))
			err = put(e, entry, &box, pass);
	}
	return err;
}

static bool decided_before(const struct nw_table *table, size_t i, const struct nw_box *box,
			   unsigned state)
{
	for (size_t j = 0; j < i; j++)
		if (table->entries[j].states & state && nw_box_covers(&table->entries[j].box, box))
			return true;
	return false;
}

/* It decides about NEW packets only. */
static int put_new(struct emitter *e, size_t i)
{
	const struct nw_entry *entry = &e->table->entries[i];
	struct nw_box icmp = icmp_part(&entry->box), other = other_part(&entry->box);
	enum nw_verdict rest, same = entry->pass ? NW_PASSES : NW_DENIED;
	int err;

	rest = nw_table_says(e->table, i + 1, &icmp, NW_INVALID, NULL);
	if (!nw_box_has(&entry->box, nw_icmp(entry->box.family)) || entry->box.icmp_type >= 0 ||
	    rest == same || decided_before(e->table, i, &icmp, NW_INVALID))
		return put(e, entry, &entry->box, entry->pass);
	err = put_queries(e, entry, entry->pass);
	if (err || nw_box_empty(&other))
		return err;
	if (rest == NW_MIXED)
		return put(e, entry, &other, entry->pass);
	err = put(e, entry, &icmp, !entry->pass);
	return err ? err : put(e, entry, &entry->box, entry->pass);
}

/* It decides about ICMP that opens no flow, and nothing else. */
static int put_invalid(struct emitter *e, size_t i)
{
	const struct nw_entry *entry = &e->table->entries[i];
	struct nw_box icmp = icmp_part(&entry->box);
	enum nw_verdict queries, same = entry->pass ? NW_PASSES : NW_DENIED;
	int err = 0;

	queries = nw_table_says(e->table, i + 1, &icmp, NW_NEW, NULL);
	if (entry->box.icmp_type < 0 && queries != same &&
	    !decided_before(e->table, i, &icmp, NW_NEW)) {
		if (queries == NW_MIXED)
			return sl_error(
				e->diag, &entry->pos,
				"this decides about ICMP that opens no flow, and later rules about "
				"what does, each in another way: write rules for the ICMP types");
		err = put_queries(e, entry, !entry->pass);
	}
	return err ? err : put(e, entry, &icmp, entry->pass);
}

static int emit_out(struct emitter *e)
{
	int err = 0;

	for (size_t i = 0; i < e->table->n && !err; i++) {
		const struct nw_entry *entry = &e->table->entries[i];
		unsigned states = entry->states & (NW_NEW | NW_INVALID);

		if (states == (NW_NEW | NW_INVALID))
			err = put(e, entry, &entry->box, entry->pass);
		else if (states == NW_NEW)
			err = put_new(e, i);
		else if (states)
			err = put_invalid(e, i);
	}
	return err;
}

/* ---- what reaches it ---- */

/* Does an earlier entry drop some type of ICMP in the box? */
static bool type_dropped(const struct nw_table *table, size_t i, const struct nw_box *icmp)
{
	for (size_t j = 0; j < i; j++)
		if (!table->entries[j].pass && table->entries[j].states & NW_NEW &&
		    table->entries[j].box.icmp_type >= 0 &&
		    !nw_box_disjoint(&table->entries[j].box, icmp))
			return true;
	return false;
}

/* What entry i lets in, were it alone. ICMP that opens no flow is let in only where the
 * filter lets in all ICMP. */
static int open_boxes(const struct nw_table *table, size_t i, struct boxes *out)
{
	const struct nw_box *box = &table->entries[i].box;
	struct nw_box icmp = icmp_part(box), other = other_part(box);
	int err = 0;

	if (!nw_box_has(box, nw_icmp(box->family)) || box->icmp_type >= 0 ||
	    (nw_table_says(table, 0, &icmp, NW_INVALID, NULL) == NW_PASSES &&
	     !type_dropped(table, i, &icmp)))
		return push(out, box);
	if (!nw_box_empty(&other))
		err = push(out, &other);
	for (int type = 0; type < 256 && !err; type++) {
		icmp.icmp_type = type;
		if (nw_icmp_query(icmp.family, type))
			err = push(out, &icmp);
	}
	return err;
}

static int refuse_cut(struct emitter *e, const struct nw_entry *entry,
		      const struct nw_entry *drop)
{
	const char *what = "`inbound` has no deny for such a part (an ICMP code, or too many "
			   "parts)";

	if (!entry->rule)
		return sl_error(e->diag, &drop->pos, "this drops a part of what the filter's end "
				"lets in, and %s: accept what may come in, and drop the rest", what);
	return sl_error(e->diag, &entry->pos, "the rule in line %u drops a part of what this lets "
			"in, and %s: make this rule say what is left", drop->pos.line, what);
}

/* Takes what an earlier entry drops out of the boxes. */
static int cut(struct emitter *e, const struct nw_entry *entry, const struct nw_entry *drop,
	       struct boxes *boxes)
{
	struct boxes left = {};
	struct nw_box pieces[NW_PIECES];
	int err = 0, n;

	for (size_t i = 0; i < boxes->n && !err; i++) {
		n = nw_box_subtract(&boxes->list[i], &drop->box, pieces);
		if (n < 0 || left.n + (size_t)n > PIECES_MAX)
			err = refuse_cut(e, entry, drop);
		for (int p = 0; p < n && !err; p++)
			err = push(&left, &pieces[p]);
	}
	free(boxes->list);
	*boxes = left;
	return err;
}

/* Both have ports, and nothing else tells them apart. */
static bool same_but_ports(const struct nw_box *a, const struct nw_box *b)
{
	struct nw_box moved = *a;

	moved.local = b->local;
	return !nw_every_port(a->local) && !nw_every_port(b->local) && nw_box_covers(&moved, b) &&
	       nw_box_covers(b, &moved);
}

static int put_inbound(struct emitter *e, const struct nw_box *box)
{
	struct sl_match *match;

	if (nw_box_empty(box) || !box->local.high || is_done(e, box))
		return 0;
	if (e->done.n && same_but_ports(&e->done.list[e->done.n - 1], box)) {
		match = &e->policy->inbound_matches[e->policy->n_inbound - 1];
		return push(&e->done, box) ? -ENOMEM : nw_match_ports(match, box->local);
	}
	if (push(&e->done, box))
		return -ENOMEM;
	match = SL_ADD(e->policy->inbound_matches, e->policy->n_inbound);
	return match ? nw_match_fill(match, box, box->local) : -ENOMEM;
}

static int emit_entry_in(struct emitter *e, size_t i)
{
	const struct nw_entry *entry = &e->table->entries[i], *before;
	struct boxes boxes = {};
	int err = open_boxes(e->table, i, &boxes);

	for (size_t j = 0; j < i && !err; j++) {
		before = &e->table->entries[j];
		if (!before->pass && before->states & NW_NEW)
			err = cut(e, entry, before, &boxes);
	}
	for (size_t b = 0; b < boxes.n && !err; b++)
		err = put_inbound(e, &boxes.list[b]);
	free(boxes.list);
	return err;
}

static bool everything_comes_in(const struct nw_table *table)
{
	for (int family = 4; family <= 6; family += 2) {
		struct nw_box box = nw_box_all(family);

		if (nw_table_says(table, 0, &box, NW_NEW, NULL) != NW_PASSES ||
		    nw_table_says(table, 0, &box, NW_INVALID, NULL) != NW_PASSES)
			return false;
	}
	return true;
}

static int emit_in(struct emitter *e)
{
	int err = 0;

	if (everything_comes_in(e->table)) {
		e->policy->inbound = SL_INBOUND_ALLOW;
		return 0;
	}
	for (size_t i = 0; i < e->table->n && !err; i++)
		if (e->table->entries[i].pass && e->table->entries[i].states & NW_NEW)
			err = emit_entry_in(e, i);
	if (!err)
		e->policy->inbound = e->policy->n_inbound ? SL_INBOUND_LIST : SL_INBOUND_REPLIES;
	return err;
}

int nw_emit(const struct nw_tables *tables, struct sl_policy *policy, struct sl_diag *diag)
{
	struct emitter out = {.policy = policy, .table = &tables->out, .diag = diag};
	struct emitter in = {.policy = policy, .table = &tables->in, .diag = diag};
	int sent = emit_out(&out), got = emit_in(&in);

	free(out.done.list);
	free(in.done.list);
	return sent ? sent : got;
}
