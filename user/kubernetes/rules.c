// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Rules in our language, as far as they can be read here: of names, and of sets that are the
 * pod's own (@gateway), nothing is known. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"
#include "policy/builtin.h"
#include "policy/text.h"

/* Of a set that the policy lists merge.c has put down which. */
static bool set_has(const struct sl_host *host, const struct sl_cidr *address)
{
	for (size_t i = 0; host->set && i < host->set->n_cidrs; i++)
		if (sl_cidr_within(address, &host->set->cidrs[i]))
			return true;
	return !host->set && sl_cidrs_have(sl_builtin_set(host->text), address);
}

static bool host_has(const struct sl_host *host, const struct sl_cidr *address)
{
	switch (host->kind) {
	case SL_HOST_ANY:
		return true;
	case SL_HOST_CIDR:
		return sl_cidr_within(address, &host->cidr);
	case SL_HOST_SET:
		return set_has(host, address);
	default:
		return false;
	}
}

static bool has_protocol(const struct sl_match *match, int protocol)
{
	for (size_t i = 0; i < match->n_protocols; i++)
		if (match->protocols[i] == SL_PROTOCOL_ANY || match->protocols[i] == protocol)
			return true;
	/* ports without a protocol are TCP's and UDP's */
	return !match->n_protocols &&
	       (!match->n_ports || protocol == IPPROTO_TCP || protocol == IPPROTO_UDP);
}

static bool has_port(const struct sl_match *match, __u16 port)
{
	for (size_t i = 0; i < match->n_ports; i++)
		if (port >= match->ports[i].low && port <= match->ports[i].high)
			return true;
	return !match->n_ports;
}

bool sl_kube_match_is_for(const struct sl_match *match, int protocol, __u16 port)
{
	return !match->has_icmp && has_protocol(match, protocol) && has_port(match, port);
}

static bool match_has(const struct sl_match *match, const struct sl_cidr *address, int protocol,
		      __u16 port)
{
	if (!sl_kube_match_is_for(match, protocol, port))
		return false;
	for (size_t i = 0; i < match->n_hosts; i++)
		if (host_has(&match->hosts[i], address))
			return true;
	return false;
}

bool sl_kube_is_conditional(const struct sl_rule *rule, const struct sl_match *match)
{
	return match->n_uids || rule->expiry != SL_EXPIRES_NEVER;
}

/* What is in it only the pod's network tells. */
static bool names_own_set(const struct sl_match *match)
{
	for (size_t i = 0; i < match->n_hosts; i++)
		if (match->hosts[i].kind == SL_HOST_SET && !match->hosts[i].set &&
		    !sl_builtin_set(match->hosts[i].text))
			return true;
	return false;
}

bool sl_kube_may_deny(const struct sl_policy *policy, size_t n, const struct sl_cidr *address,
		      int protocol, __u16 port, bool own_sets)
{
	for (size_t i = 0; i < n; i++) {
		const struct sl_rule *rule = policy->items[i].rule;

		for (size_t m = 0; rule && m < rule->n_matches; m++) {
			const struct sl_match *match = &rule->matches[m];

			if (own_sets && rule->action == SL_DENY && names_own_set(match) &&
			    sl_kube_match_is_for(match, protocol, port))
				return true;
			if (!match_has(match, address, protocol, port))
				continue;
			if (rule->action == SL_DENY)
				return true;
			if (!sl_kube_is_conditional(rule, match))
				return false;
		}
	}
	return false;
}

int sl_kube_copy_uids(const struct sl_match *from, struct sl_match *to)
{
	for (size_t i = 0; i < from->n_uids; i++) {
		struct sl_uid *slot = SL_ADD(to->uids, to->n_uids);

		if (!slot)
			return -ENOMEM;
		*slot = from->uids[i];
		slot->name = from->uids[i].name ? strdup(from->uids[i].name) : NULL;
		if (from->uids[i].name && !slot->name)
			return -ENOMEM;
	}
	return 0;
}
