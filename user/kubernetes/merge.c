// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Policies of several objects as one: rule behind rule. What an object calls a set is its own, ids
 * that meet get a number, and of settings the cluster's come first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge.h"
#include "policy/text.h"
#include "sluice_sets.h"

bool sl_kube_is_selector(const struct sl_node *key)
{
	return sl_node_is(key, "podSelector") || sl_node_is(key, "namespaceSelector");
}

/* The spec without its selectors, as a policy. */
int sl_kube_parse_own(const struct sl_kube_own *own, struct sl_policy **out,
		      struct sl_diag *diag)
{
	struct sl_yaml_event *events = calloc(own->spec->span, sizeof(*events));
	size_t n = 0;
	int err;

	if (!events)
		return -ENOMEM;
	events[n++] = own->spec->event;
	sl_node_each_key(key, own->spec) {
		if (sl_kube_is_selector(key))
			continue;
		for (const struct sl_node *node = key; node < sl_node_next(key + 1); node++)
			events[n++] = node->event;
	}
	events[n++] = own->spec[own->spec->span - 1].event;
	err = sl_policy_parse_events(events, n, out, diag);
	free(events);
	if (!err && sl_policy_refuse_unenforced(*out, diag)) {
		sl_policy_free(*out);
		err = -EINVAL;
	}
	return err;
}

/* ---- settings ---- */

/* A setting that was written, from one policy to the other. */
static void take_setting(const char *key, struct sl_policy *from, struct sl_policy *to)
{
	if (!strcmp(key, "mode")) {
		to->mode = from->mode;
	} else if (!strcmp(key, "default")) {
		to->default_action = from->default_action;
	} else if (!strcmp(key, "on_deny")) {
		to->on_deny = from->on_deny;
	} else if (!strcmp(key, "log")) {
		to->log = from->log;
	} else if (!strcmp(key, "fragments")) {
		to->fragments_first = from->fragments_first;
	} else if (!strcmp(key, "device")) {
		to->device = from->device;
	} else if (!strcmp(key, "limits")) {
		to->limits = from->limits;
	} else if (!strcmp(key, "inbound")) {
		to->inbound = from->inbound;
		to->inbound_matches = from->inbound_matches;
		to->n_inbound = from->n_inbound;
		from->inbound_matches = NULL;
		from->n_inbound = 0;
	} else if (!strcmp(key, "dns")) {
		to->has_dns = from->has_dns;
		to->dns_system = from->dns_system;
		to->resolvers = from->resolvers;
		to->n_resolvers = from->n_resolvers;
		to->dns = from->dns;
		from->resolvers = NULL;
		from->n_resolvers = 0;
		memset(&from->dns, 0, sizeof(from->dns));
	}
}

bool sl_kube_has_names(const struct sl_policy *policy, size_t n_rules)
{
	for (size_t i = 0; i < n_rules; i++)
		if (policy->items[i].include || sl_rule_name(policy->items[i].rule))
			return true;
	return false;
}

/* Port 53 of a resolver passes before any rule is asked. One that a tenant lists may be what the cluster
 * denies by a set of the pod's own. */
static bool opens_denied(const struct sl_policy *from, const struct sl_policy *cluster, size_t n_rules)
{
	for (size_t i = 0; i < from->n_resolvers; i++)
		if (sl_kube_denies_resolver(cluster, n_rules, &from->resolvers[i], true))
			return true;
	return false;
}

/* Who may write an EgressPolicy may not undo a ClusterEgressPolicy: by letting all pass, by
 * hiding what is denied, by asking a resolver of his own for the names that the cluster allows or at
 * an address that it denies, by what no veth is judged with. cluster: the policy whose first n_rules
 * are of those that select the pod; NULL: there are none. */
static bool would_undo(const char *key, const struct sl_policy *from,
		       const struct sl_policy *cluster, size_t n_rules)
{
	if (!cluster)
		return false;
	if (!strcmp(key, "mode"))
		return from->mode == SL_MODE_AUDIT;
	if (!strcmp(key, "log"))
		return from->log == SL_LOG_NONE;
	return !strcmp(key, "dns") && (from->dns.forward || sl_kube_has_names(cluster, n_rules) ||
				       opens_denied(from, cluster, n_rules));
}

/* Already said by a ClusterEgressPolicy, or not for an EgressPolicy to say? */
static bool is_the_clusters(const char *key, const struct sl_policy *from, const struct sl_merge *merge)
{
	for (size_t i = 0; i < merge->n_cluster; i++)
		if (sl_node_get(merge->list[i]->spec, key))
			return true;
	return would_undo(key, from, merge->n_cluster ? merge->to : NULL, merge->n_rules);
}

static bool is_part(const struct sl_node *key)
{
	return sl_kube_is_selector(key) || sl_node_is(key, "rules") || sl_node_is(key, "sets");
}

