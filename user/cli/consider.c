// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <netinet/in.h>
#include <string.h>

#include "consider.h"

#define DNS_PORT 53
#define DNS_TLS_PORT 853
#define N_GATE 2		/* the rules dns-resolver and dns-gate */

const char *sl_embedded_block(const struct sl_cidr *address, struct sl_cidr *block)
{
	static const struct {
		const char *text;
		struct sl_cidr cidr;
	} blocks[] = {
		{"::ffff:0:0:0/96", {{[8] = 0xff, [9] = 0xff}, 6, 96}},
		{"64:ff9b:1::/48", {{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, 6, 48}},
		{"2002::/16", {{0x20, 0x02}, 6, 16}},
		{"2001::/32", {{0x20, 0x01}, 6, 32}},
	};

	for (size_t i = 0; i < sizeof(blocks) / sizeof(*blocks); i++)
		if (sl_cidr_within(address, &blocks[i].cidr)) {
			*block = blocks[i].cidr;
			return blocks[i].text;
		}
	return NULL;
}

static bool prefix_covers(const struct sl_cidr *prefix, const struct sl_cidr *address)
{
	struct sl_cidr block;

	if (!sl_cidr_within(address, prefix))
		return false;
	return !sl_embedded_block(address, &block) || sl_cidr_within(prefix, &block);
}

static bool any_covers(const struct sl_cidr *prefixes, size_t n, const struct sl_cidr *address)
{
	for (size_t i = 0; i < n; i++)
		if (prefix_covers(&prefixes[i], address))
			return true;
	return false;
}

bool sl_host_names(const struct sl_host *host, const char *name)
{
	size_t len, suffix;

	if (host->kind == SL_HOST_EVERY_NAME)
		return true;
	if (host->kind == SL_HOST_NAME)
		return !strcmp(host->text, name);
	if (host->kind != SL_HOST_SUFFIX)
		return false;
	len = strlen(name);
	suffix = strlen(host->text);
	return len > suffix + 1 && name[len - suffix - 1] == '.' &&
	       !strcmp(name + len - suffix, host->text);
}

/* A name that may not be asked owns nothing; a deny by name is about questions. */
static bool owner_holds(const struct sl_host *host, enum sl_action action,
			const struct sl_asked *asked)
{
	return asked->owner && !asked->inbound && action == SL_ALLOW && !asked->question.deny &&
	       sl_host_names(host, asked->owner);
}

static bool host_covers(const struct sl_host *host, const struct sl_cidr *address)
{
	struct sl_cidr block;

	if (host->kind == SL_HOST_ANY)
		return !sl_embedded_block(address, &block);
	if (host->kind == SL_HOST_SET)
		return any_covers(host->set->cidrs, host->set->n_cidrs, address);
	return host->kind == SL_HOST_CIDR && prefix_covers(&host->cidr, address);
}

static bool host_holds(const struct sl_match *match, enum sl_action action,
		       const struct sl_asked *asked)
{
	for (size_t i = 0; i < match->n_hosts; i++)
		if (host_covers(&match->hosts[i], &asked->judged) ||
		    owner_holds(&match->hosts[i], action, asked))
			return true;
	return false;
}

static bool protocol_holds(const struct sl_match *match, int protocol)
{
	if (!match->n_protocols)
		return !match->n_ports || protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
	for (size_t i = 0; i < match->n_protocols; i++)
		if (match->protocols[i] == protocol || match->protocols[i] == SL_PROTOCOL_ANY)
			return true;
	return false;
}

static bool port_holds(const struct sl_match *match, __u16 port)
{
	for (size_t i = 0; i < match->n_ports; i++)
		if (port >= match->ports[i].low && port <= match->ports[i].high)
			return true;
	return !match->n_ports;
}

static bool icmp_holds(const struct sl_match *match, const struct sl_test *flow)
{
	if (!match->has_icmp)
		return true;
	return flow->icmp_type == match->icmp_type &&
	       (match->icmp_code < 0 || flow->icmp_code == match->icmp_code);
}

static bool uid_holds(const struct sl_match *match, const struct sl_test *flow)
{
	for (size_t i = 0; i < match->n_uids; i++)
		if (flow->has_uid && match->uids[i].number == flow->uid)
			return true;
	return !match->n_uids;
}

static enum sl_why consider_match(const struct sl_match *match, enum sl_action action,
				  const struct sl_asked *asked)
{
	const struct sl_test *flow = asked->flow;

	if (!host_holds(match, action, asked))
		return SL_WHY_ADDRESS;
	if (!protocol_holds(match, flow->protocol))
		return SL_WHY_PROTOCOL;
	if (!port_holds(match, flow->port))
		return SL_WHY_PORT;
	if (!icmp_holds(match, flow))
		return SL_WHY_ICMP;
	return uid_holds(match, flow) ? SL_WHY_MATCHES : SL_WHY_UID;
}

/* The gate's two rules: 53 to a resolver; all other 53, and 853 but for `dot: rules`. */
static enum sl_why consider_gate(const struct sl_policy *policy, bool resolver,
				 const struct sl_asked *asked)
{
	const struct sl_test *flow = asked->flow;

	if (flow->protocol != IPPROTO_TCP && flow->protocol != IPPROTO_UDP)
		return SL_WHY_PROTOCOL;
	if (flow->port != DNS_PORT &&
	    (resolver || flow->port != DNS_TLS_PORT || policy->dns.dot_by_rules))
		return SL_WHY_PORT;
	if (resolver && policy->dns.forward)	/* without `listen` a run alone knows where */
		return policy->dns.has_listen && any_covers(&policy->dns.listen, 1, &asked->judged) ?
			       SL_WHY_MATCHES : SL_WHY_ADDRESS;
	if (resolver && !any_covers(policy->resolvers, policy->n_resolvers, &asked->judged))
		return SL_WHY_ADDRESS;
	return SL_WHY_MATCHES;
}

static bool is_over(const struct sl_loaded *loaded, const struct sl_rule *rule,
		    const struct sl_asked *asked)
{
	__s64 now_s = ((__s64)asked->now_ns + loaded->boot_epoch_ns) / 1000000000;

	return rule->expiry != SL_EXPIRES_NEVER && now_s >= rule->expires_s;
}

void sl_consider_range(const struct sl_loaded *loaded, bool inbound, __u32 *first, __u32 *end)
{
	__u32 n = loaded->compiled.n_rules;
	__u32 from = n - loaded->policy->n_inbound;

	/* `inbound: allow` asks nothing. */
	*first = inbound ? from : 0;
	*end = inbound ? n : from;
	/* Behind the gate's two only dns-search has no text: it is about questions. */
	if (!inbound && from > N_GATE && !loaded->compiled.rules[from - 1].rule)
		--*end;
}

struct sl_considered sl_consider(const struct sl_loaded *loaded, __u32 number,
				 const struct sl_asked *asked)
{
	const struct sl_rule_info *info = &loaded->compiled.rules[number];
	struct sl_considered best = {};
	enum sl_why why;
	__u32 first, end;

	sl_consider_range(loaded, true, &first, &end);
	if (number >= first) {
		best.why = consider_match(&loaded->policy->inbound_matches[number - first],
					  SL_ALLOW, asked);
		return best;
	}
	if (!info->rule) {
		best.why = consider_gate(loaded->policy,
					 info->reason == SL_REASON_DNS_RESOLVER, asked);
		return best;
	}
	for (size_t i = 0; i < info->rule->n_matches; i++) {
		why = consider_match(&info->rule->matches[i], info->action, asked);
		if (why > best.why)
			best = (struct sl_considered){why, i};
	}
	if (best.why == SL_WHY_MATCHES && is_over(loaded, info->rule, asked))
		best.why = SL_WHY_EXPIRED;
	return best;
}

__u32 sl_consider_all(const struct sl_loaded *loaded, const struct sl_asked *asked)
{
	__u32 number, end;

	sl_consider_range(loaded, asked->inbound, &number, &end);
	for (; number < end; number++)
		if (sl_consider(loaded, number, asked).why == SL_WHY_MATCHES)
			return number;
	return SL_NONE;
}

/* What holds where no rule matches. */
static bool default_agrees(const struct sl_policy *policy, const struct sl_asked *asked)
{
	const struct sl_answer *a = &asked->answer;
	struct sl_cidr block;

	if (asked->inbound && policy->inbound == SL_INBOUND_ALLOW)
		return !a->deny && a->reason == SL_REASON_INBOUND;
	if (asked->inbound)
		return a->deny && a->reason == SL_REASON_UNSOLICITED;
	if (sl_embedded_block(&asked->judged, &block))
		return a->deny && a->reason == SL_REASON_EMBEDDED;
	return a->deny == (policy->default_action == SL_DENY) && a->reason == SL_REASON_DEFAULT;
}

bool sl_consider_agrees(const struct sl_loaded *loaded, const struct sl_asked *asked,
			__u32 first_match)
{
	const struct sl_rule_info *info;

	if (asked->answer.rule != first_match)
		return false;
	if (first_match == SL_NONE)
		return default_agrees(loaded->policy, asked);
	info = &loaded->compiled.rules[first_match];
	return asked->answer.deny == (info->action == SL_DENY) &&
	       asked->answer.reason == info->reason;
}

/* ---- questions ---- */

static const struct sl_host *covering_host(const struct sl_rule *rule, const char *name)
{
	for (size_t i = 0; i < rule->n_matches; i++)
		for (size_t k = 0; k < rule->matches[i].n_hosts; k++)
			if (sl_host_names(&rule->matches[i].hosts[k], name))
				return &rule->matches[i].hosts[k];
	return NULL;
}

/* A name that some allow rule names by more than a star. */
static bool allowed_somewhere(const struct sl_loaded *loaded, const char *name)
{
	const struct sl_policy *policy = loaded->policy;

	for (size_t i = 0; i < policy->n_items; i++) {
		const struct sl_rule *rule = policy->items[i].rule;

		for (size_t m = 0; rule->action == SL_ALLOW && m < rule->n_matches; m++)
			for (size_t k = 0; k < rule->matches[m].n_hosts; k++)
				if (rule->matches[m].hosts[k].kind != SL_HOST_EVERY_NAME &&
				    sl_host_names(&rule->matches[m].hosts[k], name))
					return true;
	}
	return false;
}

/* Is it a name that may be asked with a search domain behind it? */
static bool is_searched(const struct sl_loaded *loaded, const char *name)
{
	const struct sl_dns *dns = &loaded->policy->dns;
	char head[SL_NAME_CHARACTERS + 1];

	for (size_t i = 0; i < dns->n_search; i++) {
		size_t len = strlen(name), domain = strlen(dns->search[i]);

		if (len <= domain + 1 || len > SL_NAME_CHARACTERS || name[len - domain - 1] != '.' ||
		    strcmp(name + len - domain, dns->search[i]))
			continue;
		memcpy(head, name, len - domain - 1);
		head[len - domain - 1] = 0;
		if (allowed_somewhere(loaded, head))
			return true;
	}
	return false;
}

const struct sl_host *sl_consider_question(const struct sl_loaded *loaded,
					   const struct sl_asked *asked, bool *agrees)
{
	const struct sl_answer *answer = &asked->question;
	const struct sl_host *host;

	for (__u32 i = 0; i < loaded->compiled.n_rules; i++) {
		const struct sl_rule_info *info = &loaded->compiled.rules[i];

		host = info->rule ? covering_host(info->rule, asked->owner) : NULL;
		if (!host || is_over(loaded, info->rule, asked))
			continue;
		*agrees = answer->rule == i && answer->deny == (info->action == SL_DENY);
		return host;
	}
	if (answer->flags & SL_F_QUERIES_ANY)
		*agrees = answer->rule == SL_NONE && !answer->deny;
	else if (is_searched(loaded, asked->owner))
		*agrees = answer->rule != SL_NONE && !answer->deny &&
			  !strcmp(sl_answer_rule(loaded, answer), "dns-search");
	else
		*agrees = answer->rule == SL_NONE && answer->deny;
	return NULL;
}
