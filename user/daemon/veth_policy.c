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
static enum sl_log quiet(enum sl_log log)
{
	return log == SL_LOG_ALL ? SL_LOG_DENIED : log;
}

static void widen(struct sl_policy *policy)
{
	size_t kept = 0;

	policy->log = quiet(policy->log);
	for (size_t i = 0; i < policy->n_items; i++) {
		struct sl_item *item = &policy->items[i];

		if (item->rule)
			item->rule->log = quiet(item->rule->log);
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

static bool is_resolvers(const struct sl_host *host)
{
	return host->kind == SL_HOST_SET && !strcmp(host->text, "resolvers");
}

static bool names_resolvers(const struct sl_policy *policy)
{
	for (size_t i = 0; i < policy->n_items; i++) {
		const struct sl_rule *rule = policy->items[i].rule;

		for (size_t m = 0; rule && m < rule->n_matches; m++)
			for (size_t h = 0; h < rule->matches[m].n_hosts; h++)
				if (is_resolvers(&rule->matches[m].hosts[h]))
					return true;
	}
	return false;
}

/* @resolvers, as its addresses. 0 or -ENOMEM. */
static int write_out(struct sl_match *match, const struct sl_cidr *list, size_t n)
{
	struct sl_host *last;

	for (size_t h = 0; h < match->n_hosts;) {
		if (!is_resolvers(&match->hosts[h])) {
			h++;
			continue;
		}
		free(match->hosts[h].text);
		last = &match->hosts[--match->n_hosts];
		if (h != match->n_hosts)
			match->hosts[h] = *last;
		*last = (struct sl_host){};
		for (size_t i = 0; i < n; i++) {
			struct sl_host *host = SL_ADD(match->hosts, match->n_hosts);

			if (!host)
				return -ENOMEM;
			host->kind = SL_HOST_CIDR;
			host->cidr = list[i];
		}
	}
	return 0;
}

/* The pod's own: a device would take the node's. */
static int write_out_resolvers(struct sl_policy *policy, const struct sl_watched_cgroup *w)
{
	bool listed = policy->n_resolvers;
	int err = 0;

	for (size_t i = 0; i < policy->n_items && !err; i++) {
		struct sl_rule *rule = policy->items[i].rule;

		for (size_t m = 0; rule && m < rule->n_matches && !err; m++)
			err = write_out(&rule->matches[m], listed ? policy->resolvers : w->resolvers,
					listed ? policy->n_resolvers : w->n_resolvers);
	}
	return err;
}

static int load(struct sl_target_group *group, const struct sl_watched_cgroup *w, struct sl_diag *diag)
{
	const struct sl_given *source = &w->as.group->given;
	const struct sl_attach_options options = {.managed = true,
						  .binding.routed = true,
						  .enforce = source->attach.enforce,
						  .trust_clock = source->attach.trust_clock};
	struct sl_policy *policy = NULL;
	char *text = NULL;
	size_t len = 0;
	int err = copy(source->attach.parsed, &policy, diag);

	if (!err && w->asks && w->asks->has_dns)
		err = sl_policy_copy_asks(policy, w->asks);
	if (!err)
		err = write_out_resolvers(policy, w);
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

/* What a device has not, or would say twice. */
static const char *unfit(const struct sl_watched_cgroup *w)
{
	const struct sl_given *source = &w->as.group->given;
	const struct sl_policy *policy = source->attach.parsed;

	if (policy->dns.forward)
		return "its policy has \"mode: forward\", and what the forwarder learns of names "
		       "the veth does not know";
	if (!policy->n_resolvers && !w->n_resolvers && names_resolvers(policy))
		return "a rule has \"@resolvers\", and which the pod's own are is not known: write their "
		       "addresses";
	if (source->attach.audit || (policy->mode == SL_MODE_AUDIT && !source->attach.enforce))
		return "its policy is in audit mode, and each denial would be told twice";
	return NULL;
}

int sl_veth_load(struct sl_target_group *group, const struct sl_watched_cgroup *w, char *why,
		 size_t size)
{
	const char *cannot = unfit(w);
	struct sl_diag diag = {};
	int err = cannot ? -EOPNOTSUPP : 0;

	if (cannot)
		snprintf(why, size, "%s", cannot);
	else
		err = load(group, w, &diag);
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
