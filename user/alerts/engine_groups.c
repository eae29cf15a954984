// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The groups: found by their key, dropped by age; and the heap of what is due. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"

/* ---- the heap ---- */

__s64 sl_group_due(const struct sl_alert_group *g)
{
	return g->end_ns < g->next_told_ns ? g->end_ns : g->next_told_ns;
}

static bool before(const struct sl_alert_group *a, const struct sl_alert_group *b)
{
	__s64 x = sl_group_due(a), y = sl_group_due(b);

	return x != y ? x < y : a->serial < b->serial;
}

static void put(struct sl_alert_engine *e, size_t place, struct sl_alert_group *g)
{
	e->heap[place] = g;
	g->place = place;
}

static void up(struct sl_alert_engine *e, struct sl_alert_group *g)
{
	size_t at = g->place;

	for (; at && before(g, e->heap[(at - 1) / 2]); at = (at - 1) / 2)
		put(e, at, e->heap[(at - 1) / 2]);
	put(e, at, g);
}

static void down(struct sl_alert_engine *e, struct sl_alert_group *g)
{
	size_t at = g->place, child;

	for (; (child = 2 * at + 1) < e->n_heap; at = child) {
		if (child + 1 < e->n_heap && before(e->heap[child + 1], e->heap[child]))
			child++;
		if (!before(e->heap[child], g))
			break;
		put(e, at, e->heap[child]);
	}
	put(e, at, g);
}

int sl_heap_init(struct sl_alert_engine *e)
{
	e->heap = calloc(e->config->groups, sizeof(struct sl_alert_group *));
	return e->heap ? 0 : -ENOMEM;
}

void sl_heap_add(struct sl_alert_engine *e, struct sl_alert_group *g)
{
	put(e, e->n_heap++, g);
	up(e, g);
}

void sl_heap_moved(struct sl_alert_engine *e, struct sl_alert_group *g)
{
	up(e, g);
	down(e, g);
}

void sl_heap_remove(struct sl_alert_engine *e, struct sl_alert_group *g)
{
	struct sl_alert_group *last = e->heap[--e->n_heap];

	if (last == g)
		return;
	put(e, g->place, last);
	sl_heap_moved(e, last);
}

/* ---- by age ---- */

static void unlink_age(struct sl_alert_list *list, struct sl_alert_group *g)
{
	*(g->older ? &g->older->newer : &list->oldest) = g->newer;
	*(g->newer ? &g->newer->older : &list->newest) = g->older;
}

static void link_newest(struct sl_alert_list *list, struct sl_alert_group *g)
{
	g->newer = NULL;
	g->older = list->newest;
	*(list->newest ? &list->newest->newer : &list->oldest) = g;
	list->newest = g;
}

static struct sl_alert_list *list_of(struct sl_alert_engine *e, bool open)
{
	return open ? &e->active : &e->idle;
}

void sl_group_touch(struct sl_alert_engine *e, struct sl_alert_group *g, bool open)
{
	unlink_age(list_of(e, g->open), g);
	link_newest(list_of(e, open), g);
	g->open = open;
}

/* ---- by key ---- */

static struct sl_alert_group **find(struct sl_alert_engine *e, const struct sl_alert_rule *rule,
				    const struct sl_key_text *key, __u64 hash)
{
	struct sl_alert_group **at = &e->table[hash & (e->size - 1)];

	while (*at && ((*at)->hash != hash || (*at)->rule != rule || (*at)->key_len != key->n ||
		       (key->n && memcmp((*at)->key, key->bytes, key->n))))
		at = &(*at)->chain;
	return at;
}

void sl_group_free(struct sl_alert_group *g)
{
	for (size_t i = 0; i < g->n_samples; i++)
		sl_sample_put(g->samples[i]);
	free(g->distinct);
	free(g->moments);
	free(g->key);
	free(g);
}

/* True if something of the group still counts. */
static bool is_live(struct sl_alert_engine *e, struct sl_alert_group *g)
{
	sl_window_advance(g, e->now_ns / sl_rule_step_ns(g->rule));
	return g->open || sl_window_sum(g->counts);
}

static void evict(struct sl_alert_engine *e)
{
	struct sl_alert_group *g = e->idle.oldest ? e->idle.oldest : e->active.oldest, **at;

	e->stats.evicted += is_live(e, g);
	if (g->open)
		sl_alert_end(e, g, e->now_ns, true);
	for (at = &e->table[g->hash & (e->size - 1)]; *at != g; at = &(*at)->chain)
		;
	*at = g->chain;
	unlink_age(&e->idle, g);
	e->stats.groups--;
	sl_group_free(g);
}

static int make_rooms(struct sl_alert_group *g)
{
	if (g->rule->measure == SL_MEASURE_DISTINCT) {
		g->distinct = calloc(g->rule->threshold, sizeof(*g->distinct));
		return g->distinct ? 0 : -ENOMEM;
	}
	if (g->rule->measure == SL_MEASURE_BEACON) {
		g->moments = calloc(g->rule->threshold + 1, sizeof(*g->moments));
		return g->moments ? 0 : -ENOMEM;
	}
	return 0;
}

/* Takes the key over if it succeeds. */
static struct sl_alert_group *add(struct sl_alert_engine *e, const struct sl_alert_rule *rule,
				  struct sl_key_text *key, __u64 hash)
{
	struct sl_alert_group *g, **at;

	if (e->stats.groups == e->config->groups)
		evict(e);
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	g->rule = rule;
	g->hash = hash;
	if (make_rooms(g)) {
		sl_group_free(g);
		return NULL;
	}
	g->key = key->bytes;
	g->key_len = key->n;
	*key = (struct sl_key_text){};
	at = &e->table[hash & (e->size - 1)];
	g->chain = *at;
	*at = g;
	link_newest(&e->idle, g);
	e->stats.groups++;
	return g;
}

struct sl_alert_group *sl_group_get(struct sl_alert_engine *e, const struct sl_alert_rule *rule,
				    const struct sl_alert_record *record)
{
	struct sl_key_text key = {};
	struct sl_alert_group *g = NULL;
	char buf[SL_FIELD_TEXT];
	__u64 hash;
	int err = 0;

	for (size_t i = 0; !err && i < rule->n_group; i++)
		err = sl_key_text_add(&key, sl_field_get(record, rule->group[i], buf));
	if (!err) {
		hash = sl_siphash(key.bytes, key.n) ^ (__u64)(rule - e->config->rules);
		g = *find(e, rule, &key, hash);
		if (!g)
			g = add(e, rule, &key, hash);
	}
	sl_key_text_free(&key);
	return g;
}
