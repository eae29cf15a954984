// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A Service whose addresses, ports and endpoints multiply to more than is looked at one by one. As an
 * error it would hold back every pod's policy, whoever wrote it; passed over it would be a way to what
 * is denied. So all that is its own is denied where any of its endpoints could be.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "policy/address.h"
#include "policy/text.h"

struct sl_cidr sl_kube_judged(const struct sl_cidr *address)
{
	struct sl_cidr ipv4;

	return sl_cidr_embedded_ipv4(address, &ipv4) ? ipv4 : *address;
}

static void warn_whole(const struct sl_kube_fronts *fronts, const struct sl_kube_service *service)
{
	sl_warn(fronts->kube->diag, &service->object.pos, "Service %s/%s has too many addresses (%zu) and "
		"ports (%zu), or endpoints and rules for these, to be looked at one by one: where an endpoint may be "
		"denied all of its addresses are, at every port", service->object.namespace,
		service->object.name, service->addresses.n + service->external.n, service->ports.n);
}

struct weighed {
	size_t service, weight;
};

static int compare_weights(const void *a, const void *b)
{
	const struct weighed *x = a, *y = b;

	return x->weight != y->weight ? (x->weight < y->weight) - (x->weight > y->weight) :
					(x->service > y->service) - (x->service < y->service);
}

int sl_kube_take_largest(struct sl_kube_fronts *fronts, const size_t *weights, size_t bound)
{
	const struct sl_kube *kube = fronts->kube;
	struct weighed *list = calloc(kube->n_services + 1, sizeof(*list));
	size_t sum = 0;

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < kube->n_services; i++) {
		list[i] = (struct weighed){i, weights[i] > bound ? bound + 1 : weights[i]};
		sum += list[i].weight;
	}
	if (sum > bound)
		qsort(list, kube->n_services, sizeof(*list), compare_weights);
	for (size_t i = 0; sum > bound; i++) {
		sum -= list[i].weight;
		fronts->whole[list[i].service] = true;
		fronts->n_whole++;
		warn_whole(fronts, &kube->services[list[i].service]);
	}
	free(list);
	return 0;
}

static bool is_new(const struct sl_kube_front *front, const struct sl_kube_front *last)
{
	return !last || last->service != front->service ||
	       memcmp(&last->address, &front->address, sizeof(front->address));
}

bool sl_kube_count_rule(const struct sl_kube_fronts *fronts, const struct sl_kube_front *front,
			struct sl_kube_tally *tally)
{
	size_t weight = is_new(front, tally->last) ? SL_KUBE_FRONT_ADDRESS : 1;

	tally->last = front;
	tally->weights[front->service - fronts->kube->services] += weight;
	tally->sum += weight;
	return tally->sum <= SL_KUBE_FRONT_RULES;
}

bool sl_kube_is_whole(const struct sl_kube_fronts *fronts, const struct sl_kube_front *front)
{
	return fronts->whole[front->service - fronts->kube->services];
}

static int take(const struct sl_addresses *from, struct sl_addresses *to)
{
	int err = 0;

	for (size_t i = 0; i < from->n && !err; i++) {
		struct sl_cidr address = sl_kube_judged(&from->list[i]);

		err = sl_address_add(to, &address);
	}
	return err;
}

static int emit_addresses(const struct sl_kube_service *service, struct sl_policy *policy)
{
	struct sl_addresses list = {};
	int err = service->ports.n ? take(&service->addresses, &list) : 0;

	if (!err && service->ports.n)
		err = take(&service->external, &list);
	if (!err)
		err = sl_kube_whole_rule(policy, &list, NULL, service->object.name);
	free(list.list);
	return err;
}

/* Others have ports at the node's addresses too. */
static int emit_node(const struct sl_kube_service *service, const struct sl_kube_pod *pod,
		     struct sl_policy *policy)
{
	static const struct sl_cidr loopback = {.family = 4, .len = 8, .addr = {127}};
	struct sl_addresses list = {};
	int err = take(&pod->node, &list);

	if (!err && pod->host_network)
		err = sl_address_add(&list, &loopback);
	if (!err && service->node_ports.n)
		err = sl_kube_whole_rule(policy, &list, &service->node_ports, service->object.name);
	free(list.list);
	return err;
}

int sl_kube_emit_whole(const struct sl_kube_fronts *fronts, struct sl_policy *policy)
{
	int err = 0;

	for (size_t i = 0; fronts->n_whole && i < fronts->kube->n_services && !err; i++) {
		if (!fronts->whole[i])
			continue;
		err = emit_addresses(&fronts->kube->services[i], policy);
		if (!err)
			err = emit_node(&fronts->kube->services[i], fronts->pod, policy);
	}
	return err;
}

int sl_kube_insert_whole(const struct sl_kube_fronts *fronts, struct sl_policy *policy)
{
	size_t first = 0, before = policy->n_items, n;
	struct sl_item *moved;
	int err;

	while (first < before &&
	       !(policy->items[first].rule && policy->items[first].rule->action == SL_DENY))
		first++;
	if (!fronts->n_whole || first == before)
		return 0;
	err = sl_kube_emit_whole(fronts, policy);
	n = policy->n_items - before;
	moved = calloc(n + 1, sizeof(*moved));
	if (err || !moved) {
		free(moved);
		return -ENOMEM;
	}
	memcpy(moved, &policy->items[before], n * sizeof(*moved));
	memmove(&policy->items[first + n], &policy->items[first], (before - first) * sizeof(*moved));
	memcpy(&policy->items[first], moved, n * sizeof(*moved));
	free(moved);
	return 0;
}
