// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Namespaces by name: a selector of them is asked of each pod of the cluster, for each peer. In
 * order, where a hash would be of names that others choose.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"

static int compare(const void *a, const void *b)
{
	return strcmp((*(const struct sl_object *const *)a)->name,
		      (*(const struct sl_object *const *)b)->name);
}

static int compare_name(const void *name, const void *element)
{
	return strcmp(name, (*(const struct sl_object *const *)element)->name);
}

static int make_order(const struct sl_kube *kube, struct sl_kube_order *order)
{
	const struct sl_object **list = calloc(kube->n_namespaces + 1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < kube->n_namespaces; i++)
		list[i] = &kube->namespaces[i];
	qsort(list, kube->n_namespaces, sizeof(*list), compare);
	order->list = list;
	return 0;
}

void sl_kube_namespaces_change(struct sl_kube *kube)
{
	free(kube->order->list);
	kube->order->list = NULL;
}

int sl_kube_in_namespace(const struct sl_kube *kube, const struct sl_selector *selector,
			 const char *namespace, const struct sl_pos *pos, bool *matches)
{
	const struct sl_object **found;

	*matches = true;
	if (!selector->n)
		return 0;
	if (!kube->order->list && make_order(kube, kube->order))
		return -ENOMEM;
	found = bsearch(namespace, kube->order->list, kube->n_namespaces, sizeof(*found),
			compare_name);
	if (!found)
		return sl_error(kube->diag, pos, "whether the selector of namespaces chooses %s "
				"depends on its labels: add the Namespace %s to the objects",
				namespace, namespace);
	*matches = sl_selector_matches(selector, &(*found)->labels);
	return 0;
}
