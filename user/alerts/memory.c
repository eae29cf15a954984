// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory_internal.h"

struct sl_alert_memory *sl_alert_memory_new(size_t values, size_t groups, __s64 forget_ns)
{
	struct sl_alert_memory *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->forget_ns = forget_ns;
	m->kinds[SL_SEEN_VALUE].max = values;
	m->kinds[SL_SEEN_GROUP].max = groups;
	return m;
}

void sl_alert_memory_free(struct sl_alert_memory *m)
{
	for (int kind = 0; m && kind < SL_SEEN_KINDS; kind++) {
		struct sl_seen *seen = m->kinds[kind].oldest, *next;

		for (; seen; seen = next) {
			next = seen->newer;
			free(seen);
		}
		free(m->kinds[kind].table);
	}
	free(m);
}

static __u64 place(const unsigned char *key)
{
	__u64 hash;

	/* Of SHA-256: as good as random already. */
	memcpy(&hash, key, sizeof(hash));
	return hash;
}

static struct sl_seen **find(struct sl_seen_kind *kind, const unsigned char *key)
{
	struct sl_seen **at;

	if (!kind->size)
		return NULL;
	at = &kind->table[place(key) & (kind->size - 1)];
	while (*at && memcmp((*at)->key, key, SL_MEMORY_KEY))
		at = &(*at)->chain;
	return at;
}

static void unlink_age(struct sl_seen_kind *kind, struct sl_seen *seen)
{
	*(seen->older ? &seen->older->newer : &kind->oldest) = seen->newer;
	*(seen->newer ? &seen->newer->older : &kind->newest) = seen->older;
}

static void link_newest(struct sl_seen_kind *kind, struct sl_seen *seen)
{
	seen->newer = NULL;
	seen->older = kind->newest;
	*(kind->newest ? &kind->newest->newer : &kind->oldest) = seen;
	kind->newest = seen;
}

void sl_seen_drop(struct sl_seen_kind *kind, struct sl_seen *seen)
{
	*find(kind, seen->key) = seen->chain;
	unlink_age(kind, seen);
	kind->n--;
	free(seen);
}

static int grow(struct sl_seen_kind *kind)
{
	size_t size = kind->size ? kind->size * 2 : 64;
	struct sl_seen **table = calloc(size, sizeof(struct sl_seen *));

	if (!table)
		return -ENOMEM;
	for (struct sl_seen *seen = kind->oldest; seen; seen = seen->newer) {
		struct sl_seen **at = &table[place(seen->key) & (size - 1)];

		seen->chain = *at;
		*at = seen;
	}
	free(kind->table);
	kind->table = table;
	kind->size = size;
	return 0;
}

struct sl_seen *sl_seen_add(struct sl_seen_kind *kind, const unsigned char *key)
{
	struct sl_seen *seen, **at;

	if (kind->n >= kind->size && grow(kind))
		return NULL;
	seen = calloc(1, sizeof(*seen));
	if (!seen)
		return NULL;
	memcpy(seen->key, key, SL_MEMORY_KEY);
	at = &kind->table[place(key) & (kind->size - 1)];
	seen->chain = *at;
	*at = seen;
	link_newest(kind, seen);
	kind->n++;
	return seen;
}

struct sl_seen *sl_seen_find(struct sl_seen_kind *kind, const unsigned char *key)
{
	struct sl_seen **at = find(kind, key);

	return at ? *at : NULL;
}

static bool is_over(const struct sl_alert_memory *m, const struct sl_seen *seen, __s64 now_ns)
{
	return seen->last_ns + m->forget_ns <= now_ns;
}

static void touch(struct sl_seen_kind *kind, struct sl_seen *seen, __s64 now_ns)
{
	unlink_age(kind, seen);
	link_newest(kind, seen);
	seen->last_ns = now_ns;
}

bool sl_alert_memory_value(struct sl_alert_memory *m, const unsigned char *key, __s64 now_ns,
			   int *err)
{
	struct sl_seen_kind *kind = &m->kinds[SL_SEEN_VALUE];
	struct sl_seen *seen = sl_seen_find(kind, key);
	bool known = seen && !is_over(m, seen, now_ns);

	*err = 0;
	m->changed = true;
	if (!seen && kind->n == kind->max) {
		m->dropped += !is_over(m, kind->oldest, now_ns);
		sl_seen_drop(kind, kind->oldest);
	}
	if (!seen)
		seen = sl_seen_add(kind, key);
	if (seen)
		touch(kind, seen, now_ns);
	else
		*err = -ENOMEM;
	return !known;
}

bool sl_alert_memory_group(struct sl_alert_memory *m, const unsigned char *key, __s64 now_ns,
			   __s64 *first_ns)
{
	struct sl_seen_kind *kind = &m->kinds[SL_SEEN_GROUP];
	struct sl_seen *seen = sl_seen_find(kind, key);

	m->changed = true;
	if (!seen && kind->n == kind->max && is_over(m, kind->oldest, now_ns))
		sl_seen_drop(kind, kind->oldest);
	if (!seen && kind->n < kind->max) {
		seen = sl_seen_add(kind, key);
		if (seen)
			seen->first_ns = now_ns;
	} else if (seen && is_over(m, seen, now_ns)) {
		seen->first_ns = now_ns;
	}
	if (!seen)
		return false;
	touch(kind, seen, now_ns);
	*first_ns = seen->first_ns;
	return true;
}

__u64 sl_alert_memory_dropped(const struct sl_alert_memory *m)
{
	return m->dropped;
}