static void take_settings(const struct sl_merge *merge, const struct sl_kube_own *own,
			  struct sl_policy *from)
{
	sl_node_each_key(key, own->spec) {
		if (is_part(key))
			continue;
		if (own->object.namespace && is_the_clusters(key->event.scalar, from, merge))
			sl_warn(merge->diag, &key->event.pos, "\"%s\" of the EgressPolicy %s/%s does nothing "
				"for a pod that a ClusterEgressPolicy selects: it is for that to say",
				key->event.scalar, own->object.namespace, own->object.name);
		else
			take_setting(key->event.scalar, from, merge->to);
	}
}

/* Two of a kind that say how the pod is treated as a whole: neither is first. */
static int check_settings(const struct sl_merge *merge, size_t n)
{
	const struct sl_kube_own *own = merge->list[n];
	size_t errors = merge->diag->n_errors;
	char place[SL_KUBE_PLACE];

	sl_node_each_key(key, own->spec) {
		if (is_part(key))
			continue;
		for (size_t i = own->object.namespace ? merge->n_cluster : 0; i < n; i++)
			if (sl_node_get(merge->list[i]->spec, key->event.scalar))
				sl_error(merge->diag, &key->event.pos, "\"%s\" stands in %s in %s too, "
					 "which selects the pod as well: only one of them can say it",
					 key->event.scalar, merge->list[i]->object.name,
					 sl_kube_place(&merge->list[i]->object.pos, place));
	}
	return merge->diag->n_errors > errors ? -EINVAL : 0;
}

/* ---- rules ---- */

static int take_items(struct sl_policy *from, struct sl_policy *to, struct sl_diag *diag)
{
	for (size_t i = 0; i < from->n_items; i++) {
		struct sl_item *item = &from->items[i], *slot;

		if (item->include && strncmp(item->include, "profile/", 8))
			return sl_error(diag, &item->pos, "include: only a profile can be included here "
					"(`sluice profile list`): there is no folder beside an object");
		slot = SL_ADD(to->items, to->n_items);
		if (!slot)
			return -ENOMEM;
		*slot = *item;
		memset(item, 0, sizeof(*item));
	}
	return 0;
}

/* ---- sets: each object has its own ---- */

