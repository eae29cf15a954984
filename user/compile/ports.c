// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * From (class, view) to a port table: the key space is cut at every boundary of
 * the class's entries and painted in the order of the rules; a rule without an
 * expiry closes what it paints, one with an expiry leaves it open behind
 * itself, and what comes next is its `otherwise`.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "painter.h"

#define WORK_MAX 400000000ull	/* painted segments: seconds of one core */

static int grow(void **v, size_t *cap, size_t want, size_t size)
{
	size_t n = *cap ? *cap : 64;
	void *p;

	if (want <= *cap)
		return 0;
	while (n < want)
		n *= 2;
	p = realloc(*v, n * size);
	if (!p)
		return -ENOMEM;
	*v = p;
	*cap = n;
	return 0;
}

bool visible(const struct compiler *c, const struct entry *e, __u32 view)
{
	size_t i;

	if (e->names || e->ask_only) {
		if (view == SL_VIEW_QUESTION)
			return !e->quic;
		/* A deny by name says nothing about addresses. */
		if (e->ask_only || c->rules[e->rule].action == SL_DENY)
			return false;
	} else if (view == SL_VIEW_INBOUND || e->inbound) {
		return e->inbound && view == SL_VIEW_INBOUND;
	}
	if (!e->n_uids)
		return true;
	if (view == SL_VIEW_OTHER)
		return false;
	for (i = 0; i < e->n_uids; i++)
		if (e->uids[i].number == c->view_uid[view])
			return true;
	return false;
}

const struct key_range *keys_of(const struct entry *e, __u32 view, size_t *n)
{
	static const struct key_range every = {0, KEY_END - 1};
	bool question = view == SL_VIEW_QUESTION && (e->names || e->ask_only);

	*n = question ? 1 : e->n_keys;
	return question ? &every : e->keys;
}

static int compare_u32(const void *a, const void *b)
{
	__u32 x = *(const __u32 *)a, y = *(const __u32 *)b;

	return x < y ? -1 : x > y;
}

/* A handful, which qsort takes longer to begin with. */
void sort_keys(__u32 *keys, size_t n)
{
	size_t i, k;
	__u32 key;

	if (n > 16) {
		qsort(keys, n, sizeof(*keys), compare_u32);
		return;
	}
	for (i = 1; i < n; i++) {
		key = keys[i];
		for (k = i; k && keys[k - 1] > key; k--)
			keys[k] = keys[k - 1];
		keys[k] = key;
	}
}

/* Cuts the key space at the boundaries of the visible entries. */
static int cut(struct painter *p, const __u32 *entries, size_t n_entries, __u32 view)
{
	size_t i, k, n = 1, out = 0, want = 2, old, n_keys;
	const struct key_range *keys;
	const struct entry *e;

	for (i = 0; i < n_entries; i++) {
		keys_of(&p->c->entries[entries[i]], view, &n_keys);
		if (visible(p->c, &p->c->entries[entries[i]], view))
			want += 2 * n_keys;
	}
	old = p->cap;
	if (grow((void **)&p->keys, &p->cap, want, sizeof(*p->keys)))
		return -ENOMEM;
	if (p->cap != old) {
		free(p->next);
		free(p->tail);
		free(p->links);
		p->next = malloc(p->cap * sizeof(*p->next));
		p->tail = malloc(p->cap * sizeof(*p->tail));
		p->links = malloc(p->cap);
		if (!p->next || !p->tail || !p->links)
			return -ENOMEM;
	}
	p->keys[0] = 0;
	for (i = 0; i < n_entries; i++) {
		e = &p->c->entries[entries[i]];
		if (!visible(p->c, e, view))
			continue;
		keys = keys_of(e, view, &n_keys);
		for (k = 0; k < n_keys; k++) {
			p->keys[n++] = keys[k].low;
			p->keys[n++] = keys[k].high + 1;
		}
	}
	p->work += n;
	sort_keys(p->keys, n);
	for (i = 1; i < n; i++)
		if (p->keys[i] != p->keys[out] && p->keys[i] < KEY_END)
			p->keys[++out] = p->keys[i];
	p->n = out + 1;
	p->keys[p->n] = KEY_END;
	for (i = 0; i <= p->n; i++)
		p->next[i] = i;
	memset(p->tail, 0xff, p->n * sizeof(*p->tail));
	memset(p->links, 0, p->n);
	p->n_nodes = 0;
	return 0;
}

