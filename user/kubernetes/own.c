// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * EgressPolicy and ClusterEgressPolicy: policies in our language, each with the pods that it
 * is for. Those that select a pod stand behind one another, the cluster's first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "policy/text.h"

static bool is_selector(const struct sl_node *key)
{
	return sl_node_is(key, "podSelector") || sl_node_is(key, "namespaceSelector");
}

/* What a policy in a file has and one in an object does not. */
static int check_spec(const struct sl_kube_own *own, struct sl_diag *diag)
{
	size_t errors = diag->n_errors;

	sl_node_each_key(key, own->spec) {
		const char *why = NULL;

		if (sl_node_is(key, "name"))
			why = "the object has a name: metadata.name";
		else if (sl_node_is(key, "tests"))
			why = "tests stand in a policy's file";
		else if (sl_node_is(key, "sluice"))
			why = "the version is apiVersion's";
		else if (sl_node_is(key, "namespaceSelector") && own->object.namespace)
			why = "an EgressPolicy is for its own namespace; a ClusterEgressPolicy has one";
		if (why)
			sl_error(diag, &key->event.pos, "spec has no key \"%s\": %s", key->event.scalar,
				 why);
	}
	return diag->n_errors > errors ? -EINVAL : 0;
}

int sl_kube_read_own(struct sl_kube *kube, const struct sl_node *node, struct sl_kube_own *own)
{
	int err;

	own->spec = sl_node_map(node, "spec", kube->diag);
	if (!own->spec)
		return sl_error(kube->diag, &own->object.pos, "%s has no spec", own->object.name);
	if (check_spec(own, kube->diag))
		return -EINVAL;
	err = sl_selector_read(sl_node_get(own->spec, "podSelector"), &own->pods, kube->diag);
	return err ? err : sl_selector_read(sl_node_get(own->spec, "namespaceSelector"),
					    &own->namespaces, kube->diag);
}

/* ---- which, in which order ---- */

int sl_kube_own_selects(const struct sl_kube *kube, const struct sl_kube_own *own,
			const struct sl_kube_pod *pod, bool *selected)
{
	*selected = sl_selector_matches(&own->pods, &pod->object.labels);
	if (!*selected)
		return 0;
	if (!own->object.namespace)
		return sl_kube_in_namespace(kube, &own->namespaces, pod->object.namespace,
					    &own->object.pos, selected);
	*selected = !strcmp(own->object.namespace, pod->object.namespace);
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct sl_object *x = &(*(const struct sl_kube_own *const *)a)->object;
	const struct sl_object *y = &(*(const struct sl_kube_own *const *)b)->object;

	if (!x->namespace != !y->namespace)
		return x->namespace ? 1 : -1;
	return strcmp(x->name, y->name);
}

/* ---- merging ---- */

/* The spec without its selectors, as a policy. */
static int parse_spec(const struct sl_kube_own *own, struct sl_policy **out,
		      struct sl_diag *diag)
{
	struct sl_yaml_event *events = calloc(own->spec->span, sizeof(*events));
	size_t n = 0;
	int err;

