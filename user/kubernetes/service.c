// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Services, and which addresses stand behind them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "policy/text.h"

static int add_cluster_ip(const struct sl_node *node, struct sl_addresses *list,
			  struct sl_diag *diag)
{
	/* None: headless, its clients have the endpoints' own addresses */
	if (!node || sl_node_is(node, "None") || sl_node_is(node, ""))
		return 0;
	return sl_kube_address(node, list, diag);
}

int sl_kube_read_service(struct sl_kube *kube, const struct sl_node *node,
			 struct sl_kube_service *service)
{
	const struct sl_node *spec = sl_node_map(node, "spec", kube->diag);
	int err = add_cluster_ip(sl_node_get(spec, "clusterIP"), &service->addresses, kube->diag);

	sl_node_each(item, sl_node_list(spec, "clusterIPs", kube->diag))
		if (!err)
			err = add_cluster_ip(item, &service->addresses, kube->diag);
	if (!err)
		err = sl_kube_ports(sl_node_list(spec, "ports", kube->diag), "port",
				    &service->ports, kube->diag);
	return err;
}

static int add_ready(const struct sl_node *addresses, struct sl_addresses *list,
		     struct sl_diag *diag)
{
	int err = 0;

	sl_node_each(item, addresses)
		if (!err)
			err = sl_kube_address(item, list, diag);
	return err;
}

/* An endpoint whose readiness is not known is taken as ready (discovery/v1). */
static int read_slice(const struct sl_node *node, struct sl_kube_endpoints *endpoints,
		      struct sl_diag *diag)
{
	int err = sl_kube_ports(sl_node_list(node, "ports", diag), "port", &endpoints->ports, diag);

	if (sl_node_is(sl_node_get(node, "addressType"), "FQDN"))
		return err;
	sl_node_each(item, sl_node_list(node, "endpoints", diag)) {
		const struct sl_node *conditions = sl_node_map(item, "conditions", diag);

		if (sl_node_get(conditions, "ready") && !sl_node_bool(conditions, "ready", diag))
			continue;
		if (!err)
			err = add_ready(sl_node_list(item, "addresses", diag), &endpoints->ready, diag);
	}
	return err;
}

static int read_subset(const struct sl_node *node, struct sl_kube_endpoints *endpoints,
		       struct sl_diag *diag)
{
	int err = sl_kube_ports(sl_node_list(node, "ports", diag), "port", &endpoints->ports, diag);

	sl_node_each(item, sl_node_list(node, "addresses", diag)) {
		const struct sl_node *ip = sl_node_get(item, "ip");

		if (!ip)
			return sl_node_wrong(item, "an address {ip} is wanted", diag);
		if (!err)
			err = sl_kube_address(ip, &endpoints->ready, diag);
	}
	return err;
}

static struct sl_kube_endpoints *append(struct sl_kube *kube, const char *service,
					const struct sl_object *object, bool is_slice)
{
	struct sl_kube_endpoints *e = SL_ADD(kube->endpoints, kube->n_endpoints);

	if (e) {
		e->service = service;
		e->namespace = object->namespace;
		e->is_slice = is_slice;
		e->record = kube->record;
	}
	return e;
}

int sl_kube_read_endpoints(struct sl_kube *kube, const struct sl_node *node,
			   const struct sl_object *object, bool is_slice)
{
	const char *service = is_slice ?
		sl_labels_get(&object->labels, "kubernetes.io/service-name") : object->name;
	struct sl_kube_endpoints *e;
	int err = 0;

	if (!service)	/* a slice of no Service */
		return 0;
	if (is_slice) {
		e = append(kube, service, object, true);
		return e ? read_slice(node, e, kube->diag) : -ENOMEM;
	}
	sl_node_each(item, sl_node_list(node, "subsets", kube->diag)) {
		e = append(kube, service, object, false);
		if (!err)
			err = e ? read_subset(item, e, kube->diag) : -ENOMEM;
	}
	return err;
}
