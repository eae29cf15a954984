// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "store.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "json_tree.h"
#include "policy/text.h"

#define NAME_MAX_LEN 253 /* RFC 1123's subdomain, as the API server holds */
#define BUCKETS_MIN 256
#define ERROR_MAX 400

struct sl_store {
	struct sl_kube *kube;
	struct sl_diag diag;		/* kube's, between two reads */
	struct sl_json_tree tree;	/* of what is being read */
	struct sl_record **buckets;	/* owned, each chain owned */
	size_t n_buckets, n;
	size_t counts[SL_KUBE_KINDS], unreadable[SL_KUBE_KINDS];
	unsigned rounds[SL_KUBE_KINDS];
	__u64 seed, version;
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

static size_t bucket_of(const struct sl_store *store, enum sl_kube_kind kind, const char *key)
{
	__u64 hash = sl_hash(key) ^ store->seed ^ (__u64)kind << 56;

	hash ^= hash >> 33;
	hash *= 0xff51afd7ed558ccdull; /* MurmurHash3's finalizer */
	hash ^= hash >> 33;
	return hash & (store->n_buckets - 1);
}

static struct sl_record **find(const struct sl_store *store, enum sl_kube_kind kind,
			       const char *key)
{
	struct sl_record **at = &store->buckets[bucket_of(store, kind, key)];

	while (*at && ((*at)->kind != kind || strcmp((*at)->key, key)))
		at = &(*at)->next;
	return at;
}

static int widen(struct sl_store *store)
{
	size_t n = store->n_buckets;
	struct sl_record **old = store->buckets, **wide;

	if (store->n < n)
		return 0;
	wide = calloc(n * 2, sizeof(*wide));
	if (!wide)
		return -ENOMEM;
	store->buckets = wide;
	store->n_buckets = n * 2;
	for (size_t i = 0; i < n; i++)
		for (struct sl_record *r = old[i], *next; r; r = next) {
			struct sl_record **at = &wide[bucket_of(store, r->kind, r->key)];

			next = r->next;
			r->next = *at;
			*at = r;
		}
	free(old);
	return 0;
}

static struct sl_record *add_record(struct sl_store *store, enum sl_kube_kind kind, const char *key)
{
	struct sl_record *record = widen(store) ? NULL : calloc(1, sizeof(*record)), **at;

	if (!record)
		return NULL;
	record->kind = kind;
	record->key = strdup(key);
	if (!record->key) {
		free(record);
		return NULL;
	}
	at = &store->buckets[bucket_of(store, kind, key)];
	record->next = *at;
	*at = record;
	store->n++;
	store->counts[kind]++;
	return record;
}

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
	store->n--;
	store->counts[record->kind]--;
	changed(store, record->kind);
	json_decref(record->status);
	free(record->key);
	free(record);
}

/* ---- keys ---- */

/* What the server takes as a name holds no slash; and nothing that would steer a terminal. */
static bool is_name(const char *text, bool may_be_empty)
{
	size_t n = text ? strlen(text) : 0;

	if (!text || n > NAME_MAX_LEN || (!n && !may_be_empty))
		return false;
	for (size_t i = 0; i < n; i++)
		if (text[i] <= ' ' || text[i] > '~' || text[i] == '/')
			return false;
	return true;
}

static int key_of(const json_t *object, char key[2 * NAME_MAX_LEN + 2], const char **why)
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
	char name[2 * NAME_MAX_LEN + 40];
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
	char key[2 * NAME_MAX_LEN + 2];
	struct sl_record **at, *record;
	int err = key_of(object, key, why);

	if (err)
		return err;
	at = find(store, kind, key);
	record = *at ? *at : add_record(store, kind, key);
	if (!record)
		return -ENOMEM;
	record->round = store->rounds[kind];
	note_own(record, object);
	err = read_record(store, record, object);
	if (err)
		remove_record(store, find(store, kind, key));
	return err;
}

int sl_store_remove(struct sl_store *store, enum sl_kube_kind kind, const json_t *object,
		    const char **why)
{
	char key[2 * NAME_MAX_LEN + 2];
	int err = key_of(object, key, why);
	struct sl_record **at = err ? NULL : find(store, kind, key);

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
	for (size_t i = 0; i < store->n_buckets; i++)
		for (struct sl_record **at = &store->buckets[i]; *at;)
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

	for (size_t i = 0; i < store->n_buckets && !result; i++)
		for (struct sl_record *r = store->buckets[i]; r && !result; r = r->next) {
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
	store->buckets = calloc(BUCKETS_MIN, sizeof(*store->buckets));
	store->n_buckets = BUCKETS_MIN;
	if (getrandom(&store->seed, sizeof(store->seed), GRND_NONBLOCK) < 0)
		store->seed = (__u64)(uintptr_t)store; /* less of a secret */
	if (store->kube && store->buckets)
		return store;
	sl_store_free(store);
	return NULL;
}

void sl_store_free(struct sl_store *store)
{
	if (!store)
		return;
	for (size_t i = 0; store->buckets && i < store->n_buckets; i++)
		while (store->buckets[i])
			remove_record(store, &store->buckets[i]);
	free(store->buckets);
	sl_kube_free(store->kube);
	sl_json_tree_free(&store->tree);
	sl_diag_free(&store->diag);
	free(store);
}
