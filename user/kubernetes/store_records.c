// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Records by kind and name. Names are others' to choose: which bucket one comes to nobody can tell. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "policy/text.h"
#include "store.h"

#define BUCKETS_MIN 256

int sl_records_make(struct sl_records *records)
{
	records->buckets = calloc(BUCKETS_MIN, sizeof(*records->buckets));
	records->n_buckets = BUCKETS_MIN;
	if (getrandom(&records->seed, sizeof(records->seed), GRND_NONBLOCK) < 0)
		records->seed = (__u64)(uintptr_t)records; /* less of a secret */
	return records->buckets ? 0 : -ENOMEM;
}

static size_t bucket_of(const struct sl_records *records, enum sl_kube_kind kind, const char *key)
{
	__u64 hash = sl_hash(key) ^ records->seed ^ (__u64)kind << 56;

	hash ^= hash >> 33;
	hash *= 0xff51afd7ed558ccdull; /* MurmurHash3's finalizer */
	hash ^= hash >> 33;
	return hash & (records->n_buckets - 1);
}

struct sl_record **sl_records_find(const struct sl_records *records, enum sl_kube_kind kind,
				   const char *key)
{
	struct sl_record **at = &records->buckets[bucket_of(records, kind, key)];

	while (*at && ((*at)->kind != kind || strcmp((*at)->key, key)))
		at = &(*at)->next;
	return at;
}

static int widen(struct sl_records *records)
{
	size_t n = records->n_buckets;
	struct sl_record **old = records->buckets, **wide;

	if (records->n < n)
		return 0;
	wide = calloc(n * 2, sizeof(*wide));
	if (!wide)
		return -ENOMEM;
	records->buckets = wide;
	records->n_buckets = n * 2;
	for (size_t i = 0; i < n; i++)
		for (struct sl_record *r = old[i], *next; r; r = next) {
			struct sl_record **at = &wide[bucket_of(records, r->kind, r->key)];

			next = r->next;
			r->next = *at;
			*at = r;
		}
	free(old);
	return 0;
}

struct sl_record *sl_records_add(struct sl_records *records, enum sl_kube_kind kind, const char *key)
{
	struct sl_record *record = widen(records) ? NULL : calloc(1, sizeof(*record)), **at;

	if (!record)
		return NULL;
	record->kind = kind;
	record->key = strdup(key);
	if (!record->key) {
		free(record);
		return NULL;
	}
	at = &records->buckets[bucket_of(records, kind, key)];
	record->next = *at;
	*at = record;
	records->n++;
	return record;
}

/* ---- keys ---- */

/* What the server takes as a name holds no slash; and nothing that would steer a terminal. */
static bool is_name(const char *text, bool may_be_empty)
{
	size_t n = text ? strlen(text) : 0;

	if (!text || n > SL_KUBE_NAME_MAX || (!n && !may_be_empty))
		return false;
	for (size_t i = 0; i < n; i++)
		if (text[i] <= ' ' || text[i] > '~' || text[i] == '/')
			return false;
	return true;
}

int sl_records_key(const json_t *object, char key[SL_KUBE_KEY_MAX], const char **why)
{
	const json_t *metadata = json_object_get(object, "metadata");
	const json_t *namespace = json_object_get(metadata, "namespace");
	const char *name = json_string_value(json_object_get(metadata, "name"));
	const char *in = namespace ? json_string_value(namespace) : "";

	*why = "an object without a name that can be one";
	if (!is_name(name, false) || !is_name(in, true))
		return -EINVAL;
	sprintf(key, "%s/%s", in, name);
	*why = NULL;
	return 0;
}
