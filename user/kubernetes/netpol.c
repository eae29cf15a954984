// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* NetworkPolicy of networking.k8s.io/v1, as the API server would take it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "policy/address.h"
#include "policy/text.h"

static int read_cidr(const struct sl_node *node, struct sl_cidr *cidr, struct sl_diag *diag)
{
	const char *text = sl_node_string(node, "a CIDR", diag);

	if (!text)
		return -EINVAL;
	if (!strchr(text, '/'))
		return sl_node_wrong(node, "a CIDR with its prefix length is wanted", diag);
	return sl_cidr_read(text, strlen(text), &node->event.pos, cidr, diag);
}

static int read_except(const struct sl_node *list, struct sl_kube_peer *peer,
		       struct sl_diag *diag)
{
	sl_node_each(item, list) {
		struct sl_cidr cidr, *slot;

		if (read_cidr(item, &cidr, diag))
			return -EINVAL;
		if (!sl_cidr_within(&cidr, &peer->block) || cidr.len == peer->block.len)
			return sl_error(diag, &item->event.pos, "except: %s is not a part of the "
					"cidr", item->event.scalar);
		slot = SL_ADD(peer->except.list, peer->except.n);
		if (!slot)
			return -ENOMEM;
		*slot = cidr;
	}
	return 0;
}

static int read_block(const struct sl_node *block, struct sl_kube_peer *peer,
		      struct sl_diag *diag)
{
	static const char *const keys[] = {"cidr", "except", NULL};
	const struct sl_node *cidr = sl_node_get(block, "cidr");

	peer->is_block = true;
	if (sl_node_check_keys(block, keys, diag))
		return -EINVAL;
	if (!cidr)
		return sl_error(diag, &block->event.pos, "ipBlock wants a cidr");
	if (read_cidr(cidr, &peer->block, diag))
		return -EINVAL;
	return read_except(sl_node_list(block, "except", diag), peer, diag);
}

static int read_peer(const struct sl_node *node, struct sl_kube_peer *peer, struct sl_diag *diag)
{
	static const char *const keys[] = {"ipBlock", "podSelector", "namespaceSelector", NULL};
	const struct sl_node *block, *pods, *namespaces;
	int err;

	peer->pos = node->event.pos;
	if (node->event.type != SL_YAML_MAP)
		return sl_node_wrong(node, "a peer {ipBlock} or {podSelector, namespaceSelector} is "
				     "wanted", diag);
	if (sl_node_check_keys(node, keys, diag))
		return -EINVAL;
	block = sl_node_map(node, "ipBlock", diag);
	pods = sl_node_get(node, "podSelector");
	namespaces = sl_node_get(node, "namespaceSelector");
	if (!block == !(pods || namespaces))
		return sl_error(diag, &peer->pos, "a peer is either an ipBlock or has podSelector, "
				"namespaceSelector or both");
	if (block)
		return read_block(block, peer, diag);
	peer->has_pods = pods;
	peer->has_namespaces = namespaces;
	err = sl_selector_read(pods, &peer->pods, diag);
	return err ? err : sl_selector_read(namespaces, &peer->namespaces, diag);
}

/* A number, or a name: lower case, digits and -, with a letter (IANA_SVC_NAME). */
static int read_port_value(const struct sl_node *value, struct sl_kube_port *port,
			   struct sl_diag *diag)
{
	static const char want[] = "port: a number from 1 to 65535, or a port's name, is wanted";

	if (value->event.type != SL_YAML_SCALAR)
		return sl_node_wrong(value, want, diag);
	if (!sl_node_is_string(value)) {
		int err = sl_kube_number(value, "port", &port->low, diag);

		port->high = port->low;
		return err;
	}
	port->name = value->event.scalar;
	if (value->event.scalar_len > 15 || !strpbrk(port->name, "abcdefghijklmnopqrstuvwxyz") ||
	    strspn(port->name, "abcdefghijklmnopqrstuvwxyz0123456789-") != value->event.scalar_len)
		return sl_node_wrong(value, want, diag);
	return 0;
}

