// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Freeing a policy, and refusing what is not enforced yet. */
#include "policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "short_rule.h"
#include "text.h"

void sl_match_clear(struct sl_match *match)
{
	if (match->borrowed) {
		memset(match, 0, sizeof(*match));
		return;
	}
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

static char *own_id(struct sl_rule *rule)
{
	return rule->short_form ? ((struct sl_short_rule *)rule)->id : NULL;
}

void sl_rule_set_id(struct sl_rule *rule, char *id)
{
	if (rule->id != own_id(rule))
		free(rule->id);
	rule->id = id;
}

int sl_rule_take_default_id(struct sl_rule *rule)
{
	char *id = own_id(rule);

	if (!id)
		id = malloc(SL_DEFAULT_ID_BYTES);
	if (!id)
		return -ENOMEM;
	sl_rule_default_id(rule, id, SL_DEFAULT_ID_BYTES);
	rule->id = id;
	return 0;
}

void sl_rule_free(struct sl_rule *rule)
{
	if (!rule)
		return;
	sl_rule_set_id(rule, NULL);
	free(rule->reason);
	for (size_t i = 0; i < rule->n_matches && !rule->short_form; i++)
		sl_match_clear(&rule->matches[i]);
	if (!rule->short_form)
		free(rule->matches);
	free(rule);
}

static void drop_search(struct sl_dns *dns)
{
	for (size_t i = 0; i < dns->n_search; i++)
		free(dns->search[i]);
	free(dns->search);
	dns->search = NULL;
	dns->n_search = 0;
}

int sl_policy_copy_asks(struct sl_policy *to, const struct sl_policy *from)
{
	size_t size = from->n_resolvers * sizeof(*from->resolvers);
	struct sl_cidr *resolvers = malloc(size + 1);

	if (!resolvers)
		return -ENOMEM;
	if (size)
		memcpy(resolvers, from->resolvers, size);
	free(to->resolvers);
	to->resolvers = resolvers;
	to->n_resolvers = from->n_resolvers;
	to->has_dns = from->has_dns;
	to->dns_system = false;
	drop_search(&to->dns);
	to->dns.has_search = from->dns.has_search;
	for (size_t i = 0; i < from->dns.n_search; i++) {
		char **slot = SL_ADD(to->dns.search, to->dns.n_search);

		if (!slot || !(*slot = strdup(from->dns.search[i])))
			return -ENOMEM;
	}
	return 0;
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
		if (!policy->lent)
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
	drop_search(&policy->dns);
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

