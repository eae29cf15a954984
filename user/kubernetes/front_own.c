// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What EgressPolicies say of Services: a deny that an endpoint meets is one of what is in front of
 * it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "policy/text.h"
#include "rule_index.h"

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
	struct sl_kube_fronts *fronts;
	struct sl_policy *policy;
	size_t n;			/* its rules; those that are added stand behind */
	bool selected;			/* other rules will follow */
	struct sl_rule_index index;	/* of the n */
	size_t *at;			/* owned: in front of which rule each that is added belongs */
	size_t n_at;
	struct sl_kube_tally tally;	/* of what is added; and of what was too many to be */
	size_t *done;			/* owned, by match: the last front with its condition, from 1 on */
	size_t front;			/* this one's number */
	size_t decided;			/* the rule that decides the front itself, for everybody */
	size_t allows;			/* no rule from there on allows what may be the front */
};

/* What the rules say of the front's own address. It may stand in a rule before the endpoint's; an
 * allow there is meant for it. */
static void read_address(struct own *own, const struct sl_kube_front *front)
{
	const struct sl_rule_use *use;

	sl_rule_index_ask(&own->index, &front->address, front->port.protocol, front->port.port);
	own->allows = sl_rule_index_allows(&own->index);
	do
		use = sl_rule_index_next(&own->index);
	while (use && sl_kube_is_conditional(use->rule, use->match));
	own->decided = use ? use->at : own->n;
}

/* Is the front decided where the endpoint is, or denied whatever follows? */
static bool needs_no_deny(const struct own *own, size_t at)
{
	if (own->decided <= at)
		return true;
	return !own->selected && own->policy->default_action == SL_DENY && own->allows <= at + 1;
}

/* Of a deny that an endpoint meets. */
static int deny(struct own *own, const struct sl_kube_front *front, const struct sl_rule_use *use)
{
	size_t *done = &own->done[use - own->index.uses], *place;

	if (*done == own->front || needs_no_deny(own, use->at))
		return 0;
	*done = own->front;
	if (!sl_kube_count_rule(own->fronts, front, &own->tally))
		return 0;
	place = SL_ADD(own->at, own->n_at);
	if (!place)
		return -ENOMEM;
	*place = use->at;
	return add_deny(front, own->policy, use->at, use->match);
}

/* *denied: for everybody, and for good. */
static int read_endpoint(struct own *own, const struct sl_kube_front *front,
			 const struct sl_kube_endpoint *endpoint, bool *denied)
{
	const struct sl_rule_use *use;
	int err = 0;

	*denied = false;
	sl_rule_index_ask(&own->index, &endpoint->address, front->port.protocol, endpoint->port);
	while (!err && (use = sl_rule_index_next(&own->index))) {
		if (use->rule->action == SL_DENY)
			err = deny(own, front, use);
		if (!sl_kube_is_conditional(use->rule, use->match)) {
			*denied = use->rule->action == SL_DENY;
			break;
		}
	}
	return err;
}

static int read_front(struct own *own, struct sl_kube_front *front)
{
	size_t denied = 0, before = own->tally.sum;
	int err = 0;
	bool one;

	own->front++;
	if (front->n_ready)
		read_address(own, front);
	for (size_t i = 0; i < front->n_ready && !err; i++) {
		err = read_endpoint(own, front, &front->ready[i], &one);
		if (!err && one) {
			front->example = &front->ready[i];
			denied++;
		}
	}
	front->mixed = own->tally.sum > before && denied < front->n_ready ? denied : 0;
	return err;
}

static int read_fronts(struct own *own)
{
	int err = 0;

	for (size_t i = 0; i < own->fronts->n && !err; i++)
		if (!sl_kube_is_whole(own->fronts, &own->fronts->list[i]))
			err = read_front(own, &own->fronts->list[i]);
	return err;
}

/* As an error it would hold back the policies of all pods, for what one tenant's Services are. */
static int read_without_largest(struct own *own)
{
	int err = sl_kube_take_largest(own->fronts, own->tally.weights, SL_KUBE_FRONT_RULES);

	sl_kube_cut_rules(own->policy, own->n);
	own->n_at = own->tally.sum = 0;
	own->tally.last = NULL;
	return err ? err : read_fronts(own);
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

int sl_kube_own_fronts(struct sl_kube_fronts *fronts, const struct sl_clauses *clauses,
		       struct sl_policy *policy)
{
	struct own own = {.fronts = fronts, .policy = policy, .n = policy->n_items,
			  .selected = clauses->selected};
	int err = fronts->n ? sl_rule_index_make(&own.index, policy, own.n) : 0;

	own.done = err ? NULL : calloc(own.index.n_uses + 1, sizeof(*own.done));
	own.tally.weights = calloc(fronts->kube->n_services + 1, sizeof(*own.tally.weights));
	if (!err && (!own.done || !own.tally.weights))
		err = -ENOMEM;
	if (!err)
		err = read_fronts(&own);
	if (!err && own.tally.sum > SL_KUBE_FRONT_RULES)
		err = read_without_largest(&own);
	if (!err && own.n_at)
		err = put_in_place(&own);
	if (!err)
		err = sl_kube_insert_whole(fronts, policy);
	if (!err)
		sl_kube_warn_mixed(fronts);
	sl_rule_index_free(&own.index);
	free(own.done);
	free(own.tally.weights);
	free(own.at);
	return err;
}
