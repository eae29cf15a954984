// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <stdlib.h>
#include <string.h>

#include "audit/json.h"
#include "compile/compile.h"
#include "ledger.h"
#include "losses.h"
#include "policy/text.h"
#include "resolve/resolve.h"

#define LOOK_NS 1000000000ull

/* A rule of the generation in force that is not over yet. */
struct deadline {
	__u64 at_ns; /* boot time */
	char *rule;  /* its id; owned */
};

struct entry {
	struct sl_target target; /* kind 0: none is known */
	char *name;		 /* owned; NULL: not known */
	char *policy;		 /* owned */
	__u64 word;		 /* whose deadlines these are */
	struct deadline *deadlines; /* owned */
	size_t n_deadlines;
	__u64 out, in; /* bytes that were told of */
	struct sl_losses told;
};

struct sl_ledger {
	sl_ledger_out out;
	void *context;
	const char *losses; /* a file; borrowed */
	bool lost;	    /* the file is to be written */
	__u64 looked_ns, metered_ns; /* boot time; 0: never */
	struct entry entries[SL_SLOTS];
};

struct sl_ledger *sl_ledger_new(const char *losses, sl_ledger_out out, void *context)
{
	struct sl_ledger *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->out = out;
	l->context = context;
	l->losses = losses;
	return l;
}

static void forget_rules(struct entry *e)
{
	while (e->n_deadlines)
		free(e->deadlines[--e->n_deadlines].rule);
	free(e->deadlines);
	free(e->policy);
	e->deadlines = NULL;
	e->policy = NULL;
	e->word = 0;
}

static void forget(struct entry *e)
{
	forget_rules(e);
	free(e->name);
	memset(e, 0, sizeof(*e));
}

void sl_ledger_free(struct sl_ledger *l)
{
	size_t i;

	for (i = 0; l && i < SL_SLOTS; i++)
		forget(&l->entries[i]);
	free(l);
}

static json_t *target_json(const struct entry *e)
{
	return json_pack("{s:s, s:o}", "kind",
			 e->target.kind == SL_TARGET_CGROUP ? "cgroup" : "device", "name",
			 sl_json_text(e->name));
}

/* ---- bytes ---- */

static void tell_meter(struct sl_ledger *l, struct entry *e, const struct sl_state *state,
		       __u32 slot)
{
	struct sl_meter m = {};

	sl_state_read_meter(state, slot, &m);
	if (m.tx_bytes == e->out && m.rx_bytes == e->in)
		return;
	l->out(l->context,
	       json_pack("{s:s, s:o, s:o, s:{s:o, s:o}, s:{s:o, s:o}}", "event", "meter", "target",
			 target_json(e), "policy", sl_json_text(e->policy), "bytes", "out",
			 sl_json_number(m.tx_bytes - e->out), "in",
			 sl_json_number(m.rx_bytes - e->in), "total", "out",
			 sl_json_number(m.tx_bytes), "in", sl_json_number(m.rx_bytes)));
	e->out = m.tx_bytes;
	e->in = m.rx_bytes;
}

/* ---- events that are lost ---- */

/* Both are the target's since it was attached. */
static void tell_loss(struct sl_ledger *l, const struct entry *e, const char *event, __u64 count,
		      __u64 closes, __u64 total)
{
	json_t *record = json_pack("{s:s, s:o, s:o, s:o, s:o}", "event", event, "target",
				   target_json(e), "policy", sl_json_text(e->policy), "count",
				   sl_json_number(count), "total", sl_json_number(total));

	if (closes)
		json_object_set_new(record, "closes", sl_json_number(closes));
	l->out(l->context, record);
	l->lost = true;
}

static void tell_losses(struct sl_ledger *l, struct entry *e, const struct sl_state *state,
			__u32 slot)
{
	struct sl_losses now, *told = &e->told;
	struct sl_stats stats = {};

	sl_state_read_stats(state, slot, &stats);
	now = (struct sl_losses){stats.lost, stats.closes_lost, stats.over_budget};
	if (now.ring < told->ring || now.closes < told->closes || now.budget < told->budget)
		*told = (struct sl_losses){}; /* they began anew: another version's pins */
	if (now.ring + now.closes > told->ring + told->closes)
		tell_loss(l, e, "ring-full", now.ring + now.closes - told->ring - told->closes,
			  now.closes - told->closes, now.ring + now.closes);
	if (now.budget > told->budget)
		tell_loss(l, e, "over-budget", now.budget - told->budget, 0, now.budget);
	*told = now;
}

/* A sluiced that is killed between a record and this is followed by one that tells it again. */
static void keep_losses(struct sl_ledger *l)
{
	json_t *memory = l->lost ? json_array() : NULL;
	__u32 i;

	for (i = 0; memory && i < SL_SLOTS; i++) {
		const struct entry *e = &l->entries[i];

		if (e->target.kind && (e->told.ring || e->told.closes || e->told.budget))
			sl_losses_add(memory, i, e->target.since_ns, &e->told);
	}
	if (l->lost)
		sl_losses_write(l->losses, memory);
	json_decref(memory);
	l->lost = false;
}

/* ---- rules ---- */

static void add_deadline(struct entry *e, const struct sl_table *table, __u32 rule, __u64 at_ns)
{
	const char *id = sl_table_label(table->words, table->n_words, 1 + rule);
	struct deadline *added;
	size_t i;

	for (i = 0; i < e->n_deadlines; i++) /* it may have several decisions */
		if (id && !strcmp(e->deadlines[i].rule, id))
			return;
	added = id ? SL_ADD(e->deadlines, e->n_deadlines) : NULL;
	if (!added)
		return;
	*added = (struct deadline){at_ns, strdup(id)};
	if (!added->rule)
		e->n_deadlines--;
}

