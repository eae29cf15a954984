// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Objects from their first to their last, and where one of them stands. */
#include <stdlib.h>

#include "objects.h"

const char *sl_kube_place(const struct sl_pos *pos, char buf[SL_KUBE_PLACE])
{
	if (pos->column || !pos->file)
		snprintf(buf, SL_KUBE_PLACE, "line %u", pos->line);
	else
		snprintf(buf, SL_KUBE_PLACE, "%s", pos->file);
	return buf;
}

struct sl_kube *sl_kube_new(struct sl_diag *diag)
{
	struct sl_kube *kube = calloc(1, sizeof(*kube));

	if (!kube)
		return NULL;
	kube->diag = diag;
	kube->order = calloc(1, sizeof(*kube->order));
	if (kube->order)
		return kube;
	free(kube);
	return NULL;
}

void sl_kube_namespace_free(struct sl_object *namespace)
{
	sl_labels_free(&namespace->labels);
}

void sl_kube_pod_free(struct sl_kube_pod *pod)
{
	sl_labels_free(&pod->object.labels);
	free(pod->own.list);
	free(pod->node.list);
	free(pod->ports.list);
	free(pod->nameservers.list);
	free(pod->searches.list);
}

void sl_kube_service_free(struct sl_kube_service *service)
{
	sl_labels_free(&service->object.labels);
	free(service->addresses.list);
	free(service->external.list);
	free(service->ports.list);
	free(service->node_ports.list);
}

void sl_kube_endpoints_free(struct sl_kube_endpoints *endpoints)
{
	free(endpoints->ready.list);
	free(endpoints->ports.list);
}

void sl_kube_own_free(struct sl_kube_own *own)
{
	sl_labels_free(&own->object.labels);
	sl_selector_free(&own->pods);
	sl_selector_free(&own->namespaces);
}

static void free_objects(struct sl_kube *kube)
{
	for (size_t i = 0; i < kube->n_namespaces; i++)
		sl_kube_namespace_free(&kube->namespaces[i]);
	for (size_t i = 0; i < kube->n_pods; i++)
		sl_kube_pod_free(&kube->pods[i]);
	for (size_t i = 0; i < kube->n_services; i++)
		sl_kube_service_free(&kube->services[i]);
	for (size_t i = 0; i < kube->n_endpoints; i++)
		sl_kube_endpoints_free(&kube->endpoints[i]);
	for (size_t i = 0; i < kube->n_netpols; i++)
		sl_kube_netpol_free(&kube->netpols[i]);
	for (size_t i = 0; i < kube->n_own; i++)
		sl_kube_own_free(&kube->own[i]);
	free(kube->namespaces);
	free(kube->order->list);
	free(kube->order);
	free(kube->pods);
	free(kube->services);
	free(kube->endpoints);
	free(kube->netpols);
	free(kube->own);
}

void sl_kube_free(struct sl_kube *kube)
{
	if (!kube)
		return;
	free_objects(kube);
	for (size_t i = 0; i < kube->n_trees; i++) {
		sl_tree_free(kube->trees[i]);
		free(kube->trees[i]);
	}
	free(kube->trees);
	sl_names_free(&kube->names);
	for (size_t i = 0; i < kube->n_texts; i++)
		free(kube->texts[i]);
	free(kube->texts);
	free(kube);
}