static bool is_built_in(const char *name)
{
	static const char *const names[] = {
#define NAME(set, contents) #set,
		SL_STATIC_SETS(NAME) SL_RESOLVED_SETS(NAME)
#undef NAME
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

/* Calls fn for each host that is a set, until it returns other than 0. */
static int each_use(struct sl_policy *policy,
		    int (*fn)(struct sl_host *use, const struct sl_pos *pos, void *context), void *context)
{
	int err = 0;

	for (size_t i = 0; i < policy->n_items; i++) {
		struct sl_rule *rule = policy->items[i].rule;

		for (size_t m = 0; rule && m < rule->n_matches; m++)
			for (size_t h = 0; h < rule->matches[m].n_hosts && !err; h++)
				if (rule->matches[m].hosts[h].kind == SL_HOST_SET)
					err = fn(&rule->matches[m].hosts[h], &rule->pos, context);
	}
	for (size_t m = 0; m < policy->n_inbound; m++)
		for (size_t h = 0; h < policy->inbound_matches[m].n_hosts && !err; h++)
			if (policy->inbound_matches[m].hosts[h].kind == SL_HOST_SET)
				err = fn(&policy->inbound_matches[m].hosts[h], NULL, context);
	return err;
}

/* The sets of one object, and what they are called behind those of the others. */
struct own_sets {
	struct sl_policy *from;
	const struct sl_kube_own *own;
	struct sl_diag *diag;
	struct sl_names names; /* as the object calls them: their places in from */
	char **others;	       /* owned, each owned: by place; NULL: the same */
};

/* Another object's set by that name would be the other's to fill. */
static int bind_use(struct sl_host *use, const struct sl_pos *pos, void *context)
{
	const struct own_sets *sets = context;
	unsigned at;
	char *text;

	if (!sl_names_has(&sets->names, use->text, &at)) {
		if (is_built_in(use->text))
			return 0;
		return sl_error(sets->diag, pos ? pos : &sets->own->object.pos, "the set \"@%s\" is none "
				"of %s: write it under sets there, others' are not seen", use->text,
				sets->own->object.name);
	}
	use->set = sets->from->sets[at];
	if (!sets->others[at])
		return 0;
	text = strdup(sets->others[at]);
	if (!text)
		return -ENOMEM;
	free(use->text);
	use->text = text;
	return 0;
}

static int read_names(struct own_sets *sets)
{
	unsigned earlier;
	int err = 0;

	sets->others = calloc(sets->from->n_sets + 1, sizeof(*sets->others));
	for (size_t i = 0; i < sets->from->n_sets && !err; i++)
		err = sl_names_add(&sets->names, sets->from->sets[i]->name, (unsigned)i, &earlier);
	return !sets->others || err < 0 ? -ENOMEM : 0;
}

/* Where another object has a set of that name: NAME.N. */
static int choose_name(struct sl_merge *merge, struct own_sets *sets, size_t at)
{
	const char *name = sets->from->sets[at]->name;
	char other[SL_ID_MAX + 1];
	unsigned ignored;

	if (!sl_names_has(&merge->sets, name, &ignored))
		return 0;
	do
		snprintf(other, sizeof(other), "%.40s.%zu", name, ++merge->number);
	while (sl_names_has(&merge->sets, other, &ignored) ||
	       sl_names_has(&sets->names, other, &ignored));
	sets->others[at] = strdup(other);
	return sets->others[at] ? 0 : -ENOMEM;
}

static int take_set(struct sl_merge *merge, struct own_sets *sets, size_t at)
{
	struct sl_set *set = sets->from->sets[at], **slot = SL_ADD(merge->to->sets, merge->to->n_sets);
	unsigned earlier;

	if (!slot)
		return -ENOMEM;
	if (sets->others[at]) {
		free(set->name);
		set->name = sets->others[at];
		sets->others[at] = NULL;
	}
	*slot = set;
	sets->from->sets[at] = NULL;
	return sl_names_add(&merge->sets, set->name, 0, &earlier) < 0 ? -ENOMEM : 0;
}

/* The names are borrowed: the sets keep theirs until each use has been looked up. */
static int take_each(struct sl_merge *merge, struct own_sets *sets)
{
	int err = read_names(sets);

	for (size_t i = 0; i < sets->from->n_sets && !err; i++) {
		const struct sl_set *set = sets->from->sets[i];

		if (set->path)
			return sl_error(merge->diag, &set->pos, "set %s: a file can not be read from an object: "
					"list the addresses", set->name);
		err = choose_name(merge, sets, i);
	}
	if (!err)
		err = each_use(sets->from, bind_use, sets);
	sl_names_free(&sets->names);
	for (size_t i = 0; i < sets->from->n_sets && !err; i++)
		err = take_set(merge, sets, i);
	return err;
}

static int take_sets(struct sl_merge *merge, const struct sl_kube_own *own, struct sl_policy *from)
{
	struct own_sets sets = {.from = from, .own = own, .diag = merge->diag};
	int err = take_each(merge, &sets);

	for (size_t i = 0; sets.others && i < from->n_sets; i++)
		free(sets.others[i]);
	free(sets.others);
	sl_names_free(&sets.names);
	return err;
}

/* ---- ids ---- */

/* ID.N, which none of the ids is; *n: where to go on. */
static int rename_rule(struct sl_rule *rule, struct sl_names *ids, unsigned item, size_t *n)
{
	char id[SL_ID_MAX + 1], *copy;
	unsigned earlier;
	int found;

	do {
		snprintf(id, sizeof(id), "%.40s.%zu", rule->id, ++*n);
		copy = strdup(id);
		found = copy ? sl_names_add(ids, copy, item, &earlier) : -ENOMEM;
		if (found)
			free(copy);
	} while (found > 0);
	if (found < 0)
		return found;
	sl_rule_set_id(rule, copy);
	return 0;
}

int sl_kube_distinguish_ids(struct sl_policy *policy)
{
	struct sl_names ids = {};
	unsigned earlier;
	size_t n = 1;
	int err = 0, found;

	for (size_t i = 0; i < policy->n_items && !err; i++) {
		struct sl_rule *rule = policy->items[i].rule;

		if (!rule || !rule->id)
			continue;
		found = sl_names_add(&ids, rule->id, (unsigned)i, &earlier);
		err = found > 0 ? rename_rule(rule, &ids, (unsigned)i, &n) : found;
	}
	sl_names_free(&ids);
	return err;
}

/* ---- all of it ---- */

static int merge_one(struct sl_merge *merge, const struct sl_kube_own *own)
{
	struct sl_policy *from;
	int err = sl_kube_parse_own(own, &from, merge->diag);

	if (err)
		return err;
	err = take_sets(merge, own, from); /* before `inbound`, which may name them, is taken from it */
	if (!err)
		take_settings(merge, own, from);
	if (!err)
		err = take_items(from, merge->to, merge->diag);
	sl_policy_free(from);
	return err;
}

/* Does the cluster's part say by itself whom the pod asks for names? */
static bool cluster_asks(const struct sl_merge *merge)
{
	for (size_t i = 0; i < merge->n_cluster; i++)
		if (sl_node_get(merge->list[i]->spec, "dns"))
			return true;
	return sl_kube_has_names(merge->to, merge->n_rules);
}

int sl_kube_merge(const struct sl_kube_own *const *list, size_t n, struct sl_policy *to,
		  struct sl_kube_merged *merged, struct sl_diag *diag)
{
	struct sl_merge merge = {.list = list, .to = to, .diag = diag, .number = 1};
	int err = 0, worst = 0;

	while (merge.n_cluster < n && !list[merge.n_cluster]->object.namespace)
		merge.n_cluster++;
	for (size_t i = 0; i < n && worst != -ENOMEM; i++) {
		if (i <= merge.n_cluster)
			merge.n_rules = to->n_items;
		err = check_settings(&merge, i);
		if (!err)
			err = merge_one(&merge, list[i]);
		worst = err ? err : worst;
	}
	if (n == merge.n_cluster)
		merge.n_rules = to->n_items;
	*merged = (struct sl_kube_merged){merge.n_cluster, merge.n_rules, cluster_asks(&merge),
					  n ? list[0]->object.pos : (struct sl_pos){}};
	sl_names_free(&merge.sets);
	return worst;
}
