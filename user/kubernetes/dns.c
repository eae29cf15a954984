// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Whose answers a pod's policy believes. Whoever makes a pod names its resolvers (dnsConfig), and
 * so its resolv.conf: a resolver of his own says that any address is one of a name that the cluster
 * allows, is reached at port 53 whatever the cluster denies, and is asked, behind a search domain
 * of his own, whatever he wants to tell. Of a pod that a ClusterEgressPolicy selects the cluster's
 * count.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "merge.h"
#include "policy/text.h"

#define DNS_PORT 53

/* ---- the cluster's ---- */

/* Who may write a Service there is the cluster's. */
static bool is_dns_service(const struct sl_kube_service *service)
{
	const char *app = sl_labels_get(&service->object.labels, "k8s-app");

	return !strcmp(service->object.namespace, "kube-system") &&
	       (!strcmp(service->object.name, "kube-dns") || (app && !strcmp(app, "kube-dns")));
}

bool sl_kube_denies_resolver(const struct sl_policy *policy, size_t n, const struct sl_cidr *resolver,
			     bool own_sets)
{
	return sl_kube_may_deny(policy, n, resolver, IPPROTO_UDP, DNS_PORT, own_sets) ||
	       sl_kube_may_deny(policy, n, resolver, IPPROTO_TCP, DNS_PORT, own_sets);
}

static bool is_among(const struct sl_addresses *list, const struct sl_cidr *address)
{
	for (size_t i = 0; i < list->n; i++)
		if (!memcmp(&list->list[i], address, sizeof(*address)))
			return true;
	return false;
}

static int take(const struct sl_addresses *from, struct sl_addresses *to)
{
	for (size_t i = 0; i < from->n; i++) {
		struct sl_cidr *slot;

		if (is_among(to, &from->list[i]))
			continue;
		slot = SL_ADD(to->list, to->n);
		if (!slot)
			return -ENOMEM;
		*slot = from->list[i];
	}
	return 0;
}

static int find_known(const struct sl_kube *kube, struct sl_addresses *known)
{
	int err = kube->dns ? take(&kube->dns->resolvers, known) : 0;

	for (size_t i = 0; i < kube->n_services && !err; i++)
		if (!(kube->dns && kube->dns->decided) && is_dns_service(&kube->services[i]))
			err = take(&kube->services[i].addresses, known);
	return err;
}

/* Port 53 of a resolver passes before any rule is asked: where it is a tenant who asks by name, the
 * cluster's rules decide whether. */
static int list_resolvers(const struct sl_kube_merged *merged, const struct sl_addresses *known,
			  struct sl_policy *policy)
{
	for (size_t i = 0; i < known->n; i++) {
		struct sl_cidr *slot;

		if (!merged->cluster_asks &&
		    sl_kube_denies_resolver(policy, merged->n_cluster_rules, &known->list[i], false))
			continue;
		slot = SL_ADD(policy->resolvers, policy->n_resolvers);
		if (!slot)
			return -ENOMEM;
		*slot = known->list[i];
	}
	policy->has_dns = policy->has_dns || policy->n_resolvers;
	policy->dns_system = policy->dns_system && !policy->n_resolvers;
	return 0;
}

/* A converter's reader may know better than we do; sluiced has nobody to ask. */
static int know_none(const struct sl_kube *kube, const struct sl_pos *pos)
{
	static const char why[] =
		"of a pod that a ClusterEgressPolicy selects no resolver is known that it may ask, and a "
		"policy has names or @resolvers: write \"dns: {resolvers: [...]}\" in that, or "
		"\"resolvers\" of \"kubernetes\" in sluiced.yaml: those of the pod's resolv.conf are "
		"chosen by who makes the pod";

	if (kube->dns)
		return sl_error(kube->diag, pos, "%s", why);
	sl_warn(kube->diag, pos, "the objects have no Service kube-system/kube-dns: %s", why);
	return 0;
}

/* ---- @resolvers in the cluster's rules ---- */

static bool is_resolvers(const struct sl_host *host)
{
	return host->kind == SL_HOST_SET && !host->set && !strcmp(host->text, "resolvers");
}

static bool names_resolvers(const struct sl_policy *policy, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct sl_rule *rule = policy->items[i].rule;

		for (size_t m = 0; rule && m < rule->n_matches; m++)
			for (size_t h = 0; h < rule->matches[m].n_hosts; h++)
				if (is_resolvers(&rule->matches[m].hosts[h]))
					return true;
	}
	return false;
}

static int replace_in(struct sl_match *match, const struct sl_addresses *known)
{
	for (size_t h = 0, n = match->n_hosts; h < n; h++) {
		struct sl_host like = match->hosts[h], *slot;

		if (!is_resolvers(&like))
			continue;
		free(like.text);
		like.text = NULL;
		like.kind = SL_HOST_CIDR;
		for (size_t i = 0; i < known->n; i++) {
			slot = i ? SL_ADD(match->hosts, match->n_hosts) : &match->hosts[h];
			if (!slot)
				return -ENOMEM;
			*slot = like;
			slot->cidr = known->list[i];
		}
	}
	return 0;
}

