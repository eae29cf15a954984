// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice rules --dev, --cgroup: what each rule of a target has decided. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit/record.h"
#include "hits.h"
#include "output.h"
#include "pins.h"

/* Sums over generations: an id's row, or a reason's where no rule decided. */
struct row {
	const char *rule;	/* NULL: none */
	unsigned reason;
	bool old;		/* of a generation that is no longer in force */
	__u64 count, last_ns;
};

struct hits {
	struct sl_table table;
	const char **ids;
	struct row *rows;
	size_t n, cap;
	bool failed;
};

static void index_labels(struct hits *h)
{
	size_t n = h->table.words[SL_H_RULES], i;
	const char *at = sl_table_label(h->table.words, h->table.n_words, 0);

	h->ids = calloc(n + 1, sizeof(*h->ids));
	for (i = 0; i < n && h->ids && at; i++) {
		at += strlen(at) + 1;
		h->ids[i] = at;
	}
}

static struct row *row_of(struct hits *h, const char *rule, unsigned reason, bool old)
{
	struct row *rows;
	size_t i;

	for (i = 0; i < h->n; i++)
		if (h->rows[i].rule == rule && h->rows[i].reason == reason && h->rows[i].old == old)
			return &h->rows[i];
	if (h->n == h->cap) {
		h->cap = h->cap ? 2 * h->cap : 64;
		rows = realloc(h->rows, h->cap * sizeof(*rows));
		if (!rows)
			return NULL;
		h->rows = rows;
	}
	h->rows[h->n] = (struct row){.rule = rule, .reason = reason, .old = old};
	return &h->rows[h->n++];
}

static void on_hit(void *context, const struct sl_hit_key *key, const struct sl_hit *hit)
{
	struct hits *h = context;
	/* 0: carried over from older ones, by the numbers of this one */
	bool ours = !key->generation ||
		    key->generation == (__u32)h->table.words[SL_H_GENERATION];
	bool known = ours && h->ids && key->rule < h->table.words[SL_H_RULES];
	struct row *row = row_of(h, known ? h->ids[key->rule] : NULL, key->reason,
				 !known && key->reason == SL_REASON_RULE);

	if (!row) {
		h->failed = true;
		return;
	}
	row->count += hit->count;
	if (hit->last_ns > row->last_ns)
		row->last_ns = hit->last_ns;
}

/* Rules that have decided nothing are shown too: they are what an audit looks for. */
static void add_idle(struct hits *h)
{
	size_t n = h->table.words[SL_H_RULES], i, k;

	for (i = 0; h->ids && i < n; i++) {
		for (k = 0; k < h->n && h->rows[k].rule != h->ids[i]; k++)
			;
		if (k == h->n && !row_of(h, h->ids[i], SL_REASON_RULE, false))
			h->failed = true;
	}
}

static int most_first(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return x->count > y->count ? -1 : x->count < y->count;
}

static void print_row(const struct row *r, bool json)
{
	const char *name = r->rule ? r->rule : r->old ? "(a rule of an older policy)" : "(no rule)";
	char last[40] = "never";

	if (r->count)
		sl_boot_time_text(r->last_ns, last);
	if (json)
		sl_json_print(json_pack("{s:s?, s:s, s:o, s:s?}", "rule", r->rule, "reason",
					sl_reason_word(r->reason), "count",
					sl_json_number(r->count), "last",
					r->count ? last : NULL));
	else
		printf("%10llu  %-20s  %-28s  %s\n", (unsigned long long)r->count, last, name,
		       sl_reason_word(r->reason));
}

static int print_hits(struct sl_state *state, __u32 slot, bool json)
{
	struct hits h = {};
	size_t i;
	int err = sl_state_table(state, slot, &h.table);

	if (err)
		return err;
	index_labels(&h);
	err = sl_state_hits(state, slot, on_hit, &h);
	add_idle(&h);
	if (h.rows)
		qsort(h.rows, h.n, sizeof(*h.rows), most_first);
	if (!json)
		printf("%10s  %-20s  %-28s  %s\n", "DECISIONS", "LAST", "RULE", "REASON");
	for (i = 0; i < h.n; i++)
		print_row(&h.rows[i], json);
	free(h.rows);
	free(h.ids);
	free(h.table.words);
	return err ? err : h.failed ? -ENOMEM : 0;
}

struct wanted {
	const char *name;	/* of a device */
	__u32 slot;
	bool found;
};

static void find(void *context, const struct sl_target_view *view)
{
	struct wanted *w = context;

	if (view->here && !strcmp(view->target.name, w->name) && view->attached) {
		w->slot = view->slot;
		w->found = true;
	}
}

/* 0, or -errno; found or not is in *w. */
static int find_target(struct sl_state *state, const char *name, bool is_cgroup,
		       struct wanted *w)
{
	struct sl_cgroup_target cgroup;
	struct sl_diag diag = {};
	int err = 0;

	if (!is_cgroup)
		return sl_state_targets(state, find, w);
	err = sl_cgroup_open_target(name, &cgroup, &diag);
	if (!err) {
		sl_state_sweep(state);
		w->found = !sl_state_find_cgroup(state, cgroup.id, &w->slot);
		sl_cgroup_close_target(&cgroup);
	}
	sl_diag_free(&diag);
	return err;
}

int sl_hits_show(const char *name, bool is_cgroup, bool json)
{
	struct wanted w = {.name = name};
	struct sl_state *state;
	int status = sl_pins_open(false, &state), err = 0;

	if (status > 0)
		return status;
	if (!status)
		err = find_target(state, name, is_cgroup, &w);
	if (!err && w.found)
		err = print_hits(state, w.slot, json);
	if (err)
		fprintf(stderr, "sluice rules: %s: %s\n", name, strerror(-err));
	else if (!w.found)
		fprintf(stderr, "sluice rules: %s '%s' has no policy (`sluice status` lists "
			"those that have one)\n", is_cgroup ? "cgroup" : "device", name);
	if (!status)
		sl_state_close(state);
	return err || !w.found ? SL_EXIT_FAILED : SL_EXIT_OK;
}
