// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What each rule of a target has decided. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/json.h"
#include "audit/record.h"
#include "view.h"

/* Sums over generations: an id's row, or a reason's where no rule decided. */
struct row {
	const char *rule; /* NULL: none */
	unsigned reason;
	bool old; /* of a generation that is no longer in force */
	__u64 count, last_ns;
	__u64 bytes[2]; /* by enum sl_direction */
	size_t next; /* + 1: another row of the same rule; 0: none */
};

struct hits {
	struct sl_table table;
	const char **ids; /* of each rule; of the one behind the last, NULL: no rule */
	size_t *first;	  /* + 1: the first row of each; policies may have a million */
	size_t n_rules;
	struct row *rows;
	size_t n, cap;
	bool failed;
};

static bool index_labels(struct hits *h)
{
	const char *at = sl_table_label(h->table.words, h->table.n_words, 0);
	size_t i;

	h->n_rules = h->table.words[SL_H_RULES];
	h->ids = calloc(h->n_rules + 1, sizeof(*h->ids));
	h->first = calloc(h->n_rules + 1, sizeof(*h->first));
	for (i = 0; i < h->n_rules && h->ids && at; i++) {
		at += strlen(at) + 1;
		h->ids[i] = at;
	}
	return h->ids && h->first;
}

static struct row *add_row(struct hits *h)
{
	struct row *rows;

	if (h->n == h->cap) {
		rows = realloc(h->rows, (h->cap ? 2 * h->cap : 64) * sizeof(*rows));
		if (!rows)
			return NULL;
		h->rows = rows;
		h->cap = h->cap ? 2 * h->cap : 64;
	}
	return &h->rows[h->n++];
}

/* rule: n_rules for none. */
static struct row *row_of(struct hits *h, size_t rule, unsigned reason, bool old)
{
	struct row *row;
	size_t i;

	for (i = h->first[rule]; i; i = h->rows[i - 1].next)
		if (h->rows[i - 1].reason == reason && h->rows[i - 1].old == old)
			return &h->rows[i - 1];
	row = add_row(h);
	if (!row)
		return NULL;
	*row = (struct row){
		.rule = h->ids[rule], .reason = reason, .old = old, .next = h->first[rule]};
	h->first[rule] = h->n;
	return row;
}

static void on_hit(void *context, const struct sl_hit_key *key, const struct sl_hit *hit)
{
	struct hits *h = context;
	/* 0: carried over from older ones, by the numbers of this one */
	bool ours = !key->generation || key->generation == (__u32)h->table.words[SL_H_GENERATION];
	bool known = ours && key->rule < h->n_rules;
	struct row *row = row_of(h, known ? key->rule : h->n_rules, key->reason,
				 !known && key->reason == SL_REASON_RULE);

	if (!row) {
		h->failed = true;
		return;
	}
	row->count += hit->count;
	row->bytes[SL_EGRESS] += hit->bytes[SL_EGRESS];
	row->bytes[SL_INGRESS] += hit->bytes[SL_INGRESS];
	if (hit->last_ns > row->last_ns)
		row->last_ns = hit->last_ns;
}

/* What the rule's decisions will say: the two rules of a `dns` block have reasons of their own;
 * beside such a block no other rule may have their ids. */
static unsigned reason_of(const struct hits *h, const char *id)
{
	static const unsigned own[] = {SL_REASON_DNS_RESOLVER, SL_REASON_DNS_GATE};

	if (!id || !(h->table.words[SL_H_DNS] >> 32)) /* without an id: a table without labels */
		return SL_REASON_RULE;
	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		if (!strcmp(id, sl_reason_word(own[i])))
			return own[i];
	return SL_REASON_RULE;
}

/* Rules that have decided nothing are shown too: they are what an audit looks for. */
static void add_idle(struct hits *h)
{
	for (size_t i = 0; i < h->n_rules; i++)
		if (!h->first[i] && !row_of(h, i, reason_of(h, h->ids[i]), false))
			h->failed = true;
}

static int most_first(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return x->count > y->count ? -1 : x->count < y->count;
}

static json_t *row_json(const struct row *r, __u64 now_ns)
{
	char last[40];
	__u64 idle_s = now_ns > r->last_ns ? (now_ns - r->last_ns) / 1000000000 : 0;

	return json_pack("{s:s?, s:s, s:b, s:o, s:s?, s:o, s:{s:o, s:o}}", "rule", r->rule, "reason",
			 sl_reason_word(r->reason), "old", r->old, "count",
			 sl_json_number(r->count), "last",
			 r->count ? sl_view_boot_time(r->last_ns, last) : NULL, "idle_s",
			 r->count ? sl_json_number(idle_s) : json_null(), "bytes", "out",
			 sl_json_number(r->bytes[SL_EGRESS]), "in",
			 sl_json_number(r->bytes[SL_INGRESS]));
}

static json_t *rows_json(struct hits *h)
{
	json_t *rows = json_array();
	__u64 now = sl_boot_ns();
	size_t i;

	if (h->rows)
		qsort(h->rows, h->n, sizeof(*h->rows), most_first);
	for (i = 0; rows && h->rows && i < h->n; i++)
		json_array_append_new(rows, row_json(&h->rows[i], now));
	return rows;
}

json_t *sl_view_rules(struct sl_state *state, __u32 slot, int *err)
{
	struct hits h = {};
	json_t *rows = NULL;

	*err = sl_state_table(state, slot, &h.table);
	if (*err)
		return NULL;
	if (index_labels(&h)) {
		*err = sl_state_settle_flows(state, slot);
		if (!*err)
			*err = sl_state_hits(state, slot, on_hit, &h);
		add_idle(&h);
	} else {
		h.failed = true;
	}
	if (!*err && !h.failed)
		rows = rows_json(&h);
	if (!*err && !rows)
		*err = -ENOMEM;
	free(h.rows);
	free(h.ids);
	free(h.first);
	free(h.table.words);
	return rows;
}
