// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * EgressPolicy and ClusterEgressPolicy: policies in our language, each with the pods that it
 * is for. Those that select a pod stand behind one another, the cluster's first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge.h"

/* What a policy in a file has and one in an object does not. */
static int check_spec(const struct sl_kube_own *own, struct sl_diag *diag)
{
	size_t errors = diag->n_errors;

	sl_node_each_key(key, own->spec) {
		const char *why = NULL;

		if (sl_node_is(key, "name"))
			why = "the object has a name: metadata.name";
		else if (sl_node_is(key, "tests"))
			why = "tests stand in a policy's file";
		else if (sl_node_is(key, "sluice"))
			why = "the version is apiVersion's";
		else if (sl_node_is(key, "namespaceSelector") && own->object.namespace)
			why = "an EgressPolicy is for its own namespace; a ClusterEgressPolicy has one";
		if (why)
			sl_error(diag, &key->event.pos, "spec has no key \"%s\": %s", key->event.scalar,
				 why);
	}
	return diag->n_errors > errors ? -EINVAL : 0;
}

int sl_kube_read_own(struct sl_kube *kube, const struct sl_node *node, struct sl_kube_own *own)
{
	int err;

	own->spec = sl_node_map(node, "spec", kube->diag);
	if (!own->spec)
		return sl_error(kube->diag, &own->object.pos, "%s has no spec", own->object.name);
	if (check_spec(own, kube->diag))
		return -EINVAL;
	err = sl_selector_read(sl_node_get(own->spec, "podSelector"), &own->pods, kube->diag);
	return err ? err : sl_selector_read(sl_node_get(own->spec, "namespaceSelector"),
					    &own->namespaces, kube->diag);
}

/* ---- which, in which order ---- */

int sl_kube_own_selects(const struct sl_kube *kube, const struct sl_kube_own *own,
			const struct sl_kube_pod *pod, bool *selected)
{
	*selected = sl_selector_matches(&own->pods, &pod->object.labels);
	if (!*selected)
		return 0;
	if (!own->object.namespace)
		return sl_kube_in_namespace(kube, &own->namespaces, pod->object.namespace,
					    &own->object.pos, selected);
	*selected = !strcmp(own->object.namespace, pod->object.namespace);
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct sl_object *x = &(*(const struct sl_kube_own *const *)a)->object;
	const struct sl_object *y = &(*(const struct sl_kube_own *const *)b)->object;

	if (!x->namespace != !y->namespace)
		return x->namespace ? 1 : -1;
	return strcmp(x->name, y->name);
}

int sl_kube_check_own(const struct sl_kube *kube)
{
	struct sl_policy *policy;
	int err, worst = 0;

	for (size_t i = 0; i < kube->n_own && worst != -ENOMEM; i++) {
		err = sl_kube_parse_own(&kube->own[i], &policy, kube->diag);
		if (err)
			worst = err;
		else
			sl_policy_free(policy);
	}
	return worst;
}

int sl_kube_own_check(const struct sl_kube_own *own, struct sl_diag *diag)
{
	struct sl_policy *policy = calloc(1, sizeof(*policy));
	struct sl_kube_merged merged;
	int err = policy ? sl_kube_merge(&own, 1, policy, &merged, diag) : -ENOMEM;

	sl_policy_free(policy);
	return err;
}

/* Those that select the pod, in their order; owned by the caller. */
static int select_own(const struct sl_kube *kube, const struct sl_kube_pod *pod, bool cluster_only,
		      const struct sl_kube_own ***out, size_t *n)
{
	const struct sl_kube_own **list = calloc(kube->n_own + 1, sizeof(*list));
	bool selected;
	int err = list ? 0 : -ENOMEM;

	*n = 0;
	*out = list;
	for (size_t i = 0; i < kube->n_own && !err; i++) {
		if (cluster_only && kube->own[i].object.namespace)
			continue;
		err = sl_kube_own_selects(kube, &kube->own[i], pod, &selected);
		if (!err && selected)
			list[(*n)++] = &kube->own[i];
	}
	if (!err)
		qsort(list, *n, sizeof(*list), compare);
	return err;
}

static int merge(const struct sl_kube *kube, const struct sl_kube_pod *pod,
		 const struct sl_kube_own *const *list, size_t n, struct sl_policy *policy)
{
	struct sl_kube_merged merged;
	int err = sl_kube_merge(list, n, policy, &merged, kube->diag);

	return err ? err : sl_kube_take_dns(kube, pod, &merged, policy);
}

int sl_kube_merge_cluster(const struct sl_kube *kube, const struct sl_kube_pod *pod,
			  struct sl_policy *policy, size_t *n)
{
	const struct sl_kube_own **list;
	int err = select_own(kube, pod, true, &list, n);

	if (!err && *n)
		err = merge(kube, pod, list, *n, policy);
	free(list);
	return err;
}

static void warn_of_default(const struct sl_kube *kube, const struct sl_kube_own *const *list, size_t n,
			    const struct sl_kube_pod *pod)
{
	for (size_t i = 0; i < n; i++) {
		const struct sl_node *value = sl_node_get(list[i]->spec, "default");

		if (value && sl_node_is(value, "allow"))
			sl_warn(kube->diag, &value->event.pos, "`default: allow` of an EgressPolicy does "
				"nothing for %s/%s: a NetworkPolicy selects it, or its annotation decides",
				pod->object.namespace, pod->object.name);
	}
}

int sl_kube_merge_own(const struct sl_kube *kube, const struct sl_kube_pod *pod,
		      const struct sl_clauses *clauses, struct sl_policy *policy, size_t *n)
{
	const struct sl_kube_own **list;
	int err = select_own(kube, pod, false, &list, n);

	if (!err && *n)
		err = merge(kube, pod, list, *n, policy);
	if (!err && clauses->selected && policy->default_action == SL_ALLOW) {
		warn_of_default(kube, list, *n, pod);
		policy->default_action = SL_DENY;
	}
	free(list);
	return err;
}
