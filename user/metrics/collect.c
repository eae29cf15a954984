// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Targets and what they decided, from the pinned state. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/state.h"
#include "metrics.h"
#include "policy/text.h"

/* What the numbers of a generation are called. */
struct names {
	__u64 generation;
	char *policy;		/* owned */
	char **rules;		/* owned, each owned */
	size_t n_rules;
};

struct hits {
	struct sl_metrics_hit *list;	/* owned */
	size_t n;
};

struct sl_metrics_targets {
	sl_target_naming naming;
	void *context;
	struct sl_state *state;			/* while collecting */
	struct names names[SL_SLOTS];
	bool live[SL_SLOTS];
	size_t at[SL_SLOTS];			/* in targets */
	struct hits hits[SL_SLOTS];
	struct sl_metrics_target *targets;	/* owned */
	char **called;				/* owned, each owned: their names */
	size_t n, n_called;
	bool failed;
};

struct sl_metrics_targets *sl_metrics_targets_new(sl_target_naming naming, void *context)
{
	struct sl_metrics_targets *t = calloc(1, sizeof(*t));

	if (t) {
		t->naming = naming;
		t->context = context;
	}
	return t;
}

static void forget_names(struct names *n)
{
	for (size_t i = 0; i < n->n_rules; i++)
		free(n->rules[i]);
	free(n->rules);
	free(n->policy);
	*n = (struct names){};
}

static void forget_round(struct sl_metrics_targets *t)
{
	for (size_t i = 0; i < SL_SLOTS; i++) {
		free(t->hits[i].list);
		t->hits[i] = (struct hits){};
		t->live[i] = false;
	}
	for (size_t i = 0; i < t->n_called; i++)
		free(t->called[i]);
	free(t->called);
	free(t->targets);
	t->called = NULL;
	t->targets = NULL;
	t->n = t->n_called = 0;
	t->failed = false;
}

void sl_metrics_targets_free(struct sl_metrics_targets *t)
{
	if (!t)
		return;
	forget_round(t);
	for (size_t i = 0; i < SL_SLOTS; i++)
		forget_names(&t->names[i]);
	free(t);
}

static bool copy_labels(struct names *n, const struct sl_table *table)
{
	const char *at = sl_table_label(table->words, table->n_words, 0);
	size_t count = table->words[SL_H_RULES];

	n->policy = strdup(at ? at : "");
	n->rules = calloc(count + 1, sizeof(*n->rules));
	if (!n->policy || !n->rules || !at)
		return n->policy && n->rules;
	for (; n->n_rules < count; n->n_rules++) {
		at = strchr(at, 0) + 1;	/* each behind the one before */
		n->rules[n->n_rules] = strdup(at);
		if (!n->rules[n->n_rules])
			return false;
	}
	return true;
}

/* A table can have megabytes: it is copied once for each generation. */
static void learn_names(struct sl_metrics_targets *t, __u32 slot, __u64 generation)
{
	struct names *n = &t->names[slot];
	struct sl_table table;

	if (n->generation == generation)
		return;
	forget_names(n);
	if (!generation || sl_state_table(t->state, slot, &table))
		return;
	if (copy_labels(n, &table))
		n->generation = table.words[SL_H_GENERATION];
	else
		forget_names(n);
	free(table.words);
}

static const char *name_of(struct sl_metrics_targets *t, const struct sl_target *target)
{
	char *name = t->naming ? t->naming(t->context, target) : NULL, **added;

	if (!name && target->kind == SL_TARGET_CGROUP)
		name = sl_state_cgroup_name(target);
	if (!name)
		name = strndup(target->name, sizeof(target->name));
	added = name ? SL_ADD(t->called, t->n_called) : NULL;
	if (!added) {
		t->failed = true;
		free(name);
		return "";
	}
	return *added = name;
}

static void on_target(void *context, const struct sl_target_view *view)
{
	struct sl_metrics_targets *t = context;
	struct sl_metrics_target *out = SL_ADD(t->targets, t->n);

	if (!out) {
		t->failed = true;
		return;
	}
	learn_names(t, view->slot, view->generation);
	*out = (struct sl_metrics_target){
		.kind = view->target.kind == SL_TARGET_CGROUP ? "cgroup" : "device",
		.name = name_of(t, &view->target), .policy = t->names[view->slot].policy,
		.audit = view->flags & SL_F_AUDIT, .attached = view->attached,
		.generation = view->generation, .stats = view->stats, .meter = view->meter,
		.has_meter = true,
	};
	t->live[view->slot] = true;
	t->at[view->slot] = t->n - 1;
}

/* Generation 0 is carried over from older ones, by the numbers of this one. */
static const char *rule_of(const struct names *n, const struct sl_hit_key *key)
{
	bool ours = !key->generation || key->generation == (__u32)n->generation;

	if (key->rule == SL_NONE)
		return NULL;
	return ours && key->rule < n->n_rules ? n->rules[key->rule] : "older";
}

static void on_hit(void *context, const struct sl_hit_key *key, const struct sl_hit *hit)
{
	struct sl_metrics_targets *t = context;
	struct hits *hits = key->slot < SL_SLOTS ? &t->hits[key->slot] : NULL;
	struct sl_metrics_hit *added;

	if (!hits || !t->live[key->slot])
		return;
	added = SL_ADD(hits->list, hits->n);
	if (added)
		*added = (struct sl_metrics_hit){rule_of(&t->names[key->slot], key), key->reason,
						 hit->count, hit->last_ns};
	else
		t->failed = true;
}

int sl_metrics_collect(struct sl_metrics_targets *t, struct sl_state *state,
		       struct sl_metrics_snapshot *snapshot)
{
	int err;

	forget_round(t);
	t->state = state;
	err = sl_state_targets(state, on_target, t);
	if (!err && t->n)
		err = sl_state_hits(state, SL_SLOTS_ALL, on_hit, t);
	if (!err && t->failed)
		err = -ENOMEM;
	for (size_t i = 0; i < SL_SLOTS; i++)
		if (t->live[i]) {
			t->targets[t->at[i]].hits = t->hits[i].list;
			t->targets[t->at[i]].n_hits = t->hits[i].n;
		}
	snapshot->targets = t->targets;
	snapshot->n_targets = t->n;
	return err;
}
