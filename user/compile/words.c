// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Growable arrays of words, and pools that store equal arrays once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

int words_reserve(struct words *w, size_t n)
{
	size_t cap = w->cap ? w->cap : 64;
	__u64 *v;

	while (cap < w->n + n)
		cap *= 2;
	if (cap == w->cap)
		return 0;
	v = realloc(w->v, cap * sizeof(*v));
	if (!v)
		return -ENOMEM;
	w->v = v;
	w->cap = cap;
	return 0;
}

int words_append(struct words *w, const __u64 *v, size_t n)
{
	if (!n)
		return 0;
	if (words_reserve(w, n))
		return -ENOMEM;
	memcpy(w->v + w->n, v, n * sizeof(*v));
	w->n += n;
	return 0;
}

int words_fill(struct words *w, size_t n, __u64 word)
{
	if (words_reserve(w, n))
		return -ENOMEM;
	while (n--)
		w->v[w->n++] = word;
	return 0;
}

void words_free(struct words *w)
{
	free(w->v);
	memset(w, 0, sizeof(*w));
}

static __u64 hash_words(const __u64 *v, size_t n)
{
	__u64 h = 0x9e3779b97f4a7c15ull ^ n;
	size_t i;

	for (i = 0; i < n; i++) {
		h ^= v[i];
		h *= 0xff51afd7ed558ccdull;
		h ^= h >> 32;
	}
	return h;
}

/* The high half of the hash, and the item's number + 1. */
static __u64 slot_word(const struct pool *pool, size_t item)
{
	return (pool->items[item].hash & ~0xffffffffull) | (item + 1);
}

static int pool_resize(struct pool *pool, size_t n_slots)
{
	struct pool_item *items = reallocarray(pool->items, n_slots / 2, sizeof(*items));
	size_t i, at;
	__u64 *slots;

	if (!items)
		return -ENOMEM;
	pool->items = items;
	slots = calloc(n_slots, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (i = 0; i < pool->n_used; i++) {
		at = items[i].hash & (n_slots - 1);
		while (slots[at])
			at = (at + 1) & (n_slots - 1);
		slots[at] = slot_word(pool, i);
	}
	free(pool->slots);
	pool->slots = slots;
	pool->n_slots = n_slots;
	return 0;
}

static int pool_grow(struct pool *pool)
{
	return pool_resize(pool, pool->n_slots ? pool->n_slots * 2 : 256);
}

int pool_reserve(struct pool *pool, size_t n)
{
	size_t n_slots = pool->n_slots ? pool->n_slots : 256;

	while (n_slots / 2 <= n)
		n_slots *= 2;
	return n_slots == pool->n_slots ? 0 : pool_resize(pool, n_slots);
}

static bool is_item(const struct pool *pool, const struct pool_item *item, __u64 hash,
		    const __u64 *v, size_t n)
{
	return item->hash == hash && item->n == n &&
	       !memcmp(pool->words.v + item->at, v, n * sizeof(*v));
}

int pool_intern(struct pool *pool, const __u64 *v, size_t n, __u32 *at)
{
	__u64 hash = hash_words(v, n);
	const struct pool_item *item;
	size_t i;

	if (pool->n_used * 2 >= pool->n_slots && pool_grow(pool))
		return -ENOMEM;
	for (i = hash & (pool->n_slots - 1); pool->slots[i]; i = (i + 1) & (pool->n_slots - 1)) {
		if ((pool->slots[i] ^ hash) >> 32)
			continue;
		item = &pool->items[(__u32)pool->slots[i] - 1];
		if (is_item(pool, item, hash, v, n)) {
			*at = item->at;
			return 0;
		}
	}
	*at = pool->words.n;
	if (words_append(&pool->words, v, n))
		return -ENOMEM;
	pool->items[pool->n_used] = (struct pool_item){.hash = hash, .at = *at, .n = n};
	pool->slots[i] = slot_word(pool, pool->n_used++);
	return 0;
}

void pool_free(struct pool *pool)
{
	words_free(&pool->words);
	free(pool->items);
	free(pool->slots);
	memset(pool, 0, sizeof(*pool));
}
