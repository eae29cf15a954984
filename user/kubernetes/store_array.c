// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The arrays of struct sl_kube as a store needs them: an element that goes leaves its place to
 * the last, and each record knows where its own are.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "policy/text.h"
#include "store.h"

struct array {
	char *list;
	size_t *n, size;
	size_t record;		/* its offset in an element */
	void (*free)(void *element);
};

#define FREE_AS(name, type, how)			\
	static void name(void *element)			\
	{						\
		how((type *)element);			\
	}
FREE_AS(free_namespace, struct sl_object, sl_kube_namespace_free)
FREE_AS(free_pod, struct sl_kube_pod, sl_kube_pod_free)
FREE_AS(free_netpol, struct sl_kube_netpol, sl_kube_netpol_free)
FREE_AS(free_service, struct sl_kube_service, sl_kube_service_free)
FREE_AS(free_endpoints, struct sl_kube_endpoints, sl_kube_endpoints_free)
FREE_AS(free_own, struct sl_kube_own, sl_kube_own_free)

#define ARRAY(of, its_record, how)                                             \
	((struct array){(char *)kube->of, &kube->n_##of, sizeof(*kube->of),    \
			offsetof(typeof(*kube->of), its_record), how})

static struct array array_of(struct sl_kube *kube, enum sl_kube_kind kind)
{
	switch (kind) {
	case SL_KUBE_NAMESPACE:
		return ARRAY(namespaces, record, free_namespace);
	case SL_KUBE_POD:
		return ARRAY(pods, object.record, free_pod);
	case SL_KUBE_NETPOL:
		return ARRAY(netpols, object.record, free_netpol);
	case SL_KUBE_SERVICE:
		return ARRAY(services, object.record, free_service);
	case SL_KUBE_SLICE:
	case SL_KUBE_ENDPOINTS:
		return ARRAY(endpoints, record, free_endpoints);
	default:
		return ARRAY(own, object.record, free_own);
	}
}

static struct sl_record *record_of(const struct array *a, size_t i)
{
	struct sl_record *record;

	memcpy(&record, a->list + i * a->size + a->record, sizeof(record));
	return record;
}

size_t sl_store_array_size(const struct sl_kube *kube, enum sl_kube_kind kind)
{
	return *array_of((struct sl_kube *)kube, kind).n;
}

void sl_store_drop_from(struct sl_kube *kube, enum sl_kube_kind kind, size_t first)
{
	struct array a = array_of(kube, kind);

	if (kind == SL_KUBE_NAMESPACE)
		sl_kube_namespaces_change(kube);
	while (*a.n > first)
		a.free(a.list + --*a.n * a.size);
}

int sl_store_take(struct sl_kube *kube, struct sl_record *record, size_t first)
{
	struct array a = array_of(kube, record->kind);
	size_t n = *a.n - first;

	record->places = n ? calloc(n, sizeof(*record->places)) : NULL;
	if (n && !record->places) {
		sl_store_drop_from(kube, record->kind, first);
		return -ENOMEM;
	}
	record->n_places = n;
	for (size_t i = 0; i < n; i++)
		record->places[i] = first + i;
	return 0;
}

/* The last element, to the place of one that is freed. */
static void fill(struct array *a, size_t hole)
{
	size_t last = --*a->n;
	struct sl_record *moved;

	if (hole == last)
		return;
	moved = record_of(a, last);
	memcpy(a->list + hole * a->size, a->list + last * a->size, a->size);
	for (size_t i = 0; i < moved->n_places; i++)
		if (moved->places[i] == last)
			moved->places[i] = hole;
}

/* From the last: one of its own that moves is not looked at again where it was. */
void sl_store_drop(struct sl_kube *kube, struct sl_record *record)
{
	struct array a = array_of(kube, record->kind);

	if (record->kind == SL_KUBE_NAMESPACE)
		sl_kube_namespaces_change(kube);
	while (record->n_places) {
		size_t hole = record->places[--record->n_places];

		a.free(a.list + hole * a.size);
		fill(&a, hole);
	}
	free(record->places);
	record->places = NULL;
}

static int compare(const void *x, const void *y)
{
	const struct sl_object *a = x, *b = y;
	int order = strcmp(a->namespace, b->namespace);

	return order ? order : strcmp(a->name, b->name);
}

/* Each record of these has one element, whose first member is the object. */
void sl_store_sort(struct sl_kube *kube, enum sl_kube_kind kind)
{
	struct array a = array_of(kube, kind);

	if (*a.n)
		qsort(a.list, *a.n, a.size, compare);
	for (size_t i = 0; i < *a.n; i++)
		record_of(&a, i)->places[0] = i;
}

/* ---- what could not be read ---- */

void sl_kube_add_flaw(struct sl_kube *kube, struct sl_record *record)
{
	record->next_flaw = kube->flaws;
	record->flaw_at = &kube->flaws;
	if (kube->flaws)
		kube->flaws->flaw_at = &record->next_flaw;
	kube->flaws = record;
}

void sl_kube_drop_flaw(struct sl_record *record)
{
	if (!record->flaw_at)
		return;
	*record->flaw_at = record->next_flaw;
	if (record->next_flaw)
		record->next_flaw->flaw_at = record->flaw_at;
	record->flaw_at = NULL;
}

int sl_kube_check_flaws(const struct sl_kube *kube, const struct sl_kube_pod *pod, bool cluster_only)
{
	const char *namespace = pod->object.namespace;
	size_t n = strlen(namespace), errors = kube->diag->n_errors;

	for (const struct sl_record *r = kube->flaws; r; r = r->next_flaw) {
		if (r->kind == SL_KUBE_NETPOL && pod->host_network)
			continue; /* they do not hold there */
		if (cluster_only && r->kind != SL_KUBE_CLUSTER_OWN)
			continue;
		if (*r->key == '/' || (!strncmp(r->key, namespace, n) && r->key[n] == '/'))
			sl_error(kube->diag, NULL, "%s, so it is not known whether it is about pods of "
				 "%s", r->error, namespace);
	}
	return kube->diag->n_errors > errors ? -EINVAL : 0;
}
