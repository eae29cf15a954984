// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Clauses as rules, and the policy of a pod as a whole. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "policy/text.h"

/* ---- rules ---- */

/* The match of a new rule; NULL: no memory. */
static struct sl_match *add_rule(struct sl_policy *policy, enum sl_action action)
{
	struct sl_rule *rule = sl_policy_add_rule(policy, action);

	return rule ? rule->matches : NULL;
}

static int add_host(struct sl_match *match, enum sl_host_kind kind, const struct sl_cidr *cidr)
{
	struct sl_host *host = SL_ADD(match->hosts, match->n_hosts);

	if (!host)
		return -ENOMEM;
	host->kind = kind;
	if (cidr)
		host->cidr = *cidr;
	return 0;
}

/* A prefix is one to NetworkPolicy whatever is in it; here these want to be named. */
static const struct sl_cidr embedding[] = {
	{.family = 6, .len = 96, .addr = {[8] = 0xff, 0xff}},
	{.family = 6, .len = 48, .addr = {0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}},
	{.family = 6, .len = 16, .addr = {0x20, 0x02}},
	{.family = 6, .len = 32, .addr = {0x20, 0x01}},
};

#define N_EMBEDDING (sizeof(embedding) / sizeof(embedding[0]))

/* Judged as the IPv4 address in it, by the rules for IPv4: no rule may name it. */
static const struct sl_cidr judged_as_ipv4[] = {
	{.family = 6, .len = 96, .addr = {[10] = 0xff, 0xff}},
	{.family = 6, .len = 96, .addr = {0x00, 0x64, 0xff, 0x9b}},
};

static int add_prefix_hosts(struct sl_match *match, const struct sl_cidr *cidr)
{
	int err;

	for (size_t i = 0; i < 2; i++)
		if (sl_cidr_within(cidr, &judged_as_ipv4[i]))
			return 0;
	err = add_host(match, SL_HOST_CIDR, cidr);
	for (size_t i = 0; i < N_EMBEDDING && !err; i++)
		if (cidr->len < embedding[i].len && sl_cidr_within(&embedding[i], cidr))
			err = add_host(match, SL_HOST_CIDR, &embedding[i]);
	return err;
}

static int add_any_hosts(struct sl_match *match)
{
	int err = add_host(match, SL_HOST_ANY, NULL);

	for (size_t i = 0; i < N_EMBEDDING && !err; i++)
		err = add_host(match, SL_HOST_CIDR, &embedding[i]);
	return err;
}

static int add_protocol(struct sl_match *match, int protocol)
{
	int *slot;

	if (protocol == SL_PROTOCOL_ANY)
		return 0;
	slot = SL_ADD(match->protocols, match->n_protocols);
	if (!slot)
		return -ENOMEM;
	*slot = protocol;
	return 0;
}

static int add_range(struct sl_match *match, __u16 low, __u16 high)
{
	struct sl_port_range *range = SL_ADD(match->ports, match->n_ports);

	if (!range)
		return -ENOMEM;
	*range = (struct sl_port_range){low, high};
	return 0;
}

/* What an object in a file is called may be more than the name of a policy or rule can be. */
static void make_name(char *text)
{
	for (char *c = text; *c; c++)
		if (!sl_text_name(c, 1, true))
			*c = '-';
}

/* An id that no other rule has: of whom, and the rule's place. */
static int put_id(struct sl_policy *policy, const char *of, const char *name)
{
	struct sl_rule *rule = policy->items[policy->n_items - 1].rule;

	rule->id_written = true;
	if (asprintf(&rule->id, "%s%s%.40s.%zu", of, *name ? "." : "", name, policy->n_items) < 0) {
		rule->id = NULL;
		return -ENOMEM;
	}
	make_name(rule->id);
	return 0;
}

static int put_reason(struct sl_policy *policy, const struct sl_clause *clause)
{
	struct sl_rule *rule = policy->items[policy->n_items - 1].rule;
	const struct sl_kube_netpol *netpol = clause->netpol;
	char line[24] = "";

	if (!netpol)
		return 0;
	if (netpol->egress[clause->rule].pos.column)
		snprintf(line, sizeof(line), ", line %u", netpol->egress[clause->rule].pos.line);
	return asprintf(&rule->reason, "NetworkPolicy %s/%s, egress[%zu]%s",
			netpol->object.namespace, netpol->object.name, clause->rule, line) < 0 ?
		-ENOMEM : 0;
}

