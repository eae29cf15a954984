/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Objects that come, change and go, each read once (a server's lists and watches). What is
 * kept of one is what this folder reads, and a change of the rest is none.
 *
 *   store.c        what comes and goes, and what the reader has made of each
 *   store_records.c  records by kind and name
 *   store_array.c  their places in the arrays of struct sl_kube
 *
 * An object that cannot be read is none for its kind, and is known to be so: a policy of
 * which that is true makes every pod that it may be about an error (sl_kube_policy).
 */
#ifndef SLUICE_KUBERNETES_STORE_H
#define SLUICE_KUBERNETES_STORE_H

#include <jansson.h>

#include "objects.h"

struct sl_store;

/* When something is to be done about an object: whoever writes its status keeps it here. */
struct sl_store_times {
	__u64 node, conditions;		/* 0: never */
	__u64 node_rest, conditions_rest; /* not before */
};

/* What is known of one object. */
struct sl_stored {
	enum sl_kube_kind kind;
	const char *namespace, *name;	/* namespace "" : the cluster's */
	const char *error;		/* why it could not be read, with the place; NULL: it was */
	const json_t *status;		/* of EgressPolicies: as the server has it; NULL: none */
	json_int_t generation;		/* of EgressPolicies */
	const struct sl_kube_own *own;	/* of EgressPolicies that were read */
	struct sl_store_times *times;
};

struct sl_store *sl_store_new(void);	/* NULL: no memory */
void sl_store_free(struct sl_store *store);

/* In order of their names where the order shows. Until the next call that changes it. */
struct sl_kube *sl_store_objects(struct sl_store *store);

/* Another number whenever the objects may mean something else. */
__u64 sl_store_version(const struct sl_store *store);

/*
 * An object as the server gives it, new or changed: kind and apiVersion may be missing. 0
 * (also if it cannot be read), -EINVAL with *why: it has no usable name, nothing is done;
 * -ENOMEM: it is not in the store.
 */
int sl_store_put(struct sl_store *store, enum sl_kube_kind kind, const json_t *object,
		 const char **why);
/* The same of one that is gone. */
int sl_store_remove(struct sl_store *store, enum sl_kube_kind kind, const json_t *object,
		    const char **why);

/* What is not put between the two is gone. */
void sl_store_begin_list(struct sl_store *store, enum sl_kube_kind kind);
void sl_store_end_list(struct sl_store *store, enum sl_kube_kind kind);

size_t sl_store_count(const struct sl_store *store, enum sl_kube_kind kind);
size_t sl_store_unreadable(const struct sl_store *store, enum sl_kube_kind kind);

/* A NetworkPolicy names peers by their pods, or ports by their names: pods of other nodes
 * decide too. */
bool sl_store_wants_all_pods(struct sl_store *store);

/* Each object of the kind, until fn returns other than 0, which is returned. */
int sl_store_each(const struct sl_store *store, enum sl_kube_kind kind,
		  int (*fn)(void *context, const struct sl_stored *stored), void *context);

/* One object, with the elements that it has in an array of struct sl_kube. */
struct sl_record {
	struct sl_record *next;		/* of its bucket */
	enum sl_kube_kind kind;
	unsigned round;			/* the list in which it was last */
	char *key;			/* NAMESPACE/NAME; owned */
	char *pool;			/* the texts; owned */
	size_t len;
	struct sl_node *nodes;		/* of EgressPolicies; owned */
	size_t *places;			/* in the array; owned */
	size_t n_places;
	char *error;			/* owned */
	json_t *status;			/* a reference */
	json_int_t generation;
	struct sl_store_times times;
	struct sl_record *next_flaw, **flaw_at; /* of kube->flaws; NULL: not in it */
};

/* ---- store_records.c ---- */

struct sl_records {
	struct sl_record **buckets;	/* owned, each chain owned */
	size_t n_buckets, n;
	__u64 seed;
};

#define SL_KUBE_NAME_MAX 253 /* RFC 1123's subdomain, as the API server holds */
#define SL_KUBE_KEY_MAX (2 * SL_KUBE_NAME_MAX + 2)

/* 0 or -ENOMEM. */
int sl_records_make(struct sl_records *records);
/* Where it is, or would be: NULL there. */
struct sl_record **sl_records_find(const struct sl_records *records, enum sl_kube_kind kind,
				   const char *key);
/* A new one, which is not there yet; NULL: no memory. */
struct sl_record *sl_records_add(struct sl_records *records, enum sl_kube_kind kind, const char *key);
/* NAMESPACE/NAME of an object. 0, or -EINVAL with *why. */
int sl_records_key(const json_t *object, char key[SL_KUBE_KEY_MAX], const char **why);

/* ---- store_array.c ---- */

/* How many elements the kind's array has. */
size_t sl_store_array_size(const struct sl_kube *kube, enum sl_kube_kind kind);
/* Those from first on are the record's. 0 or -ENOMEM, and then they are gone. */
int sl_store_take(struct sl_kube *kube, struct sl_record *record, size_t first);
void sl_store_drop(struct sl_kube *kube, struct sl_record *record);
void sl_store_drop_from(struct sl_kube *kube, enum sl_kube_kind kind, size_t first);
/* A policy of which not even the selector is known. */
void sl_kube_add_flaw(struct sl_kube *kube, struct sl_record *record);
void sl_kube_drop_flaw(struct sl_record *record);
/* By name: the order of Services and NetworkPolicies is the order of the rules. */
void sl_store_sort(struct sl_kube *kube, enum sl_kube_kind kind);

#endif
