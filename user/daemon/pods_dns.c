// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The cluster's resolvers and search domains. Its kubelet writes them into the resolv.conf of each
 * pod whose maker names no others, and so into that of sluiced's own, which an administrator makes.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "policy/text.h"

static bool add_text(struct sl_kube_dns *dns, const char *text)
{
	char *copy = strdup(text), **slot = copy ? SL_ADD(dns->domains, dns->n_domains) : NULL;

	if (slot)
		*slot = copy;
	else
		free(copy);
	return slot;
}

static bool add_resolver(struct sl_kube_dns *dns, const struct sl_cidr *resolver)
{
	struct sl_cidr *slot = SL_ADD(dns->resolvers.list, dns->resolvers.n);

	if (slot)
		*slot = *resolver;
	return slot;
}

/* NAMESPACE.svc.DOMAIN is first where a kubelet wrote it for that namespace: DOMAIN. NULL: it is not. */
static const char *domain_of(const struct sl_environment *env, const char *namespace)
{
	const char *first = env->n_search ? env->search[0] : "";
	size_t len = strlen(namespace);

	if (!len || strncmp(first, namespace, len) || strncmp(first + len, ".svc.", 5))
		return NULL;
	return first + len + 5;
}

static bool take_domains(struct sl_kube_dns *dns, const struct sl_environment *env, const char *domain)
{
	bool ok = add_text(dns, domain);

	for (size_t i = 1; i < env->n_search && ok; i++)
		if (strcmp(env->search[i], domain) &&
		    (strncmp(env->search[i], "svc.", 4) || strcmp(env->search[i] + 4, domain)))
			ok = add_text(dns, env->search[i]);
	return ok;
}

/* Of the pod that sluiced is in; nothing where it is in none, or has its node's resolvers. */
static void take_own(const struct sl_config_kubernetes *k, struct sl_kube_dns *dns)
{
	const char *namespace = getenv("POD_NAMESPACE"), *domain;
	struct sl_environment env = {};
	bool ok = true;

	if (!namespace || sl_environment_take_conf(NULL, &env))
		return;
	domain = domain_of(&env, namespace);
	if (domain && !k->n_domains)
		ok = take_domains(dns, &env, domain);
	for (size_t i = 0; domain && !k->n_resolvers && i < env.n_resolvers && ok; i++)
		ok = add_resolver(dns, &env.resolvers[i]);
	sl_environment_free(&env);
}

void sl_pods_know_dns(struct sl_daemon *d)
{
	const struct sl_config_kubernetes *k = &d->config->kubernetes;
	struct sl_kube_dns *dns = &d->pods.dns;
	struct sl_cidr cidr;
	bool masked, ok = true;

	sl_pods_forget_dns(&d->pods);
	dns->decided = k->n_resolvers;
	for (size_t i = 0; i < k->n_resolvers && ok; i++)
		ok = sl_cidr_parse(k->resolvers[i], strlen(k->resolvers[i]), &cidr, &masked) ||
		     add_resolver(dns, &cidr);
	for (size_t i = 0; i < k->n_domains && ok; i++)
		ok = add_text(dns, k->domains[i]);
	take_own(k, dns);
}

void sl_pods_forget_dns(struct sl_pods *p)
{
	for (size_t i = 0; i < p->dns.n_domains; i++)
		free(p->dns.domains[i]);
	free(p->dns.domains);
	free(p->dns.resolvers.list);
	memset(&p->dns, 0, sizeof(p->dns));
}
