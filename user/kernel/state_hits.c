// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Counters belong to (target, rule id), not to a generation. The kernel counts by
 * rule number and generation; when a slot gets a new table, what the old one counted
 * is carried over under generation 0, by the new numbers. The kernel never writes
 * there, and nothing counts for the old generation any more: no count is lost.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "state_internal.h"

#define CARRIED 0	/* generations begin at 1 */

struct label {
	const char *id;
	__u32 rule;
};

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct label *)a)->id, ((const struct label *)b)->id);
}

/* The rules of a table, sorted by id; NULL without memory. */
static struct label *labels_of(const struct sl_table *table, size_t *n, bool sorted)
{
	const char *at = sl_table_label(table->words, table->n_words, 0);
	struct label *labels;
	size_t i;

	*n = table->words[SL_H_RULES];
	labels = calloc(*n + 1, sizeof(*labels));
	for (i = 0; labels && at && i < *n; i++) {
		at += strlen(at) + 1;
		labels[i] = (struct label){at, (__u32)i};
	}
	if (labels && sorted)
		qsort(labels, *n, sizeof(*labels), compare);
	return labels;
}

/* The rule's number in the new table; SL_NONE: it is no more. */
static __u32 renumber(const struct label *old, size_t n_old, const struct label *new, size_t n_new,
		      __u32 rule)
{
	const struct label *found;

	if (rule >= n_old)
		return SL_NONE;
	found = bsearch(&old[rule], new, n_new, sizeof(*new), compare);
	return found ? found->rule : SL_NONE;
}

struct moved {
	struct sl_hit_key from, to;
	struct sl_hit hit;
};

/* Everything of the slot that is not of the new generation, taken out of the map. */
static struct moved *take_old(const struct sl_state *s, __u32 slot, __u32 generation, size_t *n)
{
	struct moved *moved = NULL, *grown;
	struct sl_hit_key key, next;
	int fd = s->maps[SL_M_HITS];
	bool more = !bpf_map_get_next_key(fd, NULL, &next);
	size_t cap = 0;

	*n = 0;
	while (more) {
		key = next;
		more = !bpf_map_get_next_key(fd, &key, &next);
		if (key.slot != slot || key.generation == generation)
			continue;
		if (*n == cap) {
			cap = cap ? 2 * cap : 256;
			grown = realloc(moved, cap * sizeof(*moved));
			if (!grown)
				break;	/* the rest stays where it is, and is shown as old */
			moved = grown;
		}
		moved[*n].from = key;
		if (!bpf_map_lookup_elem(fd, &key, &moved[*n].hit) && !bpf_map_delete_elem(fd, &key))
			(*n)++;
	}
	return moved;
}

static bool is_one_of(__u32 slot, const __u32 *slots, size_t n)
{
	while (n--)
		if (slots[n] == slot)
			return true;
	return false;
}

void sl_state_clear_hits(const struct sl_state *s, const __u32 *slots, size_t n)
{
	struct sl_hit_key key, next;
	int fd = s->maps[SL_M_HITS];
	bool more = !bpf_map_get_next_key(fd, NULL, &next);

	while (more) {
		key = next;
		more = !bpf_map_get_next_key(fd, &key, &next);
		if (is_one_of(key.slot, slots, n))
			bpf_map_delete_elem(fd, &key);
	}
}

static void put(const struct sl_state *s, const struct moved *m)
{
	struct sl_hit hit = {};

	bpf_map_lookup_elem(s->maps[SL_M_HITS], &m->to, &hit);
	hit.count += m->hit.count;
	hit.bytes[0] += m->hit.bytes[0];
	hit.bytes[1] += m->hit.bytes[1];
	if (m->hit.last_ns > hit.last_ns)
		hit.last_ns = m->hit.last_ns;
	bpf_map_update_elem(s->maps[SL_M_HITS], &m->to, &hit, 0);
}

void sl_state_carry_hits(const struct sl_state *s, __u32 slot, const struct sl_table *old,
			 const struct sl_table *new)
{
	size_t n_old, n_new, n, i;
	struct label *before = labels_of(old, &n_old, false), *after = labels_of(new, &n_new, true);
	struct moved *moved;

	if (before && after) {
		moved = take_old(s, slot, (__u32)new->words[SL_H_GENERATION], &n);
		for (i = 0; i < n; i++) {
			moved[i].to = moved[i].from;
			moved[i].to.generation = CARRIED;
			if (moved[i].from.rule != SL_NONE)
				moved[i].to.rule = renumber(before, n_old, after, n_new,
							    moved[i].from.rule);
			put(s, &moved[i]);
		}
		free(moved);
	}
	free(before);
	free(after);
}
