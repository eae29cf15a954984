// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The few containers that this stage needs. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

void *sl_array_grow(void *array, size_t n, size_t *cap, size_t size)
{
	size_t want = *cap ? *cap * 2 : 8;
	void *grown;

	if (n < *cap)
		return array;
	grown = reallocarray(array, want, size);
	if (grown)
		*cap = want;
	return grown;
}

int sl_index_list_add(struct sl_index_list *list, unsigned ifindex)
{
	unsigned *grown = sl_array_grow(list->v, list->n, &list->cap, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	list->v = grown;
	grown[list->n++] = ifindex;
	return 0;
}

static int compare_indexes(const void *a, const void *b)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

	return x < y ? -1 : x > y;
}

void sl_index_list_sort(struct sl_index_list *list)
{
	if (list->n)
		qsort(list->v, list->n, sizeof(*list->v), compare_indexes);
}

bool sl_index_list_has(const struct sl_index_list *list, unsigned ifindex)
{
	return list->n && bsearch(&ifindex, list->v, list->n, sizeof(*list->v), compare_indexes);
}

int sl_cidr_list_add(struct sl_cidr_list *list, const struct sl_cidr *cidr)
{
	struct sl_cidr *v = sl_array_grow(list->v, list->n, &list->cap, sizeof(*v));

	if (!v)
		return -ENOMEM;
	list->v = v;
	v[list->n++] = *cidr;
	return 0;
}

static int compare_cidrs(const void *a, const void *b)
{
	const struct sl_cidr *x = a, *y = b;
	int order;

	if (x->family != y->family)
		return x->family - y->family;
	order = memcmp(x->addr, y->addr, sizeof(x->addr));
	return order ? order : x->len - y->len;
}

void sl_cidr_list_sort(struct sl_cidr_list *list)
{
	size_t kept = 0;

	if (!list->n)
		return;
	qsort(list->v, list->n, sizeof(*list->v), compare_cidrs);
	for (size_t i = 1; i < list->n; i++)
		if (compare_cidrs(&list->v[kept], &list->v[i]))
			list->v[++kept] = list->v[i];
	list->n = kept + 1;
}

/* FNV-1a, 64 bits. */
static uint64_t hash_string(const char *s)
{
	uint64_t hash = 0xcbf29ce484222325ULL;

	for (; *s; s++)
		hash = (hash ^ (unsigned char)*s) * 0x100000001b3ULL;
	return hash ^ hash >> 32;
}

static __u64 slot_word(__u64 hash, size_t entry)
{
	return (hash & ~0xffffffffull) | (entry + 1);
}

/* The slot of key, or the free one where it would stand. Who has another hash is not read:
 * each text is a miss of the caches. */
static __u64 *slot_of(const struct sl_strtab *tab, const char *key, __u64 hash)
{
	size_t i = hash & (tab->cap - 1);
	const struct sl_strtab_entry *entry;

	for (; tab->slots[i]; i = (i + 1) & (tab->cap - 1)) {
		if ((tab->slots[i] ^ hash) >> 32)
			continue;
		entry = &tab->entries[(__u32)tab->slots[i] - 1];
		if (entry->hash == hash && !strcmp(entry->key, key))
			break;
	}
	return &tab->slots[i];
}

struct sl_strtab_entry *sl_strtab_find(const struct sl_strtab *tab, const char *key)
{
	__u64 word = tab->cap ? *slot_of(tab, key, hash_string(key)) : 0;

	return word ? &tab->entries[(__u32)word - 1] : NULL;
}

static int strtab_grow(struct sl_strtab *tab, size_t cap)
{
	struct sl_strtab_entry *entries = reallocarray(tab->entries, cap / 2, sizeof(*entries));
	__u64 *slots;

	if (!entries)
		return -ENOMEM;
	tab->entries = entries;
	slots = calloc(cap, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	free(tab->slots);
	tab->slots = slots;
	tab->cap = cap;
	for (size_t i = 0; i < tab->n; i++)
		*slot_of(tab, entries[i].key, entries[i].hash) = slot_word(entries[i].hash, i);
	return 0;
}

int sl_strtab_reserve(struct sl_strtab *tab, size_t n)
{
	size_t cap = tab->cap ? tab->cap : 64;

	while (cap / 2 <= n)
		cap *= 2;
	return cap == tab->cap ? 0 : strtab_grow(tab, cap);
}

__u64 sl_strtab_expect(const struct sl_strtab *tab, const char *key)
{
	__u64 hash = hash_string(key);

	if (tab->cap)
		__builtin_prefetch(&tab->slots[hash & (tab->cap - 1)]);
	return hash;
}

int sl_strtab_put(struct sl_strtab *tab, const char *key, __u64 hash, void *value,
		  bool *was_there)
{
	__u64 *slot;

	if (tab->n >= tab->cap / 2 && strtab_grow(tab, tab->cap ? tab->cap * 2 : 64))
		return -ENOMEM;
	slot = slot_of(tab, key, hash);
	*was_there = *slot;
	if (*slot)
		return 0;
	*slot = slot_word(hash, tab->n);
	tab->entries[tab->n++] = (struct sl_strtab_entry){key, value, hash};
	return 0;
}

int sl_strtab_add(struct sl_strtab *tab, const char *key, void *value)
{
	bool was_there;

	return sl_strtab_put(tab, key, hash_string(key), value, &was_there);
}

void sl_strtab_free(struct sl_strtab *tab)
{
	free(tab->entries);
	free(tab->slots);
	*tab = (struct sl_strtab){0};
}