static int emit_clause(const struct sl_clause *clause, struct sl_policy *policy)
{
	struct sl_match *match = add_rule(policy, SL_ALLOW);
	int err = match ? add_protocol(match, clause->protocol) : -ENOMEM;

	if (!err && clause->any)
		err = add_any_hosts(match);
	for (size_t i = 0; i < clause->hosts.n && !err; i++)
		err = add_prefix_hosts(match, &clause->hosts.list[i]);
	for (size_t i = 0; i < clause->n_ports && !err; i++)
		err = add_range(match, clause->ports[i].low, clause->ports[i].high);
	if (err)
		return err;
	if (!match->n_hosts) {	/* all of it is judged as IPv4 */
		sl_rule_free(policy->items[--policy->n_items].rule);
		return 0;
	}
	err = clause->netpol ? put_id(policy, "np", clause->netpol->object.name) :
		put_id(policy, clause->why, "");
	return err ? err : put_reason(policy, clause);
}

struct sl_rule *sl_kube_front_rule(struct sl_policy *policy, enum sl_action action,
				   const struct sl_cidr *address, const struct sl_named_port *port,
				   const char *service)
{
	struct sl_match *match = add_rule(policy, action);
	int err = match ? add_prefix_hosts(match, address) : -ENOMEM;

	if (!err)
		err = add_protocol(match, port->protocol);
	if (!err)
		err = add_range(match, port->port, port->port);
	if (!err)
		err = put_id(policy, "svc", service);
	return err ? NULL : policy->items[policy->n_items - 1].rule;
}

void sl_kube_cut_rules(struct sl_policy *policy, size_t n)
{
	while (policy->n_items > n)
		sl_rule_free(policy->items[--policy->n_items].rule);
}

static int add_ports(struct sl_match *match, const struct sl_named_ports *ports)
{
	int err = add_protocol(match, IPPROTO_TCP);

	if (!err)
		err = add_protocol(match, IPPROTO_UDP);
	if (!err)
		err = add_protocol(match, IPPROTO_SCTP);
	for (size_t i = 0; i < ports->n && !err; i++)
		err = add_range(match, ports->list[i].port, ports->list[i].port);
	return err;
}

int sl_kube_whole_rule(struct sl_policy *policy, const struct sl_addresses *addresses,
		       const struct sl_named_ports *ports, const char *service)
{
	struct sl_match *match = add_rule(policy, SL_DENY);
	int err = match ? 0 : -ENOMEM;

	for (size_t i = 0; i < addresses->n && !err; i++)
		err = add_prefix_hosts(match, &addresses->list[i]);
	if (!err && ports)
		err = add_ports(match, ports);
	if (!err && !match->n_hosts) {
		sl_rule_free(policy->items[--policy->n_items].rule);
		return 0;
	}
	return err ? err : put_id(policy, "svc", service);
}

static int emit(struct sl_kube_fronts *fronts, struct sl_clauses *clauses,
		struct sl_policy *policy)
{
	int err = sl_kube_emit_fronts(fronts, clauses, policy);

	for (size_t i = 0; i < clauses->n && !err; i++)
		err = emit_clause(&clauses->list[i], policy);
	return err;
}

/* ---- the pod ---- */

static const struct sl_kube_pod *find_pod(const struct sl_kube *kube, const char *namespace,
					  const char *name)
{
	for (size_t i = 0; i < kube->n_pods; i++)
		if (!strcmp(kube->pods[i].object.name, name) &&
		    !strcmp(kube->pods[i].object.namespace, namespace))
			return &kube->pods[i];
	return NULL;
}

/* NAMESPACE.NAME, cut to what a policy's name may hold. */
static char *policy_name(const struct sl_kube_pod *pod)
{
	char *name;

	if (asprintf(&name, "%s.%s", pod->object.namespace, pod->object.name) < 0)
		return NULL;
	if (strlen(name) > SL_ID_MAX)
		name[SL_ID_MAX] = '\0';
	make_name(name);
	return name;
}

static int allow_all(struct sl_policy *policy)
{
	struct sl_match *match = add_rule(policy, SL_ALLOW);
	int err = match ? add_any_hosts(match) : -ENOMEM;

	policy->default_action = SL_ALLOW;
	return err ? err : put_id(policy, "not-selected", "");
}

static int fill(const struct sl_kube *kube, const struct sl_kube_pod *pod,
		struct sl_policy *policy)
{
	struct sl_clauses clauses = {};
	struct sl_kube_fronts fronts = {};
	size_t own = 0;
	int err = sl_kube_application(kube, pod, &clauses.application);

