/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* merge.c: the policies of several objects as one. */
#ifndef SLUICE_KUBERNETES_MERGE_H
#define SLUICE_KUBERNETES_MERGE_H

#include "objects.h"

struct sl_merge {
	const struct sl_kube_own *const *list; /* the cluster's first */
	size_t n_cluster;		       /* of those in list the cluster's */
	size_t n_rules;			       /* of those in to the cluster's */
	struct sl_policy *to;
	struct sl_names sets; /* of to; their names are borrowed */
	size_t number;	      /* the last that stands behind one of these */
	struct sl_diag *diag;
};

/* A key of the object's spec that is none of the policy's. */
bool sl_kube_is_selector(const struct sl_node *key);
/* The spec without its selectors, as a policy, which is the caller's. 0, -EINVAL with the errors in
 * diag, -ENOMEM. */
int sl_kube_parse_own(const struct sl_kube_own *own, struct sl_policy **out, struct sl_diag *diag);
/* Whose the parts are of what was merged. */
struct sl_kube_merged {
	size_t n_cluster;	/* ClusterEgressPolicies */
	size_t n_cluster_rules; /* the first, which are theirs */
	bool cluster_asks;	/* for names, by a rule or `dns` */
	struct sl_pos pos;	/* of the first */
};

/* Those of list, which has the cluster's first, at the end of to. 0, -EINVAL with the errors of
 * all of them, -ENOMEM. */
int sl_kube_merge(const struct sl_kube_own *const *list, size_t n, struct sl_policy *to,
		  struct sl_kube_merged *merged, struct sl_diag *diag);
/* One of the first n rules is by name, or a profile's, whose rules may be. */
bool sl_kube_has_names(const struct sl_policy *policy, size_t n);

/* ---- dns.c ---- */

/* Do the first n rules deny its port 53, to some or for a while at least? own_sets: as
 * sl_kube_may_deny. */
bool sl_kube_denies_resolver(const struct sl_policy *policy, size_t n, const struct sl_cidr *resolver,
			     bool own_sets);
/* The pod's resolvers and search domains, where a ClusterEgressPolicy selects it and they would be
 * those of its resolv.conf. 0, -EINVAL (reported): none is known; -ENOMEM. */
int sl_kube_take_dns(const struct sl_kube *kube, const struct sl_kube_pod *pod,
		     const struct sl_kube_merged *merged, struct sl_policy *policy);

#endif
