// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What a compiled policy says that its author may not mean: rules that decide
 * nothing, metadata services left reachable, a proxy that its clients cannot
 * reach. All of it is asked of the finished table.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "policy/text.h"
#include "sluice_sets.h"

#define WARNINGS_MAX 100	/* the diag keeps no more: the others are counted */

/* A hash of the words of each rule; rules without a text have 0. */
static __u64 *hash_rules(const struct compiler *c)
{
	__u64 *hashes = calloc(c->n_rules + 1, sizeof(*hashes));
	char *text;
	size_t i;

	for (i = 0; hashes && i < c->n_rules; i++) {
		text = c->rules[i].rule ? sl_rule_canonical(c->rules[i].rule) : NULL;
		hashes[i] = text ? sl_hash(text) : 0;
		free(text);
	}
	return hashes;
}

/* An earlier rule with the same words. */
static __u32 find_twin(const __u64 *hashes, __u32 rule)
{
	__u32 i;

	for (i = 0; hashes[rule] && i < rule; i++)
		if (hashes[i] == hashes[rule])
			return i;
	return SL_NONE;
}

/* Two fragments may allow the same: each must say what it needs, whoever else does. */
static bool of_another_file(const struct sl_rule_info *a, const struct sl_rule_info *b)
{
	return a->pos.file && b->pos.file && strcmp(a->pos.file, b->pos.file);
}

static struct sl_question question_of(const struct entry *e)
{
	struct sl_question q = {.inbound = e->inbound};

	q.family = 4;
	if (e->n_v4) {
		q.address_low = e->v4[0].low_low;
	} else if (e->n_v6) {
		q.family = 6;
		q.address_high = e->v6[0].low_high;
		q.address_low = e->v6[0].low_low;
	} else {
		q.address_low = 0xc0000201; /* `any`: 192.0.2.1, RFC 5737 */
	}
	q.protocol = e->keys[0].low >> 16;
	q.key = (__u16)e->keys[0].low;
	if (e->n_uids) {
		q.has_uid = 1;
		q.uid = e->uids[0].number;
	}
	return q;
}

static void warn_unreached(struct compiler *c, const struct sl_compiled *compiled,
			   const struct entry *e, const __u64 *hashes)
{
	struct sl_question q = question_of(e);
	struct sl_answer a;
	__u32 twin = find_twin(hashes, e->rule);
	const struct sl_rule_info *rule = &c->rules[e->rule], *by;

	if (twin != SL_NONE && rule->action == c->rules[twin].action &&
	    of_another_file(rule, &c->rules[twin]))
		return;
	if (twin != SL_NONE) {
		sl_warn(c->diag, &rule->pos, "rule '%s' says the same as '%s' in line %u: remove "
			"one of them", rule->id, c->rules[twin].id, c->rules[twin].pos.line);
		return;
	}
	if (e->names)
		ask_names(compiled, e, &q, &a);
	else
		sl_table_judge(&compiled->table, &q, &a);
	if (a.rule == SL_NONE || a.rule >= e->rule) {
		sl_warn(c->diag, &rule->pos, "rule '%s' can never match: earlier rules decide "
			"everything that it covers", rule->id);
		return;
	}
	by = &c->rules[a.rule];
	sl_warn(c->diag, &rule->pos, "rule '%s' can never match: '%s' in line %u comes before it "
		"and decides: move it up or remove it", rule->id, by->id, by->pos.line);
}

/* One warning for each rule of which no entry is ever the first. */
static void review_unreached(struct compiler *c, const struct sl_compiled *compiled)
{
	__u64 *hashes = NULL;
	__u32 last = SL_NONE;
	size_t i;

	for (i = 0; i < c->n_entries; i++) {
		const struct entry *e = &c->entries[i];

		if (e->marker || c->reached[e->rule] || e->rule == last || !c->rules[e->rule].pos.line)
			continue;
		if (c->rules[e->rule].reason != SL_REASON_RULE)
			continue;
		if (!e->any && !e->n_v4 && !e->n_v6 && !e->names)
			continue; /* an empty set that the author called ok */
		last = e->rule;
		if (c->diag->n_warnings >= WARNINGS_MAX) {
			sl_warn(c->diag, NULL, "counted");
			continue;
		}
		if (!hashes)
			hashes = hash_rules(c);
		if (!hashes)
			return;
		warn_unreached(c, compiled, e, hashes);
	}
	free(hashes);
}

static bool allows(const struct sl_compiled *compiled, const struct sl_cidr *address, __u16 port,
		   const __u32 *uid)
{
	struct sl_question q = {.protocol = IPPROTO_TCP, .key = port};
	struct sl_answer a;

	sl_question_address(&q, address);
	if (uid) {
		q.has_uid = 1;
		q.uid = *uid;
	}
	return sl_table_judge(&compiled->table, &q, &a) && !a.deny;
}

static bool anyone_allows(const struct compiler *c, const struct sl_compiled *compiled,
			  const struct sl_cidr *address, __u16 port)
{
	__u32 view;

	if (allows(compiled, address, port, NULL))
		return true;
	for (view = SL_VIEW_OTHER + 1; view < c->n_views; view++)
		if (allows(compiled, address, port, &c->view_uid[view]))
			return true;
	return false;
}

static void review_metadata(struct compiler *c, const struct sl_compiled *compiled)
{
	static const char *const sets[] = {
#define SL_SET_TEXT(name, text) text,
		SL_STATIC_SETS(SL_SET_TEXT)
#undef SL_SET_TEXT
	};
	const char *at = sets[1]; /* metadata */
	struct sl_cidr address;
	bool masked;
	size_t len;

	for (; *at; at += len + (at[len] == ' ')) {
		len = strcspn(at, " ");
		if (sl_cidr_parse(at, len, &address, &masked))
			continue;
		if (!anyone_allows(c, compiled, &address, 80))
			continue;
		sl_warn(c->diag, &c->policy->pos, "the metadata service at %.*s can be reached: "
			"put `- deny: \"@metadata\"` before the rules that allow it", (int)len, at);
		return;
	}
}

/* A rule for a proxy's uid is of no use if its clients cannot reach it. */
static void review_proxy(struct compiler *c, const struct sl_compiled *compiled)
{
	struct sl_cidr loopback = {.addr = {127, 0, 0, 1}, .family = 4, .len = 32};
	size_t i;

	if (!c->n_uids || anyone_allows(c, compiled, &loopback, 8888) ||
	    anyone_allows(c, compiled, &loopback, 3128) || allows(compiled, &loopback, 8080, NULL))
		return;
	for (i = 0; i < c->n_entries; i++) {
		if (!c->entries[i].n_uids || c->rules[c->entries[i].rule].action != SL_ALLOW)
			continue;
		sl_warn(c->diag, &c->rules[c->entries[i].rule].pos, "rule '%s' is for one user "
			"only, and no rule lets the others reach a proxy on loopback: if that user "
			"runs a proxy, add `- allow: \"@loopback\"`", c->rules[c->entries[i].rule].id);
		return;
	}
}

void review(struct compiler *c, const struct sl_compiled *compiled)
{
	review_unreached(c, compiled);
	review_names(c, compiled);
	review_metadata(c, compiled);
	review_proxy(c, compiled);
}
