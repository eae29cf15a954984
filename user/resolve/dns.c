// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The gate: who may be asked, and what the target's resolver puts behind a name. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static int copy_resolvers(struct sl_resolver *r, bool system)
{
	const struct sl_environment *env = NULL;
	const struct sl_cidr *from = r->root->resolvers;
	size_t n = r->root->n_resolvers;

	if (system) {
		env = sl_resolver_environment(r, &r->root->pos);
		if (!env)
			return 0;
		from = env->resolvers;
		n = env->n_resolvers;
		if (!n)
			sl_fail(r, &r->root->pos,
				"dns resolvers: system, but resolv.conf names no server%s",
				r->root->dns_system ? ""
						    : ": rules by name need one; write "
						      "\"dns: {resolvers: [...]}\"");
	}
	if (!n)
		return 0;
	r->out->resolvers = reallocarray(NULL, n, sizeof(*from));
	if (!r->out->resolvers)
		return -ENOMEM;
	memcpy(r->out->resolvers, from, n * sizeof(*from));
	r->out->n_resolvers = n;
	return 0;
}

static int copy_search(struct sl_dns *dns, char *const *from, size_t n)
{
	dns->search = n ? calloc(n, sizeof(*dns->search)) : NULL;
	if (n && !dns->search)
		return -ENOMEM;
	for (; dns->n_search < n; dns->n_search++) {
		dns->search[dns->n_search] = strdup(from[dns->n_search]);
		if (!dns->search[dns->n_search])
			return -ENOMEM;
	}
	dns->has_search = true;
	return 0;
}

/* Only names have a use for search domains: without them nothing is read. */
static int resolve_search(struct sl_resolver *r, bool names)
{
	const struct sl_dns *src = &r->root->dns;
	const struct sl_environment *env;

	if (src->has_search)
		return copy_search(&r->out->dns, src->search, src->n_search);
	env = names ? sl_resolver_environment(r, &r->root->pos) : NULL;
	return env ? copy_search(&r->out->dns, env->search, env->n_search) : 0;
}

int sl_dns_resolve(struct sl_resolver *r)
{
	const struct sl_policy *src = r->root;
	bool names = r->any_name;
	int err;

	r->out->has_dns = src->has_dns || names;
	r->out->dns = src->dns;
	r->out->dns.search = NULL;
	r->out->dns.n_search = 0;
	r->out->dns.has_search = false;
	r->out->dns.tls = src->dns.tls ? strdup(src->dns.tls) : NULL;
	if (src->dns.tls && !r->out->dns.tls)
		return -ENOMEM;
	if (src->limits.dns_interval_ns && !r->out->has_dns)
		sl_fail(r, &src->limits.pos, "\"limits: dns\", but no question is judged: there is "
			"neither a \"dns\" block nor a rule by name");
	err = copy_resolvers(r, src->dns_system || ((names || src->dns.forward) && !src->n_resolvers));
	return err ? err : resolve_search(r, names);
}
