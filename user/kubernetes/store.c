// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json_tree.h"
#include "policy/text.h"

#define ERROR_MAX 400
#define TREE_KEPT (1u << 20) /* bytes; few objects are more */

struct sl_store {
	struct sl_kube *kube;
	struct sl_diag diag;		/* kube's, between two reads */
	struct sl_json_tree tree;	/* of what is being read */
	struct sl_records records;
	size_t counts[SL_KUBE_KINDS], unreadable[SL_KUBE_KINDS];
	unsigned rounds[SL_KUBE_KINDS];
	__u64 version;
	bool unsorted[SL_KUBE_KINDS];
	bool netpols_new, wants_all_pods;
};

#define META "metadata.name", "metadata.namespace", "metadata.labels"
#define APPLICATION "metadata.annotations." SL_KUBE_APPLICATION

static const char *const keep_meta[] = {META, NULL};
static const char *const keep_policy[] = {META, "spec", NULL};
static const char *const keep_pod[] = {
	META, "metadata.uid", "metadata.creationTimestamp",
	"metadata.annotations.kubernetes.io/config.mirror",
	APPLICATION, /* NOLINT(bugprone-suspicious-missing-comma): one text of two */
	"spec.nodeName", "spec.hostNetwork", "spec.dnsPolicy", "spec.dnsConfig.nameservers",
	"spec.dnsConfig.searches", "spec.containers.name", "spec.containers.ports",
	"spec.initContainers.name", "spec.initContainers.ports", "spec.initContainers.restartPolicy",
	"status.phase", "status.startTime", "status.podIP", "status.podIPs", "status.hostIP",
	"status.hostIPs", NULL,
};
static const char *const keep_service[] = {
	META, "spec.clusterIP", "spec.clusterIPs", "spec.ports.name", "spec.ports.protocol",
	"spec.ports.port", "spec.ports.nodePort", "spec.externalIPs",
	"status.loadBalancer.ingress.ip", "status.loadBalancer.ingress.ipMode", NULL,
};
static const char *const keep_slice[] = {
	META, "addressType", "ports", "endpoints.addresses", "endpoints.conditions", NULL,
};
static const char *const keep_endpoints[] = {
	META, "subsets.addresses.ip", "subsets.ports", NULL,
};

static const char *const *const keep[SL_KUBE_KINDS] = {
	[SL_KUBE_NAMESPACE] = keep_meta,     [SL_KUBE_POD] = keep_pod,
	[SL_KUBE_NETPOL] = keep_policy,	     [SL_KUBE_SERVICE] = keep_service,
	[SL_KUBE_SLICE] = keep_slice,	     [SL_KUBE_ENDPOINTS] = keep_endpoints,
	[SL_KUBE_OWN] = keep_policy,	     [SL_KUBE_CLUSTER_OWN] = keep_policy,
};

static bool is_own(enum sl_kube_kind kind)
{
	return kind == SL_KUBE_OWN || kind == SL_KUBE_CLUSTER_OWN;
}

static bool is_policy(enum sl_kube_kind kind)
{
	return is_own(kind) || kind == SL_KUBE_NETPOL;
}

/* ---- records ---- */

/* What it had been read as. */
static void clear(struct sl_store *store, struct sl_record *record)
{
	sl_store_drop(store->kube, record);
	sl_kube_drop_flaw(record);
	store->unreadable[record->kind] -= record->error != NULL;
	free(record->nodes);
	free(record->pool);
	free(record->error);
	record->nodes = NULL;
	record->pool = record->error = NULL;
	record->len = 0;
}

static void changed(struct sl_store *store, enum sl_kube_kind kind);

static void remove_record(struct sl_store *store, struct sl_record **at)
{
	struct sl_record *record = *at;

	clear(store, record);
	*at = record->next;
	store->records.n--;
	store->counts[record->kind]--;
	changed(store, record->kind);
	json_decref(record->status);
	free(record->key);
	free(record);
}

/* ---- reading ---- */

static void look_at_netpols(struct sl_store *store)
{
	store->netpols_new = store->wants_all_pods = false;
	for (size_t i = 0; i < store->kube->n_netpols; i++) {
		const struct sl_kube_netpol *netpol = &store->kube->netpols[i];

		for (size_t k = 0; k < netpol->n_egress && netpol->governs_egress; k++)
			store->wants_all_pods = store->wants_all_pods ||
				sl_kube_asks_for_pods(&netpol->egress[k]);
	}
}

