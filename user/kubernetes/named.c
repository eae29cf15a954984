// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A port's name means what the pod that has the address says. Both names and pods' ports are others' to
 * write, as many as an object holds: each pod's are looked for among the rule's, in order.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "policy/text.h"

struct names {
	const struct sl_kube_port **list;	/* owned; by protocol and name */
	size_t n;
};

static int order_of(int protocol, const char *name, const struct sl_kube_port *port)
{
	return protocol != port->protocol ? protocol - port->protocol : strcmp(name, port->name);
}

static int compare_names(const void *a, const void *b)
{
	const struct sl_kube_port *x = *(const struct sl_kube_port *const *)a;

	return order_of(x->protocol, x->name, *(const struct sl_kube_port *const *)b);
}

static int compare_own(const void *key, const void *element)
{
	const struct sl_named_port *own = key;

	return order_of(own->protocol, own->name, *(const struct sl_kube_port *const *)element);
}

static int read_names(const struct sl_kube_egress *egress, struct names *names)
{
	names->list = calloc(egress->n_ports + 1, sizeof(*names->list));
	if (!names->list)
		return -ENOMEM;
	for (size_t i = 0; i < egress->n_ports; i++)
		if (egress->ports[i].name)
			names->list[names->n++] = &egress->ports[i];
	qsort(names->list, names->n, sizeof(*names->list), compare_names);
	return 0;
}

static bool has_name(const struct names *names, const struct sl_named_port *own)
{
	return own->name &&
	       bsearch(own, names->list, names->n, sizeof(*names->list), compare_own);
}

/* Those of its addresses that the rule's peers choose. at: of the first, among all pods'. */
static int add_pod(struct sl_named_hosts *hosts, const struct sl_kube_pod *pod,
		   const struct sl_named_port *own, const struct sl_prefixes *among, size_t at)
{
	struct sl_prefix_run runs[SL_PREFIX_RUNS];

	for (size_t a = 0; a < pod->own.n; a++) {
		struct sl_named_host *slot;

		if (among && !sl_prefixes_find(among, &pod->own.list[a], 0, runs))
			continue;
		if (hosts->n >= SL_KUBE_HOSTS)
			return -ENOSPC;
		slot = SL_ADD(hosts->list, hosts->n);
		if (!slot)
			return -ENOMEM;
		*slot = (struct sl_named_host){(__u8)own->protocol, own->port, (unsigned)(at + a),
					       &pod->own.list[a]};
	}
	return 0;
}

static int compare_hosts(const void *a, const void *b)
{
	const struct sl_named_host *x = a, *y = b;

	if (x->protocol != y->protocol)
		return x->protocol - y->protocol;
	if (x->port != y->port)
		return x->port - y->port;
	return (x->at > y->at) - (x->at < y->at);
}

/* One port may have two of the names. */
static void sort_once(struct sl_named_hosts *hosts)
{
	size_t kept = 0;

	if (hosts->n)
		qsort(hosts->list, hosts->n, sizeof(*hosts->list), compare_hosts);
	for (size_t i = 0; i < hosts->n; i++)
		if (!kept || compare_hosts(&hosts->list[i], &hosts->list[kept - 1]))
			hosts->list[kept++] = hosts->list[i];
	hosts->n = kept;
}

int sl_kube_find_named(const struct sl_kube *kube, const struct sl_kube_egress *egress,
		       const struct sl_prefixes *among, struct sl_named_hosts *hosts)
{
	struct names names = {};
	int err = read_names(egress, &names);
	size_t at = 0;

	for (size_t i = 0; i < kube->n_pods && !err; at += kube->pods[i++].own.n) {
		const struct sl_kube_pod *pod = &kube->pods[i];

		/* a pod of the node's network has the node's address, and is no peer */
		for (size_t p = 0; p < pod->ports.n && !err && !pod->ended && !pod->host_network; p++)
			if (has_name(&names, &pod->ports.list[p]))
				err = add_pod(hosts, pod, &pod->ports.list[p], among, at);
	}
	sort_once(hosts);
	free(names.list);
	return err;
}
