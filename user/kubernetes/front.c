// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Services: kube-proxy changes their addresses into those of endpoints behind our hooks. So what is
 * said about an endpoint is said of the address in front of it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
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
			*slot = (struct sl_kube_endpoint){e->ready.list[a], target->port};
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
						     addresses == &service->addresses, NULL, 0};

			err = add_front(fronts, index, &like);
		}
	return err;
}

int sl_kube_fronts_make(const struct sl_kube *kube, const struct sl_kube_pod *pod,
			struct sl_kube_fronts *fronts)
{
	/* kube-proxy forwards NodePorts of the node's own loopback too */
	struct sl_cidr loopback = {.family = 4, .len = 8, .addr = {127}};
	const struct sl_addresses local = {&loopback, pod->host_network};
	struct index index;
	int err = make_index(kube, &index);

	fronts->kube = kube;
	for (size_t i = 0; i < kube->n_services && !err; i++) {
		const struct sl_kube_service *s = &kube->services[i];

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
	memset(fronts, 0, sizeof(*fronts));
}

/* ---- what NetworkPolicies say of them ---- */

static void warn_mixed(const struct sl_kube_fronts *fronts, const struct sl_kube_front *front,
		       size_t denied, const struct sl_kube_endpoint *example)
{
	const struct sl_object *service = &front->service->object;
	char address[SL_CIDR_TEXT], endpoint[SL_CIDR_TEXT];

	sl_warn(fronts->kube->diag, &service->pos, "Service %s/%s, %s port %u/%s, is denied: %zu of "
		"its %zu ready endpoints are, as %s port %u", service->namespace, service->name,
		sl_cidr_format(&front->address, address), front->port.port,
		sl_protocol_name(front->port.protocol), denied, front->n_ready,
		sl_cidr_format(&example->address, endpoint), example->port);
}

static int emit_front(const struct sl_kube_fronts *fronts, const struct sl_kube_front *front,
		      const struct sl_clauses *clauses, struct sl_policy *policy)
{
	int protocol = front->port.protocol;
	bool now = sl_clauses_allow(clauses, &front->address, protocol, front->port.port), allow;
	const struct sl_kube_endpoint *example = NULL;
	size_t denied = 0;

	for (size_t i = 0; i < front->n_ready; i++)
		if (!sl_clauses_allow(clauses, &front->ready[i].address, protocol,
				      front->ready[i].port)) {
			example = &front->ready[i];
			denied++;
		}
	if (denied && denied < front->n_ready)
		warn_mixed(fronts, front, denied, example);
	allow = !denied && (front->is_cluster_ip ? front->n_ready : now);
	/* what the clauses say of the address itself may be the same */
	return allow == now || sl_kube_front_rule(policy, allow ? SL_ALLOW : SL_DENY,
						  &front->address, &front->port,
						  front->service->object.name) ? 0 : -ENOMEM;
}

int sl_kube_emit_fronts(const struct sl_kube_fronts *fronts, const struct sl_clauses *clauses,
			struct sl_policy *policy)
{
	int err = 0;