/* from: rules that were over then have been told, or nobody was there. */
static void learn_rules(struct entry *e, const struct sl_state *state, __u32 slot, __u64 word,
			__u64 from)
{
	struct sl_table table = {};
	const __u64 *decision;
	const char *policy;
	__u64 section, i;

	forget_rules(e);
	if (sl_state_table(state, slot, &table))
		return; /* held, or being changed: looked at again */
	e->word = word;
	policy = sl_table_label(table.words, table.n_words, 0);
	e->policy = policy ? strdup(policy) : NULL;
	section = table.words[SL_H_DECISIONS];
	for (i = 0; (table.words[SL_H_FLAGS] & SL_F_DEADLINES) && i < section >> 32; i++) {
		decision = &table.words[(__u32)section + i * SL_DECISION_WORDS];
		if (decision[SL_D_DEADLINE] > from && (__u32)decision[SL_D_RULE] != SL_NONE)
			add_deadline(e, &table, (__u32)decision[SL_D_RULE],
				     decision[SL_D_DEADLINE]);
	}
	free(table.words);
}

static void tell_expired(struct sl_ledger *l, struct entry *e, __u64 now)
{
	size_t kept = 0;

	for (size_t i = 0; i < e->n_deadlines; i++) {
		struct deadline d = e->deadlines[i];

		if (d.at_ns > now) {
			e->deadlines[kept++] = d;
			continue;
		}
		l->out(l->context, json_pack("{s:s, s:o, s:o, s:s, s:o}", "event", "expired", "target",
					     target_json(e), "policy", sl_json_text(e->policy),
					     "rule", d.rule, "generation",
					     sl_json_number(SL_WORD_GENERATION(e->word))));
		free(d.rule);
	}
	e->n_deadlines = kept;
}

/* ---- targets ---- */

static bool is_same(const struct sl_target *a, const struct sl_target *b)
{
	return a->kind == b->kind && a->since_ns == b->since_ns && a->netns == b->netns &&
	       a->ifindex == b->ifindex && a->cgroup_id == b->cgroup_id;
}

static void learn(struct sl_ledger *l, struct entry *e, const struct sl_state *state, __u32 slot,
		  const struct sl_target *t, const json_t *before)
{
	struct sl_meter m = {};

	forget(e);
	e->target = *t;
	e->name = t->kind == SL_TARGET_CGROUP ? sl_state_cgroup_name(t) :
						strndup(t->name, sizeof(t->name));
	e->told = sl_losses_recall(before, slot, t->since_ns);
	if (l->looked_ns)
		return;
	sl_state_read_meter(state, slot, &m);
	e->out = m.tx_bytes;
	e->in = m.rx_bytes;
}

static void look_at(struct sl_ledger *l, const struct sl_state *state, __u32 slot, __u64 now,
		    const json_t *before)
{
	struct entry *e = &l->entries[slot];
	struct sl_target t;
	__u64 word;

	if (sl_state_target(state, slot, &t) || !(t.flags & SL_TARGET_LIVE)) {
		forget(e);
		return;
	}
	if (!is_same(&e->target, &t))
		learn(l, e, state, slot, &t, before);
	tell_expired(l, e, now);
	word = sl_state_word(state, slot);
	if (e->word != word) {
		learn_rules(e, state, slot, word, l->looked_ns ? l->looked_ns : now);
		tell_expired(l, e, now);
	}
	tell_losses(l, e, state, slot);
}

void sl_ledger_look(struct sl_ledger *l, const struct sl_state *state, __s64 meter_s, bool last)
{
	__u64 now = sl_boot_ns();
	bool meter = last || now - l->metered_ns >= (__u64)meter_s * 1000000000ull;
	json_t *before;
	__u32 i;

	if (!last && l->looked_ns && now - l->looked_ns < LOOK_NS)
		return;
	before = l->looked_ns ? NULL : sl_losses_read(l->losses);
	for (i = 0; i < SL_SLOTS; i++) {
		look_at(l, state, i, now, before);
		if (meter && l->entries[i].target.kind)
			tell_meter(l, &l->entries[i], state, i);
	}
	json_decref(before);
	keep_losses(l);
	if (meter)
		l->metered_ns = now;
	l->looked_ns = now;
}

/* Its word is gone, and its table is not yet. */
static void learn_last_policy(struct entry *e, const struct sl_state *state, __u32 slot)
{
	struct sl_table table = {};
	const char *policy;

	if (sl_state_table_of(state, slot, 0, &table))
		return;
	policy = sl_table_label(table.words, table.n_words, 0);
	e->policy = policy ? strdup(policy) : NULL;
	free(table.words);
}

void sl_ledger_end(void *context, const struct sl_state *state, __u32 slot)
{
	struct sl_ledger *l = context;
	struct entry *e = &l->entries[slot];
	struct sl_target t;

	if (!e->target.kind && l->looked_ns && !sl_state_target_of(state, slot, &t)) {
		learn(l, e, state, slot, &t, NULL); /* it came after the last look */
		learn_last_policy(e, state, slot);
	}
	if (e->target.kind) {
		tell_losses(l, e, state, slot);
		tell_meter(l, e, state, slot);
	}
	forget(e);
}
