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

static int pool_resize(struct pool *pool, size_t n_slots)
{
	struct pool_item *slots = malloc(n_slots * sizeof(*slots));
	size_t i, at;

	if (!slots)
		return -ENOMEM;
	memset(slots, 0xff, n_slots * sizeof(*slots));
	for (i = 0; i < pool->n_slots; i++) {
		if (pool->slots[i].at == SL_NONE)
			continue;
		at = pool->slots[i].hash & (n_slots - 1);
		while (slots[at].at != SL_NONE)
			at = (at + 1) & (n_slots - 1);
		slots[at] = pool->slots[i];
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

int pool_intern(struct pool *pool, const __u64 *v, size_t n, __u32 *at)
{
	__u64 hash = hash_words(v, n);
	struct pool_item *item;
	size_t i;

	if (pool->n_used * 2 >= pool->n_slots && pool_grow(pool))
		return -ENOMEM;
	for (i = hash & (pool->n_slots - 1);; i = (i + 1) & (pool->n_slots - 1)) {
		item = &pool->slots[i];
		if (item->at == SL_NONE)
			break;
		if (item->hash == hash && item->n == n &&
		    !memcmp(pool->words.v + item->at, v, n * sizeof(*v))) {
			*at = item->at;
			return 0;
		}
	}
	*at = pool->words.n;
	if (words_append(&pool->words, v, n))
		return -ENOMEM;
	*item = (struct pool_item){.hash = hash, .at = *at, .n = n};
	pool->n_used++;
	return 0;
}

void pool_free(struct pool *pool)
{
	words_free(&pool->words);
	free(pool->slots);
	memset(pool, 0, sizeof(*pool));
}
