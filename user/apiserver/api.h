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

/* For status and metrics: {server, node, connected, since, kinds: [...]}; NULL: no memory. */
json_t *sl_api_json(const struct sl_kube_source *source);

#endif