static __u32 find_open(struct painter *p, __u32 i)
{
	__u32 root = i, up;

	while (p->next[root] != root)
		root = p->next[root];
	for (; p->next[i] != root && i != root; i = up) {
		up = p->next[i];
		p->next[i] = root;
	}
	return root;
}

static __u32 segment_at(const struct painter *p, __u32 key)
{
	size_t low = 0, high = p->n, mid;

	while (high - low > 1) {
		mid = (low + high) / 2;
		if (p->keys[mid] <= key)
			low = mid;
		else
			high = mid;
	}
	return low;
}

/* The rule that ends a chain for good; SL_NONE if every link expires. */
static __u32 closing_rule(const struct compiler *c, __u32 id)
{
	while (id != SL_NONE && chain_otherwise(c, id) != SL_NONE)
		id = chain_otherwise(c, id);
	if (id == SL_NONE || c->chains[2 * (size_t)id + 1])
		return SL_NONE;
	return chain_rule(c, id);
}

bool open_before(const struct compiler *c, const __u64 *table, size_t n, __u32 low, __u32 high,
		 __u32 rule)
{
	size_t i, a = 0, b = n, mid;

	if (!n)
		return true;
	while (b - a > 1) {
		mid = (a + b) / 2;
		if (table[mid] >> 32 <= low)
			a = mid;
		else
			b = mid;
	}
	for (i = a; i < n && table[i] >> 32 < high; i++)
		if (closing_rule(c, (__u32)table[i]) > rule)
			return true;
	return false;
}

static int link_rule(struct painter *p, __u32 segment, __u32 by)
{
	struct compiler *c = p->c;
	__u32 tail = p->tail[segment], rule = by & ~CHAIN_QUIC;

	if (tail != SL_NONE && (p->nodes[tail].by & ~CHAIN_QUIC) == rule)
		return 0;
	if (p->links[segment] == SL_OTHERWISE_MAX)
		return sl_error(c->diag, &c->rules[rule].pos,
				"rule '%s' stands behind %d expiring rules for the same "
				"connections; at most %d can follow one another: remove those "
				"that have expired", c->rules[rule].id, SL_OTHERWISE_MAX,
				SL_OTHERWISE_MAX - 1);
	if (grow((void **)&p->nodes, &p->cap_nodes, p->n_nodes + 1, sizeof(*p->nodes)))
		return -ENOMEM;
	p->nodes[p->n_nodes] = (struct node){by, p->tail[segment]};
	p->tail[segment] = p->n_nodes++;
	p->links[segment]++;
	return 0;
}

/* base: the table that the class is read together with; NULL for none. */
static int paint(struct painter *p, const struct entry *e, __u32 view, const struct words *base)
{
	struct compiler *c = p->c;
	const struct key_range *keys;
	size_t k, n_keys;
	__u32 i;
	int err;

	keys = keys_of(e, view, &n_keys);
	for (k = 0; k < n_keys; k++) {
		i = find_open(p, segment_at(p, keys[k].low));
		for (; i < p->n && p->keys[i] <= keys[k].high; i = find_open(p, i + 1)) {
			p->work++;
			err = link_rule(p, i, decider(e));
			if (err)
				return err;
			if (!c->deadlines[e->rule])
				p->next[i] = i + 1;
			if (base && !c->reached[e->rule] &&
			    open_before(c, base->v, base->n, p->keys[i], p->keys[i + 1], e->rule))
				c->reached[e->rule] = true;
		}
	}
	return 0;
}

static int add_chain(struct compiler *c, __u32 by, __u32 otherwise, __u32 *id)
{
	if (grow((void **)&c->chains, &c->cap_chains, 2 * (c->n_chains + 1), sizeof(*c->chains)))
		return -ENOMEM;
	c->chains[2 * c->n_chains] = (__u64)by << 32 | otherwise;
	c->chains[2 * c->n_chains + 1] = c->deadlines[by & ~CHAIN_QUIC];
	*id = c->n_chains++;
	return 0;
}

/* Is it a rule's decision with nothing behind it? */
static bool is_last(__u64 chain)
{
	return (__u32)chain == SL_NONE && !(chain >> 32 & CHAIN_QUIC);
}

static size_t chain_slot(__u64 word, size_t n_slots)
{
	return word * 0x9e3779b97f4a7c15ull >> 32 & (n_slots - 1);
}

