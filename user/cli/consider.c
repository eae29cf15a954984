// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <netinet/in.h>
#include <string.h>

#include "consider.h"

#define DNS_PORT 53
#define DNS_TLS_PORT 853

const char *sl_embedded_block(const struct sl_cidr *address, struct sl_cidr *block)
{
	static const struct {
		const char *text;
		struct sl_cidr cidr;
	} blocks[] = {
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

static bool host_covers(const struct sl_host *host, const struct sl_cidr *address)
{
	struct sl_cidr block;

	if (host->kind == SL_HOST_ANY)
		return !sl_embedded_block(address, &block);
	if (host->kind == SL_HOST_SET)
		return any_covers(host->set->cidrs, host->set->n_cidrs, address);
	return prefix_covers(&host->cidr, address);
}

static bool address_holds(const struct sl_match *match, const struct sl_cidr *address)
{
	for (size_t i = 0; i < match->n_hosts; i++)
		if (host_covers(&match->hosts[i], address))
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

static enum sl_why consider_match(const struct sl_match *match, const struct sl_asked *asked)
{
	const struct sl_test *flow = asked->flow;

	if (!address_holds(match, &asked->judged))
		return SL_WHY_ADDRESS;
	if (!protocol_holds(match, flow->protocol))
		return SL_WHY_PROTOCOL;
	if (!port_holds(match, flow->port))
		return SL_WHY_PORT;
	if (!icmp_holds(match, flow))
		return SL_WHY_ICMP;
	return uid_holds(match, flow) ? SL_WHY_MATCHES : SL_WHY_UID;
}

/* The gate's two rules: 53 to a resolver; all other 53 and 853. */
static enum sl_why consider_gate(const struct sl_policy *policy, bool resolver,
				 const struct sl_asked *asked)
{
	const struct sl_test *flow = asked->flow;

	if (flow->protocol != IPPROTO_TCP && flow->protocol != IPPROTO_UDP)
		return SL_WHY_PROTOCOL;
	if (flow->port != DNS_PORT && (resolver || flow->port != DNS_TLS_PORT))
		return SL_WHY_PORT;
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
		best.why = consider_match(&loaded->policy->inbound_matches[number - first], asked);
		return best;
	}
	if (!info->rule) {
		best.why = consider_gate(loaded->policy,
					 info->reason == SL_REASON_DNS_RESOLVER, asked);
		return best;
	}
	for (size_t i = 0; i < info->rule->n_matches; i++) {
		why = consider_match(&info->rule->matches[i], asked);
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