static void changed(struct sl_store *store, enum sl_kube_kind kind)
{
	store->version++;
	store->unsorted[kind] = true;
	store->netpols_new = store->netpols_new || kind == SL_KUBE_NETPOL;
}

/* The first error, with its place. */
static char *said(const struct sl_diag *diag)
{
	char *text;

	for (size_t i = 0; i < diag->n; i++) {
		const struct sl_diag_entry *e = &diag->entries[i];

		if (e->severity != SL_ERROR)
			continue;
		return asprintf(&text, "%s%s%.*s", e->pos.file ? e->pos.file : "",
				e->pos.file ? ": " : "", ERROR_MAX,
				e->message ? e->message : "no memory") < 0 ? NULL : text;
	}
	return strdup("it cannot be read");
}

static int fail(struct sl_store *store, struct sl_record *record, char *why)
{
	if (!why)
		return -ENOMEM;
	record->error = why;
	store->unreadable[record->kind]++;
	if (!record->n_places && is_policy(record->kind))
		sl_kube_add_flaw(store->kube, record);
	return 0;
}

/* The nodes, as elements. An EgressPolicy whose rules are wrong still says whom it is for. */
static int read_nodes(struct sl_store *store, struct sl_record *record,
		      const struct sl_node *nodes)
{
	struct sl_kube *kube = store->kube;
	size_t first = sl_store_array_size(kube, record->kind);
	struct sl_diag diag = {};
	int err;

	kube->diag = &diag;
	kube->record = record;
	err = sl_kube_read_kind(kube, nodes, record->kind);
	kube->diag = &store->diag;
	kube->record = NULL;
	if (err || diag.n_errors) {
		sl_store_drop_from(kube, record->kind, first);
		err = err ? err : -EINVAL;
	} else {
		err = sl_store_take(kube, record, first);
		if (!err && is_own(record->kind))
			err = sl_kube_own_check(&kube->own[first], &diag);
	}
	if (err == -EINVAL)
		err = fail(store, record, said(&diag));
	sl_diag_free(&diag);
	return err;
}

static int read_record(struct sl_store *store, struct sl_record *record, const json_t *object)
{
	char name[SL_KUBE_KEY_MAX + 40];
	struct sl_json_tree_options options = {keep[record->kind], name, is_policy(record->kind)};
	struct sl_json_tree *tree = &store->tree;
	int err;

	snprintf(name, sizeof(name), "%s %s", sl_kube_kinds[record->kind].kind,
		 *record->key == '/' ? record->key + 1 : record->key);
	err = sl_json_tree_make(object, &options, tree);
	if (err == -ENOMEM)
		return err;
	if (!err && record->pool && record->len == tree->len &&
	    !memcmp(record->pool, tree->pool, tree->len))
		return 0;
	clear(store, record);
	changed(store, record->kind);
	if (err)
		return fail(store, record, strdup("it is nested too deep to be read"));
	err = sl_json_tree_keep(tree, &record->pool);
	if (!err)
		record->len = tree->len;
	if (!err && is_own(record->kind)) { /* its rules are read each time that it selects a pod */
		record->nodes = calloc(tree->n, sizeof(*record->nodes));
		if (!record->nodes)
			return -ENOMEM;
		memcpy(record->nodes, tree->nodes, tree->n * sizeof(*record->nodes));
	}
	return err ? err : read_nodes(store, record, record->nodes ? record->nodes : tree->nodes);
}

/* 700,000 rules {}, which an object may have, are a tree of 132 MB: no memory to keep for the next. */
static void shrink(struct sl_json_tree *tree)
{
	if (tree->nodes_max * sizeof(*tree->nodes) + tree->pool_max > TREE_KEPT)
		sl_json_tree_free(tree);
}

static void note_own(struct sl_record *record, const json_t *object)
{
	json_t *status = json_object_get(object, "status");

	if (!is_own(record->kind))
		return;
	json_decref(record->status);
	record->status = json_incref(status);
	record->generation = json_integer_value(
		json_object_get(json_object_get(object, "metadata"), "generation"));
}