	if (!events)
		return -ENOMEM;
	events[n++] = own->spec->event;
	sl_node_each_key(key, own->spec) {
		if (is_selector(key))
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

int sl_kube_check_own(const struct sl_kube *kube)
{
	struct sl_policy *policy;
	int err, worst = 0;

	for (size_t i = 0; i < kube->n_own && worst != -ENOMEM; i++) {
		err = parse_spec(&kube->own[i], &policy, kube->diag);
		if (err)
			worst = err;
		else
			sl_policy_free(policy);
	}
	return worst;
}

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

static int take_sets(struct sl_policy *from, struct sl_policy *to, struct sl_diag *diag)
{
	char place[SL_KUBE_PLACE];

	for (size_t i = 0; i < from->n_sets; i++) {
		struct sl_set *set = from->sets[i], **slot;

		if (set->path)
			return sl_error(diag, &set->pos, "set %s: a file can not be read from an object: "
					"list the addresses", set->name);
		for (size_t k = 0; k < to->n_sets; k++)
			if (!strcmp(to->sets[k]->name, set->name))
				return sl_error(diag, &set->pos, "set %s stands in %s too, in a "
						"policy that selects the pod as well: give it another "
						"name", set->name,
						sl_kube_place(&to->sets[k]->pos, place));
		slot = SL_ADD(to->sets, to->n_sets);
		if (!slot)
			return -ENOMEM;
		*slot = set;
		from->sets[i] = NULL;
	}
	return 0;
}

static int check_ids(const struct sl_policy *policy, struct sl_diag *diag)
{
	struct sl_names ids = {};
	char place[SL_KUBE_PLACE];
	unsigned earlier;
	int err = 0, found;

	for (size_t i = 0; i < policy->n_items && !err; i++) {
		const struct sl_rule *rule = policy->items[i].rule;

		if (!rule || !rule->id)
			continue;
		found = sl_names_add(&ids, rule->id, (unsigned)i, &earlier);
		if (found > 0)
			err = sl_error(diag, &rule->pos, "the id \"%s\" is taken by the rule in %s, "
				       "of a policy that selects the pod as well", rule->id,
				       sl_kube_place(&policy->items[earlier].rule->pos, place));
		else if (found < 0)
			err = found;
	}
	sl_names_free(&ids);
	return err;
}

/* Two policies that say how the pod is treated as a whole: neither is first. */
static int check_settings(const struct sl_kube_own *const *list, size_t n,
			  const struct sl_kube_own *own, struct sl_diag *diag)
{
	size_t errors = diag->n_errors;
	char place[SL_KUBE_PLACE];

	sl_node_each_key(key, own->spec) {
		if (is_selector(key) || sl_node_is(key, "rules") || sl_node_is(key, "sets"))
			continue;
		for (size_t i = 0; i < n; i++)
			if (sl_node_get(list[i]->spec, key->event.scalar))
				sl_error(diag, &key->event.pos, "\"%s\" stands in %s in %s too, "
					 "which selects the pod as well: only one of them can say it",
					 key->event.scalar, list[i]->object.name,
					 sl_kube_place(&list[i]->object.pos, place));
	}
	return diag->n_errors > errors ? -EINVAL : 0;
}

static bool has_names(const struct sl_policy *policy)
{
	for (size_t i = 0; i < policy->n_items; i++)
		if (policy->items[i].include || sl_rule_name(policy->items[i].rule))
			return true;
	return false;
}

/* Who may write an EgressPolicy may not undo a ClusterEgressPolicy: by letting all pass, by
 * hiding what is denied, by asking a resolver of his own for the names that the cluster allows, by
 * what no veth is judged with. cluster: what those that select the pod say; NULL: there are none. */
static bool would_undo(const char *key, const struct sl_policy *from,
		       const struct sl_policy *cluster)
{
	if (!cluster)
		return false;
	if (!strcmp(key, "mode"))
		return from->mode == SL_MODE_AUDIT;
	if (!strcmp(key, "log"))
		return from->log == SL_LOG_NONE;
	return !strcmp(key, "dns") && (from->dns.forward || has_names(cluster));
}

static void take_settings(const struct sl_kube_own *own, struct sl_policy *from,
			  const struct sl_policy *cluster, struct sl_policy *to,
			  struct sl_diag *diag)
{
	sl_node_each_key(key, own->spec) {
		if (would_undo(key->event.scalar, from, cluster))
			sl_warn(diag, &key->event.pos, "\"%s\" of the EgressPolicy %s/%s does nothing "
				"for a pod that a ClusterEgressPolicy selects: it is for that to say",
				key->event.scalar, own->object.namespace, own->object.name);
		else
			take_setting(key->event.scalar, from, to);
	}
}

/* cluster: as would_undo has it; it may be to. */
static int merge(const struct sl_kube_own *own, const struct sl_policy *cluster,
		 struct sl_policy *to, struct sl_diag *diag)
{
	struct sl_policy *from;
	int err = parse_spec(own, &from, diag);

	if (err)
		return err;
	take_settings(own, from, cluster, to, diag);
	err = take_sets(from, to, diag);
	if (!err)
		err = take_items(from, to, diag);
	sl_policy_free(from);
	return err;
}

int sl_kube_own_check(const struct sl_kube_own *own, struct sl_diag *diag)
{
	struct sl_policy *policy = calloc(1, sizeof(*policy));
	int err = policy ? merge(own, NULL, policy, diag) : -ENOMEM;

	if (!err)
		err = check_ids(policy, diag);
	sl_policy_free(policy);
	return err;
}

static int merge_all(const struct sl_kube *kube, const struct sl_kube_own **list, size_t n,
		     struct sl_policy *policy)
{
	int err = 0, worst = 0;

	qsort(list, n, sizeof(*list), compare);
	for (size_t i = 0; i < n && worst != -ENOMEM; i++) {
		err = check_settings(list, i, list[i], kube->diag);
		if (!err)
			err = merge(list[i], list[i]->object.namespace && !list[0]->object.namespace ?
					     policy : NULL, policy, kube->diag);
		worst = err ? err : worst;
	}
	return worst ? worst : check_ids(policy, kube->diag);
}

int sl_kube_merge_own(const struct sl_kube *kube, const struct sl_kube_pod *pod,
		      const struct sl_clauses *clauses, struct sl_policy *policy, size_t *n)
{
	const struct sl_kube_own **list = calloc(kube->n_own + 1, sizeof(*list));
	bool selected;
	int err = list ? 0 : -ENOMEM;

	*n = 0;
	for (size_t i = 0; i < kube->n_own && !err; i++) {
		err = sl_kube_own_selects(kube, &kube->own[i], pod, &selected);
		if (!err && selected)
			list[(*n)++] = &kube->own[i];
	}
	if (!err && *n)
		err = merge_all(kube, list, *n, policy);
	if (!err && clauses->selected && policy->default_action == SL_ALLOW) {
		sl_warn(kube->diag, &pod->object.pos, "`default: allow` of an EgressPolicy does "
			"nothing for %s/%s: a NetworkPolicy selects it, or its annotation decides", pod->object.namespace,
			pod->object.name);
		policy->default_action = SL_DENY;
	}
	free(list);
	return err;
}
