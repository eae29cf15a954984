// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"

struct sl_alert_engine *sl_alert_engine_new(const struct sl_alerts_config *config,
					    struct sl_alert_memory *memory, sl_alert_fn tell,
					    void *context)
{
	struct sl_alert_engine *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	*e = (struct sl_alert_engine){.config = config, .memory = memory, .tell = tell,
				      .context = context, .size = 64};
	while (e->size < config->groups)
		e->size *= 2;
	e->table = calloc(e->size, sizeof(struct sl_alert_group *));
	if (!e->table || sl_heap_init(e)) {
		sl_alert_engine_free(e);
		return NULL;
	}
	return e;
}

static void free_list(struct sl_alert_list *list)
{
	struct sl_alert_group *g = list->oldest, *next;

	for (; g; g = next) {
		next = g->newer;
		sl_group_free(g);
	}
}

void sl_alert_engine_free(struct sl_alert_engine *e)
{
	if (!e)
		return;
	free_list(&e->idle);
	free_list(&e->active);
	free(e->table);
	free(e->heap);
	free(e);
}

/* ---- telling ---- */

/* Of the rule's name and the names and values of its group. */
static void fingerprint(const struct sl_alert_group *g, char out[SL_FINGERPRINT_TEXT])
{
	struct sl_key_text text = {};
	const char *at = g->key;
	unsigned char hash[8];
	int err = sl_key_text_add(&text, g->rule->name);

	for (size_t i = 0; !err && i < g->rule->n_group; i++) {
		const char *part = *at == 2 ? at + 1 : NULL;

		err = sl_key_text_add(&text, sl_field_name(g->rule->group[i]));
		if (!err)
			err = sl_key_text_add(&text, part);
		at += part ? strlen(part) + 2 : 1;
	}
	sl_sha256(text.bytes, text.n, hash, sizeof(hash));
	sl_key_text_free(&text);
	for (size_t i = 0; i < sizeof(hash); i++)
		snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

static void fill(const struct sl_alert_group *g, struct sl_alert *alert)
{
	const char *at = g->key;

	alert->rule = g->rule;
	alert->start_ns = g->start_ns;
	alert->end_ns = g->end_ns;
	alert->count = g->count;
	alert->value = g->value;
	alert->told = g->told;
	fingerprint(g, alert->fingerprint);
	for (size_t i = 0; i < g->rule->n_group; i++) {
		alert->group[i] = *at == 2 ? at + 1 : NULL;
		at += *at == 2 ? strlen(at + 1) + 2 : 1;
	}
	for (size_t i = 0; i < g->n_samples; i++)
		alert->samples[i] = g->samples[i]->text;
	alert->n_samples = g->n_samples;
}

static void fire(struct sl_alert_engine *e, struct sl_alert_group *g, __s64 time_ns)
{
	struct sl_alert alert = {.state = SL_ALERT_FIRING, .time_ns = time_ns};

	g->told++;
	g->next_told_ns = time_ns + g->rule->repeat_s * SL_SECOND_NS;
	fill(g, &alert);
	e->tell(e->context, &alert);
}

void sl_alert_end(struct sl_alert_engine *e, struct sl_alert_group *g, __s64 end_ns, bool evicted)
{
	struct sl_alert alert = {.state = SL_ALERT_RESOLVED, .time_ns = end_ns,
				 .evicted = evicted};

	g->told++;
	g->end_ns = end_ns;
	fill(g, &alert);
	sl_heap_remove(e, g);
	sl_group_touch(e, g, false);
	e->stats.open--;
	e->tell(e->context, &alert);
}

/* What is due up to now, in the order of time. */
static void run_due(struct sl_alert_engine *e)
{
	while (e->n_heap && sl_group_due(e->heap[0]) <= e->now_ns) {
		struct sl_alert_group *g = e->heap[0];

		if (g->end_ns <= g->next_told_ns) {
			sl_alert_end(e, g, g->end_ns, false);
		} else {
			fire(e, g, g->next_told_ns);
			sl_heap_moved(e, g);
		}
	}
}

void sl_alert_engine_tick(struct sl_alert_engine *e, __s64 now_ns)
{
	if (now_ns <= e->now_ns)
		return;
	e->now_ns = now_ns;
	run_due(e);
}

/* ---- records ---- */

/* The values of `of`; false if the record lacks one, then the rule is not about it. */
static bool of_values(const struct sl_alert_rule *rule, const struct sl_alert_record *record,
		      struct sl_key_text *text, int *err)
{
	char buf[SL_FIELD_TEXT];

	for (size_t i = 0; i < rule->n_of && !*err; i++) {
		const char *value = sl_field_get(record, rule->of[i], buf);

		if (!value)
			return false;
		*err = sl_key_text_add(text, value);
	}
	return !*err;
}

static int memory_key(const struct sl_alert_group *g, const struct sl_key_text *of,
		      unsigned char key[SL_MEMORY_KEY])
{
	struct sl_key_text text = {};
	int err = sl_key_text_add(&text, g->rule->name);
	size_t n = text.n + g->key_len + (of ? of->n : 0);
	char *whole = err ? NULL : malloc(n);

	if (whole) {
		memcpy(whole, text.bytes, text.n);
		if (g->key)
			memcpy(whole + text.n, g->key, g->key_len);
		if (of && of->bytes)
			memcpy(whole + text.n + g->key_len, of->bytes, of->n);
		sl_sha256(whole, n, key, SL_MEMORY_KEY);
	}
	free(whole);
	sl_key_text_free(&text);
	return whole ? 0 : -ENOMEM;
}

/* Was the value never seen, and is it to be told? */
static int is_new(struct sl_alert_engine *e, const struct sl_alert_group *g,
		  const struct sl_key_text *of, bool *out)
{
	unsigned char key[SL_MEMORY_KEY];
	bool learning = false;
	__s64 first;
	int err;

	if (g->rule->learn_s) {
		err = memory_key(g, NULL, key);
		if (err)
			return err;
		if (sl_alert_memory_group(e->memory, key, e->now_ns, &first))
			learning = e->now_ns < first + g->rule->learn_s * SL_SECOND_NS;
		else
			e->stats.unlearned++;
	}
	err = memory_key(g, of, key);
	if (err)
		return err;
	*out = sl_alert_memory_value(e->memory, key, e->now_ns, &err) && !learning;
	return err;
}

static void add_sample(struct sl_alert_group *g, struct sl_alert_record *record)
{
	struct sl_sample *sample = sl_sample_get(record);

	if (!sample)
		return;
	if (g->n_samples == SL_ALERT_SAMPLES) {
		sl_sample_put(g->samples[0]);
		memmove(g->samples, g->samples + 1, sizeof(g->samples) - sizeof(g->samples[0]));
		g->n_samples--;
	}
	g->samples[g->n_samples++] = sample;
}

static void hold(struct sl_alert_engine *e, struct sl_alert_group *g, __u64 value)
{
	g->value = value;
	g->end_ns = e->now_ns + g->rule->for_s * SL_SECOND_NS;
	if (g->open) {
		sl_heap_moved(e, g);
		return;
	}
	g->start_ns = e->now_ns;
	g->count = sl_window_sum(g->counts);
	g->told = 0;
	g->serial = e->serial++;
	e->stats.open++;
	e->stats.fired++;
	sl_group_touch(e, g, true);
	fire(e, g, e->now_ns);
	sl_heap_add(e, g);
}

static int apply(struct sl_alert_engine *e, const struct sl_alert_rule *rule,
		 struct sl_alert_record *record, struct sl_key_text *of)
{
	__s64 step_ns = sl_rule_step_ns(rule);
	struct sl_addition add = {.step = record->time_ns / step_ns, .now_step = e->now_ns / step_ns,
				  .time_ns = record->time_ns, .now_ns = e->now_ns,
				  .count = record->count};
	struct sl_alert_group *g;
	__u64 value = 0;
	int holds = 0;

	if ((rule->measure == SL_MEASURE_AMOUNT &&
	     !sl_amount_get(record, rule->amount, &add.amount)) ||
	    !of_values(rule, record, of, &holds))
		return holds;
	if (add.step + SL_ALERT_BUCKETS <= add.now_step) {
		e->stats.late++;
		return 0;
	}
	g = sl_group_get(e, rule, record);
	if (!g)
		return -ENOMEM;
	sl_group_touch(e, g, g->open);
	add_sample(g, record);
	if (rule->measure == SL_MEASURE_DISTINCT)
		add.hash = sl_siphash(of->bytes, of->n);
	else if (rule->measure == SL_MEASURE_NEW)
		holds = is_new(e, g, of, &add.is_new);
	if (!holds)
		holds = sl_window_add(g, &add, &value);
	if (g->open)
		g->count += record->count;
	if (holds > 0)
		hold(e, g, value);
	return holds < 0 ? holds : 0;
}

void sl_alert_engine_record(struct sl_alert_engine *e, struct sl_alert_record *record)
{
	struct sl_key_text of = {};

	e->stats.records++;
	sl_alert_engine_tick(e, record->time_ns);
	for (size_t i = 0; i < e->config->n_rules; i++) {
		const struct sl_alert_rule *rule = &e->config->rules[i];

		of.n = 0;
		if (sl_alert_rule_matches(rule, record) && apply(e, rule, record, &of))
			e->stats.no_memory++;
	}
	sl_key_text_free(&of);
}

void sl_alert_engine_open(struct sl_alert_engine *e, sl_alert_fn tell, void *context)
{
	for (struct sl_alert_group *g = e->active.oldest; g; g = g->newer) {
		struct sl_alert alert = {.state = SL_ALERT_FIRING, .time_ns = e->now_ns,
					 .resent = true};

		fill(g, &alert);
		tell(context, &alert);
	}
}

void sl_alert_engine_stats(const struct sl_alert_engine *e, struct sl_alert_stats *out)
{
	*out = e->stats;
}
