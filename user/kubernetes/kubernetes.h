/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Objects of Kubernetes, and what they say about one pod's egress (docs/kubernetes.md).
 * Pure: texts in, a policy out.
 */
#ifndef SLUICE_KUBERNETES_H
#define SLUICE_KUBERNETES_H

#include "policy/policy.h"

struct sl_kube;

/* NULL: no memory. diag outlives it, and holds the files' names. */
struct sl_kube *sl_kube_new(struct sl_diag *diag);
void sl_kube_free(struct sl_kube *kube);

/*
 * Adds the objects of a text: YAML documents or JSON, and Lists of objects. Kinds that do
 * not concern egress are passed over. 0, -EINVAL with errors in diag, -ENOMEM; after a
 * failure only sl_kube_free may follow.
 */
int sl_kube_add(struct sl_kube *kube, const char *text, size_t len, const char *file);

/*
 * The policy that states the egress of one pod: which EgressPolicies and NetworkPolicies
 * select it, peers by their pods' addresses, Services by their endpoints. 0 and *out, owned
 * by the caller; -ENOENT if there is no such pod (reported), -EINVAL, -ENOMEM.
 */
int sl_kube_policy(const struct sl_kube *kube, const char *namespace, const char *name,
		   struct sl_policy **out);

#endif