	/* the node's network is the node's: NetworkPolicies do not hold there */
	if (!err && (clauses.application || !pod->host_network))
		err = sl_clauses_make(kube, pod, &clauses);
	policy->name = policy_name(pod);
	if (!policy->name)
		err = -ENOMEM;
	if (!err)
		err = sl_kube_merge_own(kube, pod, &clauses, policy, &own);
	if (!err && (own || clauses.selected))
		err = sl_kube_fronts_make(kube, pod, &fronts);
	if (!err && own)
		err = sl_kube_own_fronts(&fronts, &clauses, policy);
	if (!err && clauses.selected)
		err = emit(&fronts, &clauses, policy);
	if (!err && clauses.application)
		err = sl_kube_application_emit(kube, pod, &clauses, own, policy);
	else if (!err && !clauses.selected && !own)
		err = allow_all(policy);
	if (!err)
		err = sl_kube_distinguish_ids(policy);
	if (!err && clauses.selected && !pod->node.n && !pod->host_network)
		sl_warn(kube->diag, &pod->object.pos, "%s/%s has no status.hostIP: its own node is "
			"not among what it reaches", pod->object.namespace, pod->object.name);
	sl_policy_free(clauses.application);
	sl_clauses_free(&clauses);
	sl_kube_fronts_free(&fronts);
	return err;
}

static struct sl_policy *new_policy(void)
{
	struct sl_policy *policy = calloc(1, sizeof(*policy));

	if (!policy)
		return NULL;
	policy->default_action = SL_DENY;
	policy->inbound = SL_INBOUND_ALLOW;	/* ingress is another question */
	policy->fragments_first = true;
	return policy;
}

int sl_kube_pod_policy(const struct sl_kube *kube, const struct sl_kube_pod *pod,
		       struct sl_policy **out)
{
	struct sl_policy *policy;
	int err;

	if (sl_kube_check_flaws(kube, pod, false))
		return -EINVAL;
	policy = new_policy();
	if (!policy)
		return -ENOMEM;
	err = fill(kube, pod, policy);
	if (err)
		sl_policy_free(policy);
	else
		*out = policy;
	return err;
}

static int fill_of_cluster(const struct sl_kube *kube, const struct sl_kube_pod *pod,
			   struct sl_policy *policy, size_t *n)
{
	const struct sl_clauses none = {};
	struct sl_kube_fronts fronts = {};
	int err = sl_kube_merge_cluster(kube, pod, policy, n);

	if (!err && *n)
		err = sl_kube_fronts_make(kube, pod, &fronts);
	if (!err && *n)
		err = sl_kube_own_fronts(&fronts, &none, policy);
	if (!err)
		err = sl_kube_distinguish_ids(policy);
	sl_kube_fronts_free(&fronts);
	policy->default_action = SL_DENY; /* what the others would say of the rest is not known */
	if (!err && *n && !policy->name)
		policy->name = policy_name(pod);
	return err || !*n || policy->name ? err : -ENOMEM;
}

int sl_kube_cluster_policy(const struct sl_kube *kube, const struct sl_kube_pod *pod,
			   struct sl_policy **out)
{
	struct sl_policy *policy;
	size_t n = 0;
	int err;

	*out = NULL;
	if (sl_kube_check_flaws(kube, pod, true))
		return -EINVAL;
	policy = new_policy();
	if (!policy)
		return -ENOMEM;
	err = fill_of_cluster(kube, pod, policy, &n);
	if (err || !n)
		sl_policy_free(policy);
	else
		*out = policy;
	return err;
}

static int no_pod(const struct sl_kube *kube, const char *namespace, const char *name)
{
	const struct sl_object *other = kube->n_pods ? &kube->pods[0].object : NULL;

	sl_error(kube->diag, NULL, "there is no Pod %s/%s among the objects: add it, as `kubectl get pods "
		 "-A -o yaml` prints it%s%s%s%s%s", namespace, name,
		 other ? ", or name one that is there (" : "", other ? other->namespace : "",
		 other ? "/" : "", other ? other->name : "", other ? ")" : "");
	return -ENOENT;
}

int sl_kube_policy(const struct sl_kube *kube, const char *namespace, const char *name,
		   struct sl_policy **out)
{
	const struct sl_kube_pod *pod = find_pod(kube, namespace, name);

	if (!pod)
		return no_pod(kube, namespace, name);
	if (pod->host_network)
		return sl_error(kube->diag, &pod->object.pos, "%s/%s is on its node's network "
				"(hostNetwork), where NetworkPolicies do not hold", namespace, name);
	return sl_kube_pod_policy(kube, pod, out);
}
