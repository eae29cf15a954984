// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The addresses that the peers of a NetworkPolicy's rule choose, each pod's once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "policy/text.h"

int sl_address_add(struct sl_addresses *list, const struct sl_cidr *cidr)
{
	struct sl_cidr *slot = SL_ADD(list->list, list->n);

	if (!slot)
		return -ENOMEM;
	*slot = *cidr;
	return 0;
}

/* ---- blocks ---- */

static int compare_exceptions(const void *a, const void *b)
{
	const struct sl_cidr *x = a, *y = b;
	int order = memcmp(x->addr, y->addr, sizeof(x->addr));

	return order ? order : x->len - y->len;
}

static bool has_bit(const struct sl_cidr *cidr, unsigned bit)
{
	return cidr->addr[bit / 8] & 0x80 >> bit % 8;
}

/* except: the n that are in the block, in order, so that those of each half stand together. Its depth
 * is at most the address's bits; an exception costs as many prefixes. */
static int carve(const struct sl_cidr *block, const struct sl_cidr *except, size_t n,
		 struct sl_addresses *list)
{
	struct sl_cidr half = *block;
	size_t low = 0, high = n;
	int err;

	if (!n)
		return sl_address_add(list, block);
	if (except->len == block->len)
		return 0;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (has_bit(&except[middle], block->len))
			high = middle;
		else
			low = middle + 1;
	}
	half.len++;
	err = carve(&half, except, low, list);
	half.addr[block->len / 8] |= 0x80 >> block->len % 8;
	return err ? err : carve(&half, except + low, n - low, list);
}

int sl_carve(const struct sl_cidr *block, const struct sl_addresses *except,
	     struct sl_addresses *list)
{
	struct sl_cidr *within = calloc(except->n + 1, sizeof(*within));
	size_t n = 0;
	bool none = false;
	int err;

	if (!within)
		return -ENOMEM;
	for (size_t i = 0; i < except->n && !none; i++) {
		none = sl_cidr_within(block, &except->list[i]);
		if (sl_cidr_within(&except->list[i], block))
			within[n++] = except->list[i];
	}
	qsort(within, n, sizeof(*within), compare_exceptions);
	err = none ? 0 : carve(block, within, n, list);
	free(within);
	return err;
}

/* ---- peers ---- */

static int peer_selects(const struct sl_kube *kube, const struct sl_kube_peer *peer,
			const char *namespace, const struct sl_kube_pod *pod, bool *selects)
{
	*selects = (peer->has_namespaces || !strcmp(namespace, pod->object.namespace)) &&
		   sl_selector_matches(&peer->pods, &pod->object.labels);
	if (!*selects || !peer->has_namespaces)
		return 0;
	return sl_kube_in_namespace(kube, &peer->namespaces, pod->object.namespace, &peer->pos,
				    selects);
}

/* chosen: the pods that another peer of the rule has, of which nothing is to be added. */
static int add_pods(const struct sl_kube *kube, const struct sl_kube_peer *peer,
		    const char *namespace, bool *chosen, struct sl_addresses *list)
{
	bool selects;
	int err = 0;

	for (size_t i = 0; i < kube->n_pods && !err; i++) {
		const struct sl_kube_pod *pod = &kube->pods[i];

		if (pod->ended || chosen[i])
			continue;
		err = peer_selects(kube, peer, namespace, pod, &selects);
		if (err || !selects)
			continue;
		chosen[i] = true;
		if (pod->host_network)
			sl_warn(kube->diag, &peer->pos, "%s/%s is on its node's network: its address is "
				"the node's, which no selector of pods chooses", pod->object.namespace,
				pod->object.name);
		for (size_t a = 0; a < pod->own.n && !err && !pod->host_network; a++)
			err = sl_address_add(list, &pod->own.list[a]);
	}
	return err;
}

int sl_kube_peers(const struct sl_kube *kube, const struct sl_kube_netpol *netpol,
		  const struct sl_kube_egress *egress, struct sl_addresses *hosts)
{
	bool *chosen = calloc(kube->n_pods + 1, sizeof(*chosen));
	int err = chosen ? 0 : -ENOMEM;

	for (size_t i = 0; i < egress->n_peers && !err; i++) {
		const struct sl_kube_peer *peer = &egress->peers[i];

		err = peer->is_block ? sl_carve(&peer->block, &peer->except, hosts) :
			add_pods(kube, peer, netpol->object.namespace, chosen, hosts);
	}
	free(chosen);
	return err;
}