	for (size_t i = 0; i < fronts->n && !err; i++)
		err = emit_front(fronts, &fronts->list[i], clauses, policy);
	return err;
}

/* ---- what EgressPolicies say of them ---- */

/* Is the front decided where the endpoint is, or denied whatever follows? Its own address may stand
 * in a rule before this one; an allow there is meant for it. An allow behind it may be any that is not
 * known to be about something else: one by name, by a set of the pod's own, of a profile. */
static bool needs_no_deny(const struct sl_kube_front *front, const struct sl_policy *policy,
			  size_t n, size_t at, bool selected)
{
	for (size_t i = 0; i < n; i++) {
		const struct sl_rule *rule = policy->items[i].rule;

		if (!rule && i > at)
			return false;
		for (size_t m = 0; rule && m < rule->n_matches; m++) {
			const struct sl_match *match = &rule->matches[m];

			if (i <= at && !sl_kube_is_conditional(rule, match) &&
			    sl_kube_match_has(match, &front->address, front->port.protocol,
					      front->port.port))
				return true;
			if (i > at && rule->action == SL_ALLOW &&
			    sl_kube_may_have(match, &front->address, front->port.protocol,
					     front->port.port))
				return false;
		}
	}
	return !selected && policy->default_action == SL_DENY;
}

/* A deny as that of the endpoint, for whom and as long as that is; for now at the policy's end. */
static int add_deny(const struct sl_kube_front *front, struct sl_policy *policy, size_t at,
		       const struct sl_match *match)
{
	const struct sl_rule *like = policy->items[at].rule;
	struct sl_rule *made = sl_kube_front_rule(policy, SL_DENY, &front->address, &front->port,
						  front->service->object.name);

	if (!made)
		return -ENOMEM;
	made->expiry = like->expiry;
	made->expires_s = like->expires_s;
	made->expires_pos = like->expires_pos;
	made->log = like->log;
	made->pos = like->pos;
	return sl_kube_copy_uids(match, &made->matches[0]);
}

/* What one pass over the fronts knows. */
struct own {
	const struct sl_kube_fronts *fronts;
	struct sl_policy *policy;
	size_t n;			/* its rules; those that are added stand behind */
	bool selected;			/* other rules will follow */
	size_t *at;			/* owned: in front of which rule each that is added belongs */
	size_t n_at;
	const struct sl_match **done;	/* owned: conditions that the front has already */
	size_t n_done;
};

static bool is_done(const struct own *own, const struct sl_match *match)
{
	for (size_t i = 0; i < own->n_done; i++)
		if (own->done[i] == match)
			return true;
	return false;
}

/* Of a deny that an endpoint meets. */
static int deny(struct own *own, const struct sl_kube_front *front, const struct sl_match *match,
		size_t at)
{
	const struct sl_match **slot;
	size_t *place;

	if (is_done(own, match) || needs_no_deny(front, own->policy, own->n, at, own->selected))
		return 0;
	slot = SL_ADD(own->done, own->n_done);
	if (slot)
		*slot = match;
	place = slot ? SL_ADD(own->at, own->n_at) : NULL;
	if (!place)
		return -ENOMEM;
	*place = at;
	return add_deny(front, own->policy, at, match);
}

/* *denied: for everybody, and for good. */
static int read_endpoint(struct own *own, const struct sl_kube_front *front,
			 const struct sl_kube_endpoint *endpoint, bool *denied)
{
	int err = 0;

	*denied = false;
	for (size_t i = 0; i < own->n; i++) {
		const struct sl_rule *rule = own->policy->items[i].rule;

		for (size_t m = 0; rule && m < rule->n_matches; m++) {
			const struct sl_match *match = &rule->matches[m];

			if (!sl_kube_match_has(match, &endpoint->address,
					       front->port.protocol, endpoint->port))
				continue;
			if (rule->action == SL_DENY)
				err = deny(own, front, match, i);
			if (err || !sl_kube_is_conditional(rule, match)) {
				*denied = rule->action == SL_DENY;
				return err;
			}
		}
	}
	return 0;
}

static int read_front(struct own *own, const struct sl_kube_front *front)
{
	const struct sl_kube_endpoint *example = NULL;
	size_t denied = 0, before = own->n_at;
	int err = 0;
	bool one;

	own->n_done = 0;
	for (size_t i = 0; i < front->n_ready && !err; i++) {
		err = read_endpoint(own, front, &front->ready[i], &one);
		if (!err && one) {
			example = &front->ready[i];
			denied++;
		}
	}
	if (!err && own->n_at > before && denied && denied < front->n_ready)
		warn_mixed(own->fronts, front, denied, example);
	return err;
}

/* What was added, to its places. */
static int put_in_place(const struct own *own)
{
	struct sl_policy *policy = own->policy;
	struct sl_item *ordered = calloc(policy->n_items + 1, sizeof(*ordered));
	size_t *next = calloc(own->n + 2, sizeof(*next));

	if (!ordered || !next) {
		free(ordered);
		free(next);
		return -ENOMEM;
	}
	/* where those of each rule begin; it follows them */
	for (size_t i = 0; i < own->n_at; i++)
		next[own->at[i] + 1]++;
	for (size_t i = 0; i < own->n; i++)
		next[i + 1] += next[i] + 1;
	for (size_t i = 0; i < own->n_at; i++)
		ordered[next[own->at[i]]++] = policy->items[own->n + i];
	for (size_t i = 0; i < own->n; i++)
		ordered[next[i]] = policy->items[i];
	memcpy(policy->items, ordered, policy->n_items * sizeof(*ordered));
	free(ordered);
	free(next);
	return 0;
}

int sl_kube_own_fronts(const struct sl_kube_fronts *fronts, const struct sl_clauses *clauses,
		       struct sl_policy *policy)
{
	struct own own = {.fronts = fronts, .policy = policy, .n = policy->n_items,
			  .selected = clauses->selected};
	int err = 0;

	for (size_t i = 0; i < fronts->n && !err; i++)
		err = read_front(&own, &fronts->list[i]);
	if (!err && own.n_at)
		err = put_in_place(&own);
	free(own.done);
	free(own.at);
	return err;
}
