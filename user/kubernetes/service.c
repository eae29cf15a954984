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

/* ipMode Proxy: packets go to the load balancer, also those of the cluster's own pods. */
static int read_balancer(const struct sl_node *node, struct sl_addresses *list,
			 struct sl_diag *diag)
{
	const struct sl_node *balancer = sl_node_map(sl_node_map(node, "status", diag),
						     "loadBalancer", diag);
	int err = 0;

	sl_node_each(item, sl_node_list(balancer, "ingress", diag)) {
		const struct sl_node *ip = sl_node_get(item, "ip");

		if (!err && ip && !sl_node_is(sl_node_get(item, "ipMode"), "Proxy"))
			err = sl_kube_address(ip, list, diag);
	}
	return err;
}

/* The ports that have one at the node: what it is there, with the name and protocol that
 * endpoints know it by. */
static int read_node_ports(const struct sl_node *list, struct sl_named_ports *ports,
			   struct sl_diag *diag)
{
	sl_node_each(item, list) {
		const struct sl_node *number = sl_node_get(item, "nodePort");
		struct sl_named_port port = {.name = sl_node_text(item, "name", diag)}, *slot;

		if (!number || sl_node_is(number, "0"))
			continue;
		if (sl_kube_protocol(item, &port.protocol, diag) ||
		    sl_kube_number(number, "nodePort", &port.port, diag))
			return -EINVAL;
		slot = SL_ADD(ports->list, ports->n);
		if (!slot)
			return -ENOMEM;
		*slot = port;
	}
	return 0;
}

int sl_kube_read_service(struct sl_kube *kube, const struct sl_node *node,
			 struct sl_kube_service *service)
{
	const struct sl_node *spec = sl_node_map(node, "spec", kube->diag);
	const struct sl_node *ports = sl_node_list(spec, "ports", kube->diag);
	int err = add_cluster_ip(sl_node_get(spec, "clusterIP"), &service->addresses, kube->diag);

	sl_node_each(item, sl_node_list(spec, "clusterIPs", kube->diag))
		if (!err)
			err = add_cluster_ip(item, &service->addresses, kube->diag);
	sl_node_each(item, sl_node_list(spec, "externalIPs", kube->diag))
		if (!err)
			err = sl_kube_address(item, &service->external, kube->diag);
	if (!err)
		err = read_balancer(node, &service->external, kube->diag);
	if (!err)
		err = sl_kube_addresses_once(&service->addresses);
	if (!err)
		err = sl_kube_addresses_once(&service->external);
	if (!err)
		err = sl_kube_ports(ports, "port", &service->ports, kube->diag);
	return err ? err : read_node_ports(ports, &service->node_ports, kube->diag);
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

/* An endpoint whose readiness is not known is taken as ready (discovery/v1). Where none is ready
 * kube-proxy (from 1.22 on) takes those that end and still serve: whoever writes slices can say that of any. */
static bool may_be_chosen(const struct sl_node *conditions, struct sl_diag *diag)
{
	if (!sl_node_get(conditions, "ready") || sl_node_bool(conditions, "ready", diag))
		return true;
	return sl_node_bool(conditions, "terminating", diag) &&
	       (!sl_node_get(conditions, "serving") || sl_node_bool(conditions, "serving", diag));
}

/* The API server holds a slice's ports to no range, and whoever may write slices may write any: of a
 * slice whose other ports count. kube-proxy passes over 0, and with IPVS takes the low 16 bits. */
static int read_slice_port(const struct sl_node *node, __u16 *port, struct sl_diag *diag)
{
	long long n;
	char *end;

	if (node->event.type != SL_YAML_SCALAR || !node->event.plain)
		return sl_kube_number(node, "port", port, diag);
	n = strtoll(node->event.scalar, &end, 10);
	if (end == node->event.scalar || *end)
		return sl_kube_number(node, "port", port, diag);
	*port = (__u16)n;
	return 0;
}

static int read_slice_ports(const struct sl_node *list, struct sl_named_ports *ports,
			    struct sl_diag *diag)
{
	sl_node_each(item, list) {
		const struct sl_node *number = sl_node_get(item, "port");
		struct sl_named_port port = {.name = sl_node_text(item, "name", diag)}, *slot;

		if (item->event.type != SL_YAML_MAP)
			return sl_node_wrong(item, "a port as a mapping is wanted", diag);
		if (!number)
			continue;
		if (sl_kube_protocol(item, &port.protocol, diag) ||
		    read_slice_port(number, &port.port, diag))
			return -EINVAL;
		if (!port.port)
			continue;
		slot = SL_ADD(ports->list, ports->n);
		if (!slot)
			return -ENOMEM;
		*slot = port;
	}
	return 0;
}

static int read_slice(const struct sl_node *node, struct sl_kube_endpoints *endpoints,
		      struct sl_diag *diag)
{
	int err = read_slice_ports(sl_node_list(node, "ports", diag), &endpoints->ports, diag);

	if (sl_node_is(sl_node_get(node, "addressType"), "FQDN"))
		return err;
	sl_node_each(item, sl_node_list(node, "endpoints", diag)) {
		if (!may_be_chosen(sl_node_map(item, "conditions", diag), diag))
			continue;
		if (!err)
			err = add_ready(sl_node_list(item, "addresses", diag), &endpoints->ready, diag);
	}
	return err ? err : sl_kube_addresses_once(&endpoints->ready);
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
	return err ? err : sl_kube_addresses_once(&endpoints->ready);
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
