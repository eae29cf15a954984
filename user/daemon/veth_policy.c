// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A cgroup's policy as a device can have it. A frame has no user: at the veth a rule with
 * `uid` allows for all of them, and denies for none; the cgroup's hooks have asked before. They
 * have also told what passes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/text.h"
#include "veths.h"

static void forget_uids(struct sl_match *match)
{
	for (size_t i = 0; i < match->n_uids; i++)
		free(match->uids[i].name);
	free(match->uids);
	match->uids = NULL;
	match->n_uids = 0;
}

static void drop_match(struct sl_rule *rule, size_t i)
{
	sl_match_clear(&rule->matches[i]);
	memmove(&rule->matches[i], &rule->matches[i + 1],
		(--rule->n_matches - i) * sizeof(*rule->matches));
}

/* False: nothing is left of it. */
static bool widen_rule(struct sl_rule *rule)
{
	for (size_t i = 0; i < rule->n_matches;) {
		if (!rule->matches[i].n_uids) {
			i++;
		} else if (rule->action == SL_DENY) {
			drop_match(rule, i);
		} else {
			forget_uids(&rule->matches[i++]);
		}
	}
	return rule->n_matches;
}

/* What passes is told where its socket is. */
static void quiet(enum sl_log *log)
{
	if (*log == SL_LOG_ALL)
		*log = SL_LOG_DENIED;
}

static void widen(struct sl_policy *policy)
{
	size_t kept = 0;

	quiet(&policy->log);
	for (size_t i = 0; i < policy->n_items; i++) {
		struct sl_item *item = &policy->items[i];

		if (item->rule)
			quiet(&item->rule->log);
		if (item->rule && !widen_rule(item->rule)) {
			sl_rule_free(item->rule);
			continue;
		}
		policy->items[kept++] = *item;
	}
	policy->n_items = kept;
}

/* The same policy once more, to be changed. 0 or -errno. */
static int copy(const struct sl_policy *policy, struct sl_policy **out, struct sl_diag *diag)
{
	size_t len;
	char *text = sl_policy_text(policy, &len);
	int err = text ? sl_policy_parse(text, len, "policy", SL_PARSE_POLICY, out, diag) : -ENOMEM;

	free(text);
	return err;
}

/* asks: the cgroup's, which are the pod's; the veth would take the node's. */
static int load(struct sl_target_group *group, const struct sl_given *source,
		const struct sl_policy *asks, struct sl_diag *diag)
{
	const struct sl_attach_options options = {.managed = true,
						  .enforce = source->attach.enforce,
						  .trust_clock = source->attach.trust_clock};
	struct sl_policy *policy = NULL;
	char *text = NULL;
	size_t len = 0;
	int err = copy(source->attach.parsed, &policy, diag);

	if (!err && asks && asks->has_dns)
		err = sl_policy_copy_asks(policy, asks);
	if (!err) {
		widen(policy);
		if (!policy->name) /* taken from the file's, which a text has not */
			policy->name = strdup(source->name);
		text = sl_policy_text(policy, &len);
		err = text ? sl_given_load_text(&group->given, &options, text, len, source->path,
						diag)
			   : -ENOMEM;
	}
	free(text);
	sl_policy_free(policy);
	return err;
}

static bool names_resolvers(const struct sl_rule *rule)
{
	for (size_t i = 0; rule && i < rule->n_matches; i++)
		for (size_t j = 0; j < rule->matches[i].n_hosts; j++)
			if (rule->matches[i].hosts[j].kind == SL_HOST_SET &&
			    !strcmp(rule->matches[i].hosts[j].text, "resolvers"))
				return true;
	return false;
}

/* What a device has not, or would say twice. */
static const char *unfit(const struct sl_given *source)
{
	const struct sl_policy *policy = source->attach.parsed;

	if (policy->dns.forward)
		return "its policy has \"mode: forward\", and what the forwarder learns of names "
		       "the veth does not know";
	for (size_t i = 0; i < policy->n_items; i++)
		if (names_resolvers(policy->items[i].rule))
			return "a rule has \"@resolvers\", which are the pod's own, and at the veth "
			       "the node's: write their addresses";
	if (source->attach.audit || (policy->mode == SL_MODE_AUDIT && !source->attach.enforce))
		return "its policy is in audit mode, and each denial would be told twice";
	return NULL;
}

int sl_veth_load(struct sl_target_group *group, const struct sl_watched_cgroup *w, char *why,
		 size_t size)
{
	const struct sl_given *source = &w->group->given;
	const char *cannot = unfit(source);
	struct sl_diag diag = {};
	int err = cannot ? -EOPNOTSUPP : 0;

	if (cannot)
		snprintf(why, size, "%s", cannot);
	else
		err = load(group, source, w->asks, &diag);
	if (err && !cannot) {
		snprintf(why, size, "%s", strerror(-err));
		for (size_t i = 0; i < diag.n; i++)
			if (diag.entries[i].severity == SL_ERROR) {
				snprintf(why, size, "%s", diag.entries[i].message);
				break;
			}
	}
	if (!err)
		why[0] = 0;
	sl_diag_free(&diag);
	return err;
}