static int grow_chain_slots(struct compiler *c)
{
	size_t n = c->n_chain_slots ? c->n_chain_slots * 2 : 1024, at, i;

	free(c->chain_slots);
	c->n_chain_slots = 0;
	c->chain_slots = malloc(n * sizeof(*c->chain_slots));
	if (!c->chain_slots)
		return -ENOMEM;
	memset(c->chain_slots, 0xff, n * sizeof(*c->chain_slots));
	c->n_chain_slots = n;
	for (i = 0; i < c->n_chains; i++) {
		if (is_last(c->chains[2 * i]))
			continue;
		at = chain_slot(c->chains[2 * i], n);
		while (c->chain_slots[at] != SL_NONE)
			at = (at + 1) & (n - 1);
		c->chain_slots[at] = i;
	}
	return 0;
}

/* Found by the rule's number: most are. */
static int intern_last(struct compiler *c, __u32 rule, __u32 *id)
{
	if (!c->last_chain) {
		c->last_chain = malloc((c->n_rules + 1) * sizeof(*c->last_chain));
		if (!c->last_chain)
			return -ENOMEM;
		memset(c->last_chain, 0xff, (c->n_rules + 1) * sizeof(*c->last_chain));
	}
	if (c->last_chain[rule] == SL_NONE && add_chain(c, rule, SL_NONE, &c->last_chain[rule]))
		return -ENOMEM;
	*id = c->last_chain[rule];
	return 0;
}

int intern_chain(struct compiler *c, __u32 by, __u32 otherwise, __u32 *id)
{
	__u64 word = (__u64)by << 32 | otherwise;
	size_t at;

	if (is_last(word))
		return intern_last(c, by, id);
	if (c->n_in_slots * 2 >= c->n_chain_slots && grow_chain_slots(c))
		return -ENOMEM;
	at = chain_slot(word, c->n_chain_slots);
	for (; c->chain_slots[at] != SL_NONE; at = (at + 1) & (c->n_chain_slots - 1)) {
		if (c->chains[2 * (size_t)c->chain_slots[at]] == word) {
			*id = c->chain_slots[at];
			return 0;
		}
	}
	if (add_chain(c, by, otherwise, id))
		return -ENOMEM;
	c->chain_slots[at] = *id;
	c->n_in_slots++;
	return 0;
}

/* Writes the painted segments as a table, equal neighbours merged. */
static int finish(struct painter *p)
{
	__u32 id, node, last = SL_NONE;
	size_t i;
	int err;

	p->table.n = 0;
	for (i = 0; i < p->n; i++) {
		id = SL_NONE;
		for (node = p->tail[i]; node != SL_NONE; node = p->nodes[node].before) {
			err = intern_chain(p->c, p->nodes[node].by, id, &id);
			if (err)
				return err;
		}
		if (i && id == last)
			continue;
		if (words_push(&p->table, (__u64)p->keys[i] << 32 | id))
			return -ENOMEM;
		last = id;
	}
	if (p->table.n == 1 && last == SL_NONE)
		p->table.n = 0;
	return 0;
}

int build_table(struct painter *p, const __u32 *entries, size_t n, __u32 view,
		const struct words *base)
{
	struct compiler *c = p->c;
	size_t i;
	int err;

	p->table.n = 0;
	if (!build_few(p, entries, n, view, base, &err)) {
		err = cut(p, entries, n, view);
		for (i = 0; i < n && !err; i++)
			if (visible(c, &c->entries[entries[i]], view))
				err = paint(p, &c->entries[entries[i]], view, base);
		err = err ? err : finish(p);
	}
	if (!err && p->work > WORK_MAX)
		err = too_large(c, "the work of a compilation");
	return err;
}

int intern_table(struct painter *p, __u64 *word)
{
	struct compiler *c = p->c;
	__u32 at;

	*word = 0;
	if (!p->table.n)
		return 0;
	if (pool_intern(&c->ports, p->table.v, p->table.n, &at))
		return -ENOMEM;
	if (c->ports.words.n > SL_TABLE_WORDS_MAX)
		return too_large(c, "64 MiB of port tables");
	*word = (__u64)p->table.n << 32 | at;
	return 0;
}

void painter_free(struct painter *p)
{
	__u32 view;

	for (view = 0; p->base && view < p->c->n_views; view++)
		words_free(&p->base[view]);
	free(p->base);
	free(p->keys);
	free(p->next);
	free(p->tail);
	free(p->links);
	free(p->nodes);
	words_free(&p->table);
}