static int replace(struct sl_policy *policy, size_t n, const struct sl_addresses *known)
{
	int err = 0;

	for (size_t i = 0; i < n; i++) {
		struct sl_rule *rule = policy->items[i].rule;

		for (size_t m = 0; rule && m < rule->n_matches && !err; m++)
			err = replace_in(&rule->matches[m], known);
	}
	return err;
}

/* ---- search domains ---- */

static int add_domain(struct sl_dns *dns, char *text)
{
	char **slot = text ? SL_ADD(dns->search, dns->n_search) : NULL;

	if (!slot) {
		free(text);
		return -ENOMEM;
	}
	*slot = text;
	return 0;
}

/* As the kubelet writes them into the resolv.conf of a pod with dnsPolicy ClusterFirst. */
static int take_search(const struct sl_kube *kube, const struct sl_kube_pod *pod, struct sl_dns *dns)
{
	static char *const usual[] = {"cluster.local"};
	bool listed = kube->dns && kube->dns->n_domains;
	char *const *domains = listed ? kube->dns->domains : usual;
	size_t n = listed ? kube->dns->n_domains : 1;
	char *text;
	int err;

	dns->has_search = true;
	if (asprintf(&text, "%s.svc.%s", pod->object.namespace, *domains) < 0)
		return -ENOMEM;
	err = add_domain(dns, text);
	if (!err)
		err = add_domain(dns, asprintf(&text, "svc.%s", *domains) < 0 ? NULL : text);
	for (size_t i = 0; i < n && !err; i++)
		err = add_domain(dns, strdup(domains[i]));
	return err;
}

/* ---- of a pod ---- */

static int take_all(const struct sl_kube *kube, const struct sl_kube_merged *merged, bool asks,
		    struct sl_policy *policy)
{
	bool rules = !merged->cluster_asks && names_resolvers(policy, merged->n_cluster_rules);
	struct sl_addresses known = {};
	int err = asks || rules ? find_known(kube, &known) : 0;

	if (!err && rules && known.n)
		err = replace(policy, merged->n_cluster_rules, &known);
	if (!err && asks)
		err = list_resolvers(merged, &known, policy);
	free(known.list);
	if (!err && ((asks && !policy->n_resolvers) || (rules && !known.n)))
		err = know_none(kube, &merged->pos);
	return err;
}

int sl_kube_take_dns(const struct sl_kube *kube, const struct sl_kube_pod *pod,
		     const struct sl_kube_merged *merged, struct sl_policy *policy)
{
	bool names = policy->dns.forward || sl_kube_has_names(policy, policy->n_items);
	int err;

	/* On its node's network it has the node's, and whoever may make one there could do worse. */
	if (!merged->n_cluster || pod->host_network)
		return 0;
	err = take_all(kube, merged, policy->dns_system || (names && !policy->n_resolvers), policy);
	if (err || policy->dns.has_search || !merged->cluster_asks || !policy->has_dns)
		return err;
	return take_search(kube, pod, &policy->dns);
}

/* ---- before the pod starts ---- */

static bool is_policy(const struct sl_kube_pod *pod, const char *policy)
{
	return !strcmp(pod->dns_policy ? pod->dns_policy : "ClusterFirst", policy);
}

static bool asks_the_cluster(const struct sl_kube_pod *pod)
{
	return is_policy(pod, "ClusterFirstWithHostNet") ||
	       (is_policy(pod, "ClusterFirst") && !pod->host_network);
}

static void write_conf(const struct sl_kube_pod *pod, const struct sl_addresses *known,
		       const struct sl_dns *cluster, FILE *out)
{
	char text[SL_CIDR_TEXT];

	for (size_t i = 0; i < known->n; i++)
		fprintf(out, "nameserver %s\n", sl_cidr_format(&known->list[i], text));
	for (size_t i = 0; i < pod->nameservers.n; i++)
		fprintf(out, "nameserver %s\n", pod->nameservers.list[i]);
	fprintf(out, "search");
	for (size_t i = 0; i < cluster->n_search; i++)
		fprintf(out, " %s", cluster->search[i]);
	for (size_t i = 0; i < pod->searches.n; i++)
		fprintf(out, " %s", pod->searches.list[i]);
	fprintf(out, "\n");
}

int sl_kube_expected_conf(const struct sl_kube *kube, const struct sl_kube_pod *pod, char **text)
{
	bool clusters = asks_the_cluster(pod);
	struct sl_addresses known = {};
	struct sl_dns dns = {};
	FILE *out = NULL;
	size_t len;
	int err = clusters ? find_known(kube, &known) : 0;

	*text = NULL;
	if (!err && known.n)
		err = take_search(kube, pod, &dns);
	if (!err && (known.n || is_policy(pod, "None"))) {
		out = open_memstream(text, &len);
		err = out ? 0 : -ENOMEM;
	}
	if (out) {
		write_conf(pod, &known, &dns, out);
		err = fclose(out) ? -ENOMEM : 0;
	}
	free(known.list);
	for (size_t i = 0; i < dns.n_search; i++)
		free(dns.search[i]);
	free(dns.search);
	return err;
}
