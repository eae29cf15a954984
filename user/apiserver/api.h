/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A cluster's objects from its API server: a source (kubernetes/source.h) that lists each
 * kind and then watches it, by libcurl in one epoll of its own. docs/kubernetes.md says what it
 * asks for and what happens when the server is away.
 *
 *   account.c   where the server is, whom to trust, the token
 *   http.c      requests, without waiting
 *   trouble.c   what went wrong, and what to do, in words
 *   discover.c  which kinds the server has
 *   follow.c    one kind: list, watch, list again
 *   event.c     what a watch says, line by line
 *   report.c    what EgressPolicies are told of this node, in their status
 *   conditions.c  and of all nodes
 *   view.c      status, metrics
 *   api.c       all of it together
 */
#ifndef SLUICE_APISERVER_API_H
#define SLUICE_APISERVER_API_H

#include "kubernetes/source.h"

#define SL_API_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"

struct sl_api_config {
	const char *server;	/* https://HOST[:PORT]; NULL: the cluster that this runs in */
	const char *ca, *token;	/* files; NULL: the pod's own (SL_API_ACCOUNT) */
	const char *node;	/* its name in the cluster; NULL: NODE_NAME, else the host's */
	bool no_status;		/* EgressPolicies are not told what became of them */
	unsigned page;		/* objects in an answer; 0: 200 */
};

/* Nothing is asked yet: the first work() does. 0; -EINVAL: with what the configuration lacks
 * in diag; -ENOMEM. config is not kept. */
int sl_api_open(const struct sl_api_config *config, struct sl_kube_source **out,
		struct sl_diag *diag);

/* The node's name; the source's. */
const char *sl_api_node(const struct sl_kube_source *source);

/* Believed: our CRDs are not installed, so that there are no EgressPolicies. */
bool sl_api_lacks_own(const struct sl_kube_source *source);

/* For metrics, of each kind that is followed; of "apis", what the server has, and "status", what it
 * is told, only the failures, and of the latter what was written as events. Returns how many. */
#define SL_API_NUMBERS (SL_KUBE_KINDS + 2)

enum sl_api_trouble {
	SL_API_FINE,
	SL_API_UNREACHABLE, /* no connection, or a name that is none */
	SL_API_CERTIFICATE,
	SL_API_TOKEN,	    /* 401, or a file without one */
	SL_API_RIGHTS,	    /* 403 */
	SL_API_MISSING,	    /* 404 */
	SL_API_BUSY,	    /* 429, 5xx */
	SL_API_REFUSED,	    /* another status */
	SL_API_CUT,	    /* an answer that ended before its end */
	SL_API_SLOW,	    /* a time-out */
	SL_API_GARBAGE,	    /* an answer that cannot be one */
	SL_API_MEMORY,
	SL_API_TROUBLES
};

extern const char *const sl_api_trouble_words[SL_API_TROUBLES]; /* labels of a metric */

struct sl_api_numbers {
	const char *kind;	/* static */
	bool followed;
	__u64 objects, unreadable;
	__u64 events, lists, expired, failures[SL_API_TROUBLES]; /* since the start */
};

size_t sl_api_numbers(const struct sl_kube_source *source,
		      struct sl_api_numbers out[SL_API_NUMBERS]);

/* For status: {server, node, connected, since, kinds: [...]}; NULL: no memory. */
json_t *sl_api_json(const struct sl_kube_source *source);

#endif
