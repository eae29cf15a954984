// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Services: kube-proxy changes their addresses into those of endpoints behind our hooks. So what is
 * said about an endpoint is said of the address in front of it.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "policy/address.h"
#include "policy/text.h"

/* ---- endpoints, by their Service ---- */

/* Endpoints are the older form of the same: with slices they say nothing more. */
static int compare(const void *a, const void *b)
{
	const struct sl_kube_endpoints *x = *(const struct sl_kube_endpoints *const *)a;
	const struct sl_kube_endpoints *y = *(const struct sl_kube_endpoints *const *)b;
	int order = strcmp(x->namespace, y->namespace);

	if (!order)
		order = strcmp(x->service, y->service);
	if (!order)
		order = y->is_slice - x->is_slice;
	return order ? order : x < y ? -1 : x > y;
}

struct index {
	const struct sl_kube_endpoints **list;	/* owned */
	size_t n;
};

static int make_index(const struct sl_kube *kube, struct index *index)
{
	index->list = calloc(kube->n_endpoints + 1, sizeof(*index->list));
	index->n = kube->n_endpoints;
	if (!index->list)
		return -ENOMEM;
	for (size_t i = 0; i < index->n; i++)
		index->list[i] = &kube->endpoints[i];
	if (index->n)
		qsort(index->list, index->n, sizeof(*index->list), compare);
	return 0;
}

static int order_of(const struct sl_kube_endpoints *e, const struct sl_object *service)
{
	int order = strcmp(e->namespace, service->namespace);

	return order ? order : strcmp(e->service, service->name);
}

