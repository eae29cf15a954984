// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Policies that mean the same for every target, today and tomorrow. */
#include <string.h>

#include "internal.h"

/* Written in the policy itself. A built-in one of that name is an error of the resolution. */
static bool set_stays(const struct sl_policy *policy, const struct sl_host *host)
{
	for (size_t i = 0; i < policy->n_sets; i++)
		if (!strcmp(policy->sets[i]->name, host->text))
			return !policy->sets[i]->path;
	return false;
}

static bool match_stays(const struct sl_policy *policy, const struct sl_match *match)
{
	for (size_t i = 0; i < match->n_hosts; i++) {
		const struct sl_host *host = &match->hosts[i];

		if (sl_host_is_name(host) ||
		    (host->kind == SL_HOST_SET && !set_stays(policy, host)))
			return false;
	}
	for (size_t i = 0; i < match->n_uids; i++)
		if (match->uids[i].kind != SL_UID_NUMBER)
			return false;
	return true;
}

static bool rule_stays(const struct sl_policy *policy, const struct sl_rule *rule)
{
	if (!rule || rule->expiry != SL_EXPIRES_NEVER)
		return false;
	for (size_t i = 0; i < rule->n_matches; i++)
		if (!match_stays(policy, &rule->matches[i]))
			return false;
	return true;
}

bool sl_policy_stays(const struct sl_policy *policy)
{
	if (policy->has_dns)
		return false;
	for (size_t i = 0; i < policy->n_inbound; i++)
		if (!match_stays(policy, &policy->inbound_matches[i]))
			return false;
	for (size_t i = 0; i < policy->n_items; i++)
		if (!rule_stays(policy, policy->items[i].rule))
			return false;
	return true;
}
