// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A pod's own policy, as Sortie has one for each application: JSON in an annotation. It takes
 * the place of the pod's NetworkPolicies: these add up, so that what a cluster's default
 * allows would pass beside an allowlist, and what a denylist denies would pass by the default.
 *
 * Whoever makes a pod can write it. Where something else selects the pod it could open what that
 * leaves closed: then it counts in namespaces alone that the node's configuration trusts.
 */
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "convert/sortie.h"
#include "objects.h"
#include "policy/text.h"

/* ---- reading ---- */

/* {}, or one of `mode` and `rules` that say nothing: any other key is a slip. */
static bool is_empty(const json_t *egress)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)egress, key, value)
		if (!((!strcmp(key, "mode") && (json_is_null(value) ||
						!strcmp(json_string_value(value) ?: "x", ""))) ||
		      (!strcmp(key, "rules") && (json_is_null(value) || (json_is_array(value) &&
						 !json_array_size(value))))))
			return false;
	return true;
}

/* An application without a policy inherits its cluster's default, as without the annotation. */
static bool inherits(const char *text)
{
	json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const json_t *egress = json_object_get(root, "egress_policy");
	bool empty;

	empty = json_is_object(root) &&
		(egress ? json_is_null(egress) || (json_is_object(egress) && is_empty(egress)) :
			  is_empty(root));
	json_decref(root);
	return empty;
}

/* What the reader says, with the pod's place and the place in the text. */
static void relay(const struct sl_kube *kube, const struct sl_kube_pod *pod,
		  const struct sl_diag *from)
{
	for (size_t i = 0; i < from->n; i++) {
		const struct sl_diag_entry *e = &from->entries[i];
		char place[64] = "";

		if (e->pos.line)
			snprintf(place, sizeof(place), ", its line %u, column %u", e->pos.line,
				 e->pos.column);
		if (e->severity == SL_ERROR)
			sl_error(kube->diag, &pod->object.pos, "annotation " SL_KUBE_APPLICATION
				 "%s: %s", place, e->message);
		else
			sl_warn(kube->diag, &pod->object.pos, "annotation " SL_KUBE_APPLICATION
				"%s: %s", place, e->message);
	}
}

int sl_kube_application(const struct sl_kube *kube, const struct sl_kube_pod *pod,
			struct sl_policy **out)
{
	const struct sl_pos pos = {.file = SL_KUBE_APPLICATION};
	struct sl_sortie sortie = {};
	struct sl_diag diag = {};
	int err;

	*out = NULL;
	if (!pod->application || inherits(pod->application))
		return 0;
	err = sl_sortie_read(pod->application, strlen(pod->application), &pos, &sortie, &diag);
	relay(kube, pod, &diag);
	sl_diag_free(&diag);
	if (err)
		return err;
	*out = sortie.policy;
	sortie.policy = NULL;
	sl_sortie_free(&sortie);
	return 0;
}

/* ---- judging: what Services lead to ---- */

static bool has_protocol(const struct sl_match *match, int protocol)
{
	for (size_t i = 0; i < match->n_protocols; i++)
		if (match->protocols[i] == protocol)
			return true;
	/* ports without a protocol are TCP's and UDP's */
	return !match->n_protocols && (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP);
}

static bool matches(const struct sl_match *match, const struct sl_cidr *address, int protocol,
		    __u16 port)
{
	const struct sl_host *host = &match->hosts[0];

	if (host->kind != SL_HOST_ANY && !sl_cidr_within(address, &host->cidr))
		return false;
	return has_protocol(match, protocol) && (!match->n_ports || match->ports[0].low == port);
}

/* The reader makes rules of one host and at most one port. */
bool sl_kube_application_allows(const struct sl_policy *application, const struct sl_cidr *address,
				int protocol, __u16 port)
{
	for (size_t i = 0; i < application->n_items; i++) {
		const struct sl_rule *rule = application->items[i].rule;

		if (matches(&rule->matches[0], address, protocol, port))
			return rule->action == SL_ALLOW;
	}
	return application->default_action == SL_ALLOW;
}

/* ---- its rules ---- */

static int name_rule(struct sl_rule *rule, size_t n)
{
	rule->id_written = true;
	if (n)
		return asprintf(&rule->id, "app.%zu", n) < 0 ||
		       asprintf(&rule->reason, "annotation " SL_KUBE_APPLICATION ", rules[%zu]",
				n - 1) < 0 ? -ENOMEM : 0;
	rule->id = strdup("app.dns");
	return rule->id ? 0 : -ENOMEM;
}

static int check_trust(const struct sl_kube *kube, const struct sl_kube_pod *pod)
{
	const char *namespace = pod->object.namespace;

	if (!kube->trusts || kube->trusts(kube->trusts_context, namespace))
		return 0;
	return sl_error(kube->diag, &pod->object.pos, "annotation " SL_KUBE_APPLICATION ": %s/%s "
			"is selected by another policy, in whose place it would be: `annotations` of "
			"`kubernetes` in sluiced.yaml does not name the namespace %s", namespace,
			pod->object.name, namespace);
}

int sl_kube_application_emit(const struct sl_kube *kube, const struct sl_kube_pod *pod,
			     const struct sl_clauses *clauses, bool is_selected,
			     struct sl_policy *policy)
{
	struct sl_policy *from = clauses->application;
	int err = is_selected || clauses->replaced ? check_trust(kube, pod) : 0;

	policy->default_action = from->default_action;
	for (size_t i = 0; i < from->n_items && !err; i++) {
		struct sl_item *slot = SL_ADD(policy->items, policy->n_items);

		if (!slot)
			return -ENOMEM;
		*slot = from->items[i];
		memset(&from->items[i], 0, sizeof(from->items[i]));
		err = name_rule(slot->rule, i);
	}
	return err;
}