/* The first of the Service's; index->n if there is none. */
static size_t first_of(const struct index *index, const struct sl_object *service)
{
	size_t low = 0, high = index->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (order_of(index->list[middle], service) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool same_text(const char *a, const char *b)
{
	return !strcmp(a ? a : "", b ? b : "");
}

static int add_endpoints(struct sl_kube_front *front, const struct sl_kube_endpoints *e)
{
	for (size_t p = 0; p < e->ports.n; p++) {
		const struct sl_named_port *target = &e->ports.list[p];

		if (target->protocol != front->port.protocol ||
		    !same_text(target->name, front->port.name))
			continue;
		for (size_t a = 0; a < e->ready.n; a++) {
			struct sl_kube_endpoint *slot;

			if (e->ready.list[a].family != front->address.family)
				continue;
			slot = SL_ADD(front->ready, front->n_ready);
			if (!slot)
				return -ENOMEM;
			*slot = (struct sl_kube_endpoint){sl_kube_judged(&e->ready.list[a]), target->port};
		}
	}
	return 0;
}

/* ---- fronts ---- */

static int add_front(struct sl_kube_fronts *fronts, const struct index *index,
		     const struct sl_kube_front *like)
{
	const struct sl_object *service = &like->service->object;
	size_t first = first_of(index, service);
	struct sl_kube_front *front = SL_ADD(fronts->list, fronts->n);
	int err = front ? 0 : -ENOMEM;

	if (err)
		return err;
	*front = *like;
	for (size_t i = first; i < index->n && !err; i++) {
		if (order_of(index->list[i], service) ||
		    index->list[i]->is_slice != index->list[first]->is_slice)
			break;
		err = add_endpoints(front, index->list[i]);
	}
	front->address = sl_kube_judged(&front->address); /* its family told the endpoints before */
	return err;
}

static int add_fronts(struct sl_kube_fronts *fronts, const struct index *index,
		      const struct sl_kube_service *service, const struct sl_addresses *addresses,
		      const struct sl_named_ports *ports)
{
	int err = 0;

	for (size_t a = 0; a < addresses->n; a++)
		for (size_t p = 0; p < ports->n && !err; p++) {
			struct sl_kube_front like = {service, addresses->list[a], ports->list[p],
						     addresses == &service->addresses, NULL, 0, 0, NULL};

			err = add_front(fronts, index, &like);
		}
	return err;
}

/* Addresses of the node at which NodePorts are: its own loopback's too, as kube-proxy has it. */
static size_t node_addresses(const struct sl_kube_pod *pod)
{
	return pod->node.n + pod->host_network;
}

/* What its fronts cost at most, by the endpoints that are copied: a slice has a port's name once. */
static size_t weigh(const struct index *index, const struct sl_kube_service *service,
		    const struct sl_kube_pod *pod)
{
	size_t n = (service->addresses.n + service->external.n) * service->ports.n +
		   node_addresses(pod) * service->node_ports.n;
	size_t each = sizeof(struct sl_kube_front) / sizeof(struct sl_kube_endpoint) + 1;

	if (n > SL_KUBE_SERVICE_FRONTS)
		return SIZE_MAX;
	for (size_t i = first_of(index, &service->object); n && i < index->n; i++) {
		const struct sl_kube_endpoints *e = index->list[i];

		if (order_of(e, &service->object))
			break;
		each += e->ports.n + e->ready.n * (e->is_slice ? 1 : e->ports.n);
	}
	return n * each;
}

/* A Service is a tenant's, and met by every pod of the cluster. */
static int choose_whole(struct sl_kube_fronts *fronts, const struct index *index)
{
	const struct sl_kube *kube = fronts->kube;
	size_t *weights = calloc(kube->n_services + 1, sizeof(*weights));
	int err;

	fronts->whole = calloc(kube->n_services + 1, sizeof(*fronts->whole));
	for (size_t i = 0; weights && i < kube->n_services; i++)
		weights[i] = weigh(index, &kube->services[i], fronts->pod);
	err = weights && fronts->whole ?
		sl_kube_take_largest(fronts, weights, SL_KUBE_FRONTS_WEIGHT) : -ENOMEM;
	free(weights);
	return err;
}

int sl_kube_fronts_make(const struct sl_kube *kube, const struct sl_kube_pod *pod,
			struct sl_kube_fronts *fronts)
{
	struct sl_cidr loopback = {.family = 4, .len = 8, .addr = {127}};
	const struct sl_addresses local = {&loopback, pod->host_network};
	struct index index;
	int err = make_index(kube, &index);

	fronts->kube = kube;
	fronts->pod = pod;
	if (!err)
		err = choose_whole(fronts, &index);
	for (size_t i = 0; i < kube->n_services && !err; i++) {
		const struct sl_kube_service *s = &kube->services[i];

		if (fronts->whole[i])
			continue;
		err = add_fronts(fronts, &index, s, &s->addresses, &s->ports);
		if (!err)
			err = add_fronts(fronts, &index, s, &s->external, &s->ports);
		if (!err)
			err = add_fronts(fronts, &index, s, &pod->node, &s->node_ports);
		if (!err)
			err = add_fronts(fronts, &index, s, &local, &s->node_ports);
	}
	free(index.list);
	return err;
}

void sl_kube_fronts_free(struct sl_kube_fronts *fronts)
{
	for (size_t i = 0; i < fronts->n; i++)
		free(fronts->list[i].ready);
	free(fronts->list);
	free(fronts->whole);
	memset(fronts, 0, sizeof(*fronts));
}

/* ---- what NetworkPolicies say of them ---- */

static void warn_mixed(const struct sl_kube_fronts *fronts, const struct sl_kube_front *front)
{
	const struct sl_object *service = &front->service->object;
	char address[SL_CIDR_TEXT], endpoint[SL_CIDR_TEXT];

	sl_warn(fronts->kube->diag, &service->pos, "Service %s/%s, %s port %u/%s, is denied: %zu of "
		"its %zu ready endpoints are, as %s port %u", service->namespace, service->name,
		sl_cidr_format(&front->address, address), front->port.port,
		sl_protocol_name(front->port.protocol), front->mixed, front->n_ready,
		sl_cidr_format(&front->example->address, endpoint), front->example->port);
}

void sl_kube_warn_mixed(struct sl_kube_fronts *fronts)
{
	for (size_t i = 0; i < fronts->n; i++) {
		struct sl_kube_front *front = &fronts->list[i];

		if (front->mixed && !sl_kube_is_whole(fronts, front))
			warn_mixed(fronts, front);
		front->mixed = 0;
	}
}

static int emit_front(struct sl_kube_front *front, const struct sl_clauses *clauses,
		      struct sl_policy *policy)
{
	int protocol = front->port.protocol;
	bool now = sl_clauses_allow(clauses, &front->address, protocol, front->port.port), allow;
	size_t denied = 0;

	for (size_t i = 0; i < front->n_ready; i++)
		if (!sl_clauses_allow(clauses, &front->ready[i].address, protocol,
				      front->ready[i].port)) {
			front->example = &front->ready[i];
			denied++;
		}
	front->mixed = denied < front->n_ready ? denied : 0;
	allow = !denied && (front->is_cluster_ip ? front->n_ready : now);
	/* what the clauses say of the address itself may be the same */
	return allow == now || sl_kube_front_rule(policy, allow ? SL_ALLOW : SL_DENY,
						  &front->address, &front->port,
						  front->service->object.name) ? 0 : -ENOMEM;
}

static int emit_each(const struct sl_kube_fronts *fronts, const struct sl_clauses *clauses,
		     struct sl_policy *policy, struct sl_kube_tally *tally)
{
	int err = sl_kube_emit_whole(fronts, policy);

	for (size_t i = 0; i < fronts->n && !err; i++) {
		struct sl_kube_front *front = &fronts->list[i];
		size_t before = policy->n_items;

		if (sl_kube_is_whole(fronts, front))
			continue;
		err = emit_front(front, clauses, policy);
		if (!err && policy->n_items > before && !sl_kube_count_rule(fronts, front, tally))
			sl_kube_cut_rules(policy, before);
	}
	return err;
}

int sl_kube_emit_fronts(struct sl_kube_fronts *fronts, struct sl_clauses *clauses,
			struct sl_policy *policy)
{
	struct sl_kube_tally tally = {
		.weights = calloc(fronts->kube->n_services + 1, sizeof(*tally.weights))};
	size_t before = policy->n_items;
	int err = tally.weights ? 0 : -ENOMEM;

	if (!err && fronts->n)
		err = sl_clauses_index(clauses);
	if (!err)
		err = emit_each(fronts, clauses, policy, &tally);
	if (!err && tally.sum > SL_KUBE_FRONT_RULES) {
		sl_kube_cut_rules(policy, before);
		err = sl_kube_take_largest(fronts, tally.weights, SL_KUBE_FRONT_RULES);
		tally.sum = 0;
		tally.last = NULL;
		if (!err)
			err = emit_each(fronts, clauses, policy, &tally);
	}
	if (!err)
		sl_kube_warn_mixed(fronts);
	free(tally.weights);
	return err;
}