static int read_port(const struct sl_node *node, struct sl_kube_port *port, struct sl_diag *diag)
{
	static const char *const keys[] = {"port", "endPort", "protocol", NULL};
	const struct sl_node *value, *end;

	if (node->event.type != SL_YAML_MAP)
		return sl_node_wrong(node, "a port {port, endPort, protocol} is wanted", diag);
	if (sl_node_check_keys(node, keys, diag) || sl_kube_protocol(node, &port->protocol, diag))
		return -EINVAL;
	value = sl_node_get(node, "port");
	end = sl_node_get(node, "endPort");
	if (value && read_port_value(value, port, diag))
		return -EINVAL;
	if (!end)
		return 0;
	if (!port->low)
		return sl_error(diag, &end->event.pos, "endPort goes with a port that is a number");
	if (sl_kube_number(end, "endPort", &port->high, diag))
		return -EINVAL;
	if (port->high < port->low)
		return sl_error(diag, &end->event.pos, "endPort %u is below port %u", port->high,
				port->low);
	return 0;
}

static int read_egress(const struct sl_node *node, struct sl_kube_egress *egress,
		       struct sl_diag *diag)
{
	static const char *const keys[] = {"to", "ports", NULL};
	int err = 0;

	egress->pos = node->event.pos;
	if (node->event.type != SL_YAML_MAP)
		return sl_node_wrong(node, "a rule {to, ports} is wanted ({} allows everything)",
				     diag);
	if (sl_node_check_keys(node, keys, diag))
		return -EINVAL;
	sl_node_each(item, sl_node_list(node, "to", diag)) {
		struct sl_kube_peer *peer = SL_ADD(egress->peers, egress->n_peers);

		err = err ? err : peer ? read_peer(item, peer, diag) : -ENOMEM;
	}
	sl_node_each(item, sl_node_list(node, "ports", diag)) {
		struct sl_kube_port *port = SL_ADD(egress->ports, egress->n_ports);

		err = err ? err : port ? read_port(item, port, diag) : -ENOMEM;
	}
	return err;
}

/* Without policyTypes (the API server's default): egress if there are egress rules. */
static int read_types(const struct sl_node *spec, struct sl_kube_netpol *netpol,
		      struct sl_diag *diag)
{
	const struct sl_node *types = sl_node_list(spec, "policyTypes", diag);

	netpol->governs_egress = netpol->n_egress;
	if (!sl_node_first(types))
		return 0;
	netpol->governs_egress = false;
	sl_node_each(item, types) {
		if (sl_node_is(item, "Egress"))
			netpol->governs_egress = true;
		else if (!sl_node_is(item, "Ingress"))
			return sl_node_wrong(item, "policyTypes: Ingress or Egress is wanted", diag);
	}
	if (netpol->n_egress && !netpol->governs_egress)
		sl_warn(diag, &types->event.pos, "the egress rules of %s/%s do nothing: policyTypes "
			"has no Egress", netpol->object.namespace, netpol->object.name);
	return 0;
}

int sl_kube_read_netpol(struct sl_kube *kube, const struct sl_node *node,
			struct sl_kube_netpol *netpol)
{
	static const char *const keys[] = {"podSelector", "policyTypes", "ingress", "egress", NULL};
	const struct sl_node *spec = sl_node_map(node, "spec", kube->diag);
	int err;

	if (!spec)
		return sl_error(kube->diag, &netpol->object.pos, "NetworkPolicy %s has no spec",
				netpol->object.name);
	if (sl_node_check_keys(spec, keys, kube->diag))
		return -EINVAL;
	err = sl_selector_read(sl_node_get(spec, "podSelector"), &netpol->pods, kube->diag);
	sl_node_each(item, sl_node_list(spec, "egress", kube->diag)) {
		struct sl_kube_egress *egress = SL_ADD(netpol->egress, netpol->n_egress);
		int one = egress ? read_egress(item, egress, kube->diag) : -ENOMEM;

		err = err ? err : one;
	}
	return err ? err : read_types(spec, netpol, kube->diag);
}

void sl_kube_netpol_free(struct sl_kube_netpol *netpol)
{
	for (size_t i = 0; i < netpol->n_egress; i++) {
		struct sl_kube_egress *egress = &netpol->egress[i];

		for (size_t p = 0; p < egress->n_peers; p++) {
			free(egress->peers[p].except.list);
			sl_selector_free(&egress->peers[p].pods);
			sl_selector_free(&egress->peers[p].namespaces);
		}
		free(egress->peers);
		free(egress->ports);
	}
	free(netpol->egress);
	sl_selector_free(&netpol->pods);
	sl_labels_free(&netpol->object.labels);
}
