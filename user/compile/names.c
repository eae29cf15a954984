// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The patterns of the rules by name, each with the class of the entries over it: its
 * own, and those of every pattern that covers all of its names (`*.b.c` and `*.c` and
 * `*` those of a.b.c). So the most specific pattern that covers a name tells all.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "policy/domain.h"

size_t count_names(const struct sl_match *match)
{
	size_t i, n = 0;

	for (i = 0; i < match->n_hosts; i++)
		n += sl_host_is_name(&match->hosts[i]);
	return n;
}

/* ---- the table of patterns ---- */

static __u64 hash_text(const char *text, bool suffix)
{
	__u64 hash = 0xcbf29ce484222325 + suffix;

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3;
	return mix(hash);
}

/* The slot of a pattern, or a free one. */
static size_t find_slot(const struct pattern_table *t, const char *text, bool suffix)
{
	size_t at = hash_text(text, suffix) & (t->n_slots - 1);
	const struct pattern *p;

	for (; t->slots[at] != SL_NONE; at = (at + 1) & (t->n_slots - 1)) {
		p = &t->v[t->slots[at]];
		if (p->suffix == suffix && !strcmp(p->text, text))
			break;
	}
	return at;
}

static int grow_table(struct pattern_table *t)
{
	size_t n_slots = t->n_slots ? t->n_slots * 2 : 256, cap = t->cap ? t->cap * 2 : 128, i;
	struct pattern *v = reallocarray(t->v, cap, sizeof(*v));
	__u32 *slots;

	if (!v)
		return -ENOMEM;
	t->v = v;
	t->cap = cap;
	slots = malloc(n_slots * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	memset(slots, 0xff, n_slots * sizeof(*slots));
	free(t->slots);
	t->slots = slots;
	t->n_slots = n_slots;
	for (i = 0; i < t->n; i++)
		slots[find_slot(t, t->v[i].text, t->v[i].suffix)] = i;
	return 0;
}

/* The pattern, added if new. text must outlive the table. */
static int intern_pattern(struct pattern_table *t, const char *text, bool suffix, __u32 *index)
{
	size_t at;

	if (t->n == t->cap && grow_table(t))
		return -ENOMEM;
	at = find_slot(t, text, suffix);
	if (t->slots[at] == SL_NONE) {
		t->v[t->n] = (struct pattern){.text = text, .suffix = suffix, .links = SL_NONE};
		t->slots[at] = t->n++;
	}
	*index = t->slots[at];
	return 0;
}

static int add_link(struct pattern_table *t, __u32 pattern, __u32 entry)
{
	size_t cap = t->cap_links ? t->cap_links * 2 : 256;
	struct link *links;

	if (t->n_links == t->cap_links) {
		links = reallocarray(t->links, cap, sizeof(*links));
		if (!links)
			return -ENOMEM;
		t->links = links;
		t->cap_links = cap;
	}
	t->links[t->n_links] = (struct link){entry, t->v[pattern].links};
	t->v[pattern].links = t->n_links++;
	return 0;
}

void names_free(struct pattern_table *t)
{
	size_t i;

	for (i = 0; i < t->n; i++)
		free(t->v[i].own);
	free(t->v);
	free(t->slots);
	free(t->links);
}

/* ---- from entries to patterns ---- */

static int add_names(struct compiler *c, __u32 entry)
{
	const struct entry *e = &c->entries[entry];
	const struct sl_host *host;
	__u32 pattern;
	size_t i;
	int err = 0;

	for (i = 0; i < e->names->n_hosts && !err; i++) {
		host = &e->names->hosts[i];
		if (!sl_host_is_name(host))
			continue;
		err = intern_pattern(&c->names, host->text ? host->text : "",
				     host->kind != SL_HOST_NAME, &pattern);
		if (err)
			return err;
		c->names.v[pattern].allowed |= c->rules[e->rule].action == SL_ALLOW;
		err = add_link(&c->names, pattern, entry);
	}
	return err;
}

/* The pattern with a search domain behind it: it may be asked too. */
static int add_searched(struct compiler *c, __u32 pattern, const char *domain)
{
	const char *text = c->names.v[pattern].text;
	bool suffix = c->names.v[pattern].suffix;
	size_t before = c->names.n;
	char *joined;
	__u32 index;
	int err;

	if (strlen(text) + 1 + strlen(domain) > SL_DOMAIN_MAX)
		return 0; /* no name */
	if (asprintf(&joined, "%s.%s", text, domain) < 0)
		return -ENOMEM;
	err = intern_pattern(&c->names, joined, suffix, &index);
	if (!err && c->names.n > before) {
		c->names.v[index].own = joined;
		c->names.n_ask_only++;
	} else {
		free(joined);
	}
	return err ? err : add_link(&c->names, index, c->ask_entry);
}

/* Of the patterns that rules name, not of those that this adds. `*` has them all. */
static int add_search(struct compiler *c)
{
	const struct sl_dns *dns = &c->policy->dns;
	size_t n = c->names.n, i, k;
	int err = 0;

	for (i = 0; i < n && c->ask_entry != SL_NONE; i++) {
		if (!c->names.v[i].allowed || !*c->names.v[i].text)
			continue;
		for (k = 0; k < dns->n_search && !err; k++)
			err = add_searched(c, i, dns->search[k]);
		if (err)
			return err;
	}
	return 0;
}

/* True if some rule allows a name: docs/names.md, "A question". */
static bool allows_names(const struct compiler *c)
{
	size_t i;

	for (i = 0; i < c->n_entries; i++)
		if (c->entries[i].names && c->rules[c->entries[i].rule].action == SL_ALLOW)
			return true;
	return false;
}

static bool any_may_be_asked(const struct compiler *c)
{
	const struct sl_policy *p = c->policy;

	if (p->dns.queries != SL_QUERIES_DEFAULT)
		return p->dns.queries == SL_QUERIES_ANY;
	return p->default_action == SL_ALLOW || !allows_names(c);
}

int add_search_rule(struct compiler *c)
{
	struct sl_rule_info info = {.id = "dns-search", .action = SL_ALLOW,
				    .reason = SL_REASON_DNS_RESOLVER, .pos = c->policy->pos};
	struct entry *e;

	c->ask_entry = SL_NONE;
	c->queries_any = any_may_be_asked(c);
	if (c->queries_any || !c->policy->dns.n_search || !allows_names(c))
		return 0;
	if (add_rule(c, info, 0))
		return -ENOMEM;
	e = new_entry(c);
	if (!e)
		return -ENOMEM;
	e->rule = c->n_rules - 1;
	e->ask_only = true;
	c->ask_entry = c->n_entries - 1;
	return 0;
}

/* ---- from patterns to classes ---- */

struct gathered {
	__u32 *v;
	size_t n, cap;
};

static int gather(const struct pattern_table *t, const char *text, bool suffix, struct gathered *g)
{
	__u32 pattern = t->slots[find_slot(t, text, suffix)], link;
	__u32 *v;

	if (pattern == SL_NONE)
		return 0;
	for (link = t->v[pattern].links; link != SL_NONE; link = t->links[link].next) {
		if (g->n == g->cap) {
			g->cap = g->cap ? g->cap * 2 : 64;
			v = reallocarray(g->v, g->cap, sizeof(*v));
			if (!v)
				return -ENOMEM;
			g->v = v;
		}
		g->v[g->n++] = t->links[link].entry;
	}
	return 0;
}

static int compare_u32(const void *a, const void *b)
{
	__u32 x = *(const __u32 *)a, y = *(const __u32 *)b;

	return x < y ? -1 : x > y;
}

static void sort_once(struct gathered *g)
{
	size_t i, n = 0;

	if (!g->n)
		return;
	qsort(g->v, g->n, sizeof(*g->v), compare_u32);
	for (i = 0; i < g->n; i++)
		if (!n || g->v[i] != g->v[n - 1])
			g->v[n++] = g->v[i];
	g->n = n;
}

static int classify(struct compiler *c, struct pattern *p, struct gathered *g)
{
	const char *dot = p->text;
	int err;

	g->n = 0;
	err = gather(&c->names, p->text, p->suffix, g);
	while (!err && (dot = strchr(dot, '.')))
		err = gather(&c->names, ++dot, true, g);
	if (!err && *p->text)
		err = gather(&c->names, "", true, g);
	if (err)
		return err;
	sort_once(g);
	return class_of_names(c, g->v, g->n, &p->class);
}

int classify_names(struct compiler *c)
{
	struct gathered g = {};
	size_t i;
	int err = 0;

	c->first_name_class = c->n_classes;
	for (i = 0; i < c->n_entries && !err; i++)
		if (c->entries[i].names)
			err = add_names(c, i);
	if (!err)
		err = add_search(c);
	for (i = 0; i < c->names.n && !err; i++)
		err = classify(c, &c->names.v[i], &g);
	free(g.v);
	return err;
}
