// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The classes: the distinct sets of entries that cover some address, or some pattern of
 * names, found by a hash and compared entry by entry. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define LIST_ENTRIES_MAX (64u << 20)	/* of all classes together: 256 MiB */

static int grow_slots(struct compiler *c)
{
	size_t n = c->n_class_slots ? c->n_class_slots * 2 : 1024, i, at;
	__u32 *slots = malloc(n * sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	memset(slots, 0xff, n * sizeof(*slots));
	for (i = 0; i < c->n_classes; i++) {
		at = c->classes[i].hash[0] & (n - 1);
		while (slots[at] != SL_NONE)
			at = (at + 1) & (n - 1);
		slots[at] = i;
	}
	free(c->class_slots);
	c->class_slots = slots;
	c->n_class_slots = n;
	return 0;
}

static void fill_word(struct compiler *c, struct class *class, const struct active *active,
		      size_t word)
{
	__u64 bits;
	__u32 entry;

	for (bits = active->bits[word]; bits; bits &= bits - 1) {
		entry = word * 64 + __builtin_ctzll(bits);
		if (c->entries[entry].marker)
			class->embedded = true;
		else
			class->entries[class->n_entries++] = entry;
	}
}

static int fill(struct compiler *c, struct class *class, const struct active *active)
{
	size_t words = (c->n_entries + 63) / 64, i;
	__u64 bits;

	class->entries = sl_arena_take(&c->arena, active->n, sizeof(*class->entries));
	if (!class->entries)
		return -ENOMEM;
	for (i = 0; i < (words + 63) / 64; i++)
		for (bits = active->used[i]; bits; bits &= bits - 1)
			fill_word(c, class, active, i * 64 + __builtin_ctzll(bits));
	return 0;
}

/* Are entries i to i + 63 of the class, which are in order, those of one word? */
static bool is_word(const struct class *class, __u32 i)
{
	__u32 first = class->entries[i];

	return !(first % 64) && class->n_entries - i >= 64 && class->entries[i + 63] == first + 63;
}

/* Many rules over the same addresses are neighbours: by words, 64 at once. */
static bool same_class(const struct class *class, const struct active *active)
{
	__u32 i, n;
	__u64 bits;

	if (class->names || memcmp(class->hash, active->hash, sizeof(class->hash)) ||
	    active->n != class->n_entries + class->embedded)
		return false;
	for (i = 0; i < class->n_entries; i += n) {
		n = is_word(class, i) ? 64 : 1;
		bits = n == 64 ? ~0ull : 1ull << class->entries[i] % 64;
		if (bits & ~active->bits[class->entries[i] / 64])
			return false;
	}
	return true;
}

/* An empty class behind the others; NULL: no room (reported) or memory. */
static struct class *new_class(struct compiler *c, const __u64 hash[2], int *err)
{
	struct class *v;
	size_t cap;

	if (c->n_classes == SL_CLASSES_MAX + 1) {
		*err = too_large(c, c->names.n ? "65,535 classes of addresses and names"
					       : "65,535 address classes");
		return NULL;
	}
	*err = -ENOMEM;
	if (c->n_classes == c->cap_classes) {
		cap = c->cap_classes ? c->cap_classes * 2 : 64;
		v = realloc(c->classes, cap * sizeof(*v));
		if (!v)
			return NULL;
		c->classes = v;
		c->cap_classes = cap;
	}
	v = &c->classes[c->n_classes];
	memset(v, 0, sizeof(*v));
	memcpy(v->hash, hash, sizeof(v->hash));
	return v;
}

/* A class whose entries are there. */
static int take_class(struct compiler *c, const struct class *class)
{
	c->n_classes++;
	c->n_listed += class->n_entries;
	if (c->n_listed > LIST_ENTRIES_MAX)
		return too_large(c, "what the compiler holds of overlapping rules");
	return 0;
}

static int add_class(struct compiler *c, const struct active *active)
{
	struct class *v;
	int err;

	v = new_class(c, active->hash, &err);
	if (!v)
		return err;
	if (fill(c, v, active))
		return -ENOMEM;
	return take_class(c, v);
}

int class_of(struct compiler *c, const struct active *active, __u32 *class)
{
	size_t at;
	int err;

	if (c->n_classes * 2 >= c->n_class_slots && grow_slots(c))
		return -ENOMEM;
	at = active->hash[0] & (c->n_class_slots - 1);
	for (; c->class_slots[at] != SL_NONE; at = (at + 1) & (c->n_class_slots - 1)) {
		*class = c->class_slots[at];
		if (same_class(&c->classes[*class], active))
			return 0;
	}
	err = add_class(c, active);
	if (err)
		return err;
	*class = c->n_classes - 1;
	c->class_slots[at] = *class;
	return 0;
}

/* ---- names ---- */

static void hash_entries(const __u32 *entries, size_t n, __u64 hash[2])
{
	size_t i;

	hash[0] = hash[1] = mix(n);
	for (i = 0; i < n; i++) {
		hash[0] ^= mix(2 * (__u64)entries[i]);
		hash[1] ^= mix(2 * (__u64)entries[i] + 1);
	}
}

static bool same_names(const struct class *class, const __u64 hash[2], const __u32 *entries,
		       size_t n)
{
	return class->names && !memcmp(class->hash, hash, sizeof(class->hash)) &&
	       class->n_entries == n && !memcmp(class->entries, entries, n * sizeof(*entries));
}

static bool resolves_private(const struct compiler *c, const struct class *class)
{
	const struct sl_rule *rule;
	__u32 i;

	for (i = 0; i < class->n_entries; i++) {
		rule = c->rules[c->entries[class->entries[i]].rule].rule;
		if (rule && rule->resolves_private)
			return true;
	}
	return false;
}

static int add_names_class(struct compiler *c, const __u64 hash[2], const __u32 *entries, size_t n)
{
	struct class *v;
	int err;

	v = new_class(c, hash, &err);
	if (!v)
		return err;
	v->entries = sl_arena_take(&c->arena, n, sizeof(*entries));
	if (!v->entries)
		return -ENOMEM;
	memcpy(v->entries, entries, n * sizeof(*entries));
	v->n_entries = n;
	v->names = true;
	v->resolves_private = resolves_private(c, v);
	return take_class(c, v);
}

int class_of_names(struct compiler *c, const __u32 *entries, size_t n, __u32 *class)
{
	__u64 hash[2];
	size_t at;
	int err;

	if (c->n_classes * 2 >= c->n_class_slots && grow_slots(c))
		return -ENOMEM;
	hash_entries(entries, n, hash);
	at = hash[0] & (c->n_class_slots - 1);
	for (; c->class_slots[at] != SL_NONE; at = (at + 1) & (c->n_class_slots - 1)) {
		*class = c->class_slots[at];
		if (same_names(&c->classes[*class], hash, entries, n))
			return 0;
	}
	err = add_names_class(c, hash, entries, n);
	if (err)
		return err;
	*class = c->n_classes - 1;
	c->class_slots[at] = *class;
	return 0;
}
