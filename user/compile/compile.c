// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The compiler's stages in order, and the views of the uids. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static int compare_u32(const void *a, const void *b)
{
	__u32 x = *(const __u32 *)a, y = *(const __u32 *)b;

	return x < y ? -1 : x > y;
}

static int collect_uids(struct compiler *c)
{
	size_t i, k, n = 0;

	for (i = 0; i < c->n_entries; i++)
		n += c->entries[i].n_uids;
	c->uids = malloc((n + 1) * sizeof(*c->uids));
	c->uid_view = malloc((n + 1) * sizeof(*c->uid_view));
	if (!c->uids || !c->uid_view)
		return -ENOMEM;
	for (n = 0, i = 0; i < c->n_entries; i++)
		for (k = 0; k < c->entries[i].n_uids; k++)
			c->uids[n++] = c->entries[i].uids[k].number;
	qsort(c->uids, n, sizeof(*c->uids), compare_u32);
	for (i = 0; i < n; i++)
		if (!c->n_uids || c->uids[i] != c->uids[c->n_uids - 1])
			c->uids[c->n_uids++] = c->uids[i];
	return 0;
}

/* The entries that name a uid, as an array of words: equal array, equal view. */
static int uid_signature(const struct compiler *c, __u32 uid, struct words *out)
{
	size_t i, k;

	out->n = 0;
	for (i = 0; i < c->n_entries; i++)
		for (k = 0; k < c->entries[i].n_uids; k++)
			if (c->entries[i].uids[k].number == uid && words_push(out, i))
				return -ENOMEM;
	return 0;
}

/* Uids that the same entries name share a view. */
static int make_views(struct compiler *c)
{
	struct words signature = {};
	struct pool seen = {};
	__u32 at, *views = NULL;
	size_t i;
	int err;

	c->n_views = SL_VIEW_OTHER + 1;
	c->view_uid = calloc(c->n_views + c->n_uids, sizeof(*c->view_uid));
	views = calloc(c->n_views + c->n_uids, sizeof(*views));
	err = c->view_uid && views ? 0 : -ENOMEM;
	for (i = 0; i < c->n_uids && !err; i++) {
		size_t before = seen.n_used, v;

		err = uid_signature(c, c->uids[i], &signature);
		if (!err)
			err = pool_intern(&seen, signature.v, signature.n, &at);
		if (err)
			break;
		if (seen.n_used > before) {
			views[c->n_views] = at;
			c->view_uid[c->n_views++] = c->uids[i];
		}
		for (v = SL_VIEW_OTHER + 1; views[v] != at; v++)
			;
		c->uid_view[i] = v;
	}
	words_free(&signature);
	pool_free(&seen);
	free(views);
	return err;
}

/* The ranges of the rule whose entries begin at *at, which then stands behind them:
 * a rule's entries are neighbours. */
static size_t rule_weight(const struct compiler *c, size_t *at)
{
	__u32 rule = c->entries[*at].rule;
	const struct entry *e;
	size_t n = 0;

	for (; *at < c->n_entries && c->entries[*at].rule == rule; (*at)++) {
		e = &c->entries[*at];
		n += (e->n_v4 + e->n_v6 + e->any) * e->n_keys;
		n += e->names ? count_names(e->names) * e->n_keys : 0;
	}
	return n;
}

/* Says that a bound is exceeded and names the three heaviest rules. */
int too_large(struct compiler *c, const char *what)
{
	size_t weight[3] = {}, at = 0, k, m, n;
	__u32 rule[3] = {}, own;

	while (at < c->n_entries && !c->entries[at].marker) {
		own = c->entries[at].rule;
		n = rule_weight(c, &at);
		for (k = 0; k < 3 && n <= weight[k]; k++)
			;
		if (k == 3)
			continue;
		for (m = 2; m > k; m--) {
			weight[m] = weight[m - 1];
			rule[m] = rule[m - 1];
		}
		weight[k] = n;
		rule[k] = own;
	}
	sl_error(c->diag, &c->policy->pos,
		 "the policy does not fit: %s exceeded; its rules multiply (addresses times "
		 "ports times uids): merge prefixes, or use `any` where a rule's addresses "
		 "do not matter", what);
	for (k = 0; k < 3 && weight[k]; k++)
		sl_error(c->diag, &c->rules[rule[k]].pos,
			 "rule '%s' contributes %zu address, name and port ranges",
			 c->rules[rule[k]].id, weight[k]);
	return -EINVAL;
}

static void compiler_free(struct compiler *c)
{
	sl_arena_free(&c->arena);
	free(c->entries);
	free(c->classes);
	free(c->class_slots);
	free(c->rules);
	free(c->deadlines);
	free(c->uids);
	free(c->uid_view);
	free(c->view_uid);
	free(c->chains);
	free(c->last_chain);
	free(c->chain_slots);
	free(c->reached);
	names_free(&c->names);
	words_free(&c->v4);
	words_free(&c->v6);
	pool_free(&c->ports);
	pool_free(&c->rows);
}

static int run_stages(struct compiler *c, struct sl_compiled *out)
{
	int err = flatten(c);

	if (!err)
		err = collect_uids(c);
	if (!err)
		err = make_views(c);
	if (!err)
		err = sweep(c);
	if (!err)
		err = classify_names(c);
	if (err)
		return err;
	c->reached = calloc(c->n_rules + 1, sizeof(*c->reached));
	if (!c->reached)
		return -ENOMEM;
	err = build_rows(c);
	return err ? err : emit(c, out);
}

int sl_compile(const struct sl_policy *policy, const struct sl_compile_options *options,
	       struct sl_compiled *out, struct sl_diag *diag)
{
	struct compiler c = {.policy = policy, .options = options, .diag = diag};
	struct sl_compiled compiled = {};
	int err = run_stages(&c, &compiled);

	if (!err) {
		compiled.rules = c.rules;
		compiled.n_rules = c.n_rules;
		compiled.n_views = c.n_views;
		compiled.n_decisions = c.n_chains;
		compiled.has_uids = c.n_uids > 0;
		compiled.table.patterns = compiled.patterns;
		compiled.table.n_patterns = compiled.n_patterns;
		review(&c, &compiled);
		c.rules = NULL;
		*out = compiled;
	}
	compiler_free(&c);
	return err;
}

void sl_compiled_free(struct sl_compiled *compiled)
{
	free(compiled->table.words);
	free(compiled->patterns);
	free(compiled->rules);
	memset(compiled, 0, sizeof(*compiled));
}
