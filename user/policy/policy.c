// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Freeing a policy, and refusing what is not enforced yet. */
#include "policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

void sl_match_clear(struct sl_match *match)
{
	for (size_t i = 0; i < match->n_hosts; i++)
		free(match->hosts[i].text);
	for (size_t i = 0; i < match->n_uids; i++)
		free(match->uids[i].name);
	free(match->hosts);
	free(match->ports);
	free(match->protocols);
	free(match->uids);
	memset(match, 0, sizeof(*match));
}

bool sl_host_is_name(const struct sl_host *host)
{
	return host->kind == SL_HOST_NAME || host->kind == SL_HOST_SUFFIX ||
	       host->kind == SL_HOST_EVERY_NAME;
}

const struct sl_host *sl_match_name(const struct sl_match *match)
{
	for (size_t i = 0; i < match->n_hosts; i++) {
		if (sl_host_is_name(&match->hosts[i]))
			return &match->hosts[i];
	}
	return NULL;
}

const struct sl_host *sl_rule_name(const struct sl_rule *rule)
{
	const struct sl_host *host = NULL;

	for (size_t i = 0; i < rule->n_matches && !host; i++)
		host = sl_match_name(&rule->matches[i]);
	return host;
}

void sl_rule_free(struct sl_rule *rule)
{
	if (!rule)
		return;
	for (size_t i = 0; i < rule->n_matches; i++)
		sl_match_clear(&rule->matches[i]);
	free(rule->matches);
	free(rule->id);
	free(rule->reason);
	free(rule);
}

struct sl_rule *sl_policy_add_rule(struct sl_policy *policy, enum sl_action action)
{
	struct sl_rule *rule = calloc(1, sizeof(*rule));
	struct sl_item *item = NULL;

	if (rule && SL_ADD(rule->matches, rule->n_matches))
		item = SL_ADD(policy->items, policy->n_items);
	if (!item) {
		sl_rule_free(rule);
		return NULL;
	}
	rule->action = action;
	item->rule = rule;
	return rule;
}

void sl_set_free(struct sl_set *set)
{
	if (!set)
		return;
	free(set->name);
	free(set->path);
	free(set->cidrs);
	free(set);
}

void sl_test_clear(struct sl_test *test)
{
	free(test->text);
	free(test->name);
	memset(test, 0, sizeof(*test));
}

static void free_items(struct sl_policy *policy)
{
	for (size_t i = 0; i < policy->n_items; i++) {
		sl_rule_free(policy->items[i].rule);
		free(policy->items[i].include);
	}
	free(policy->items);
}

void sl_policy_free(struct sl_policy *policy)
{
	if (!policy)
		return;
	free_items(policy);
	for (size_t i = 0; i < policy->n_inbound; i++)
		sl_match_clear(&policy->inbound_matches[i]);
	for (size_t i = 0; i < policy->n_sets; i++)
		sl_set_free(policy->sets[i]);
	for (size_t i = 0; i < policy->n_tests; i++)
		sl_test_clear(&policy->tests[i]);
	for (size_t i = 0; i < policy->n_unenforced; i++)
		free(policy->unenforced[i].what);
	for (size_t i = 0; i < policy->dns.n_search; i++)
		free(policy->dns.search[i]);
	free(policy->dns.search);
	free(policy->dns.tls);
	free(policy->name);
	free(policy->resolvers);
	free(policy->inbound_matches);
	free(policy->sets);
	free(policy->tests);
	free(policy->unenforced);
	free(policy);
}

int sl_policy_refuse_unenforced(const struct sl_policy *policy, struct sl_diag *diag)
{
	for (size_t i = 0; i < policy->n_unenforced; i++) {
		const struct sl_unenforced *use = &policy->unenforced[i];

		sl_error(diag, &use->pos, "\"%s\": not enforced yet; it comes with the part \"%s\"",
			 use->what ? use->what : "?", use->part);
	}
	return policy->n_unenforced ? -EINVAL : 0;
}