int sl_store_put(struct sl_store *store, enum sl_kube_kind kind, const json_t *object,
		 const char **why)
{
	char key[SL_KUBE_KEY_MAX];
	struct sl_record *record;
	int err = sl_records_key(object, key, why);

	if (err)
		return err;
	record = *sl_records_find(&store->records, kind, key);
	if (!record) {
		record = sl_records_add(&store->records, kind, key);
		if (!record)
			return -ENOMEM;
		store->counts[kind]++;
	}
	record->round = store->rounds[kind];
	note_own(record, object);
	err = read_record(store, record, object);
	shrink(&store->tree);
	if (err)
		remove_record(store, sl_records_find(&store->records, kind, key));
	return err;
}

int sl_store_remove(struct sl_store *store, enum sl_kube_kind kind, const json_t *object,
		    const char **why)
{
	char key[SL_KUBE_KEY_MAX];
	int err = sl_records_key(object, key, why);
	struct sl_record **at = err ? NULL : sl_records_find(&store->records, kind, key);

	if (at && *at)
		remove_record(store, at);
	return err;
}

/* ---- lists ---- */

void sl_store_begin_list(struct sl_store *store, enum sl_kube_kind kind)
{
	store->rounds[kind]++;
}

void sl_store_end_list(struct sl_store *store, enum sl_kube_kind kind)
{
	for (size_t i = 0; i < store->records.n_buckets; i++)
		for (struct sl_record **at = &store->records.buckets[i]; *at;)
			if ((*at)->kind == kind && (*at)->round != store->rounds[kind])
				remove_record(store, at);
			else
				at = &(*at)->next;
}

/* ---- asking ---- */

struct sl_kube *sl_store_objects(struct sl_store *store)
{
	static const enum sl_kube_kind ordered[] = {SL_KUBE_NETPOL, SL_KUBE_SERVICE};

	for (size_t i = 0; i < sizeof(ordered) / sizeof(*ordered); i++)
		if (store->unsorted[ordered[i]]) {
			sl_store_sort(store->kube, ordered[i]);
			store->unsorted[ordered[i]] = false;
		}
	return store->kube;
}

__u64 sl_store_version(const struct sl_store *store)
{
	return store->version;
}

size_t sl_store_count(const struct sl_store *store, enum sl_kube_kind kind)
{
	return store->counts[kind];
}

size_t sl_store_unreadable(const struct sl_store *store, enum sl_kube_kind kind)
{
	return store->unreadable[kind];
}

bool sl_store_wants_all_pods(struct sl_store *store)
{
	if (store->netpols_new)
		look_at_netpols(store);
	return store->wants_all_pods;
}

int sl_store_each(const struct sl_store *store, enum sl_kube_kind kind,
		  int (*fn)(void *context, const struct sl_stored *stored), void *context)
{
	int result = 0;

	for (size_t i = 0; i < store->records.n_buckets && !result; i++)
		for (struct sl_record *r = store->records.buckets[i]; r && !result; r = r->next) {
			char *slash = strchr(r->key, '/');
			struct sl_stored stored = {
				.kind = kind, .namespace = r->key, .name = slash + 1,
				.error = r->error, .status = r->status,
				.generation = r->generation, .times = &r->times,
				.own = is_own(kind) && r->n_places ?
					&store->kube->own[r->places[0]] : NULL,
			};

			if (r->kind != kind)
				continue;
			*slash = '\0';
			result = fn(context, &stored);
			*slash = '/';
		}
	return result;
}

/* ---- life ---- */

struct sl_store *sl_store_new(void)
{
	struct sl_store *store = calloc(1, sizeof(*store));

	if (!store)
		return NULL;
	store->kube = sl_kube_new(&store->diag);
	if (store->kube && !sl_records_make(&store->records))
		return store;
	sl_store_free(store);
	return NULL;
}

void sl_store_free(struct sl_store *store)
{
	if (!store)
		return;
	for (size_t i = 0; store->records.buckets && i < store->records.n_buckets; i++)
		while (store->records.buckets[i])
			remove_record(store, &store->records.buckets[i]);
	free(store->records.buckets);
	sl_kube_free(store->kube);
	sl_json_tree_free(&store->tree);
	sl_diag_free(&store->diag);
	free(store);
}
