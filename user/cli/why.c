// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Why a rule did not match, in words. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "consider.h"

#define LISTED_MAX 6	/* of a rule's hosts, ports, ...; the rest is counted */

static bool same_place(const struct sl_pos *a, const struct sl_pos *b)
{
	return a->line == b->line && a->column == b->column && a->file && b->file &&
	       !strcmp(a->file, b->file);
}

const struct sl_rule *sl_written_rule(const struct sl_loaded *loaded, __u32 number,
				      size_t *cursor)
{
	const struct sl_rule *rule = loaded->compiled.rules[number].rule;
	const struct sl_policy *written = loaded->written;

	if (!rule || !written || !rule->pos.file || !written->pos.file ||
	    strcmp(rule->pos.file, written->pos.file))
		return rule;
	/* The file's own rules stand in the same order in both. */
	for (size_t i = *cursor; i < written->n_items; i++)
		if (written->items[i].rule && same_place(&written->items[i].rule->pos, &rule->pos)) {
			*cursor = i + 1;
			return written->items[i].rule;
		}
	return rule;
}

/* `, `, ` or ` or nothing in front of element i of n; false beyond those listed. */
static bool separate(size_t i, size_t n, FILE *out)
{
	if (i == LISTED_MAX && n > LISTED_MAX + 1) {
		fprintf(out, " or %zu more", n - i);
		return false;
	}
	if (i)
		fputs(i + 1 == n ? " or " : ", ", out);
	return true;
}

static void put_hosts(const struct sl_match *match, FILE *out)
{
	for (size_t i = 0; i < match->n_hosts && separate(i, match->n_hosts, out); i++) {
		struct sl_match one = {.hosts = &match->hosts[i], .n_hosts = 1};
		char *text = sl_match_canonical(&one);

		fputs(text ? text : "?", out);
		free(text);
	}
}

static void put_ports(const struct sl_match *match, FILE *out)
{
	for (size_t i = 0; i < match->n_ports && separate(i, match->n_ports, out); i++)
		fprintf(out, match->ports[i].low == match->ports[i].high ? "%u" : "%u-%u",
			match->ports[i].low, match->ports[i].high);
}

static void put_protocol(int protocol, FILE *out)
{
	const char *name = sl_protocol_name(protocol);

	if (name)
		fputs(name, out);
	else
		fprintf(out, "%d", protocol);
}

static void put_protocols(const struct sl_match *match, FILE *out)
{
	if (!match->n_protocols)
		fputs("tcp or udp", out);
	for (size_t i = 0; i < match->n_protocols && separate(i, match->n_protocols, out); i++)
		put_protocol(match->protocols[i], out);
}

static void put_uids(const struct sl_match *match, FILE *out)
{
	for (size_t i = 0; i < match->n_uids && separate(i, match->n_uids, out); i++)
		if (match->uids[i].kind == SL_UID_NAME)
			fputs(match->uids[i].name, out);
		else
			fprintf(out, "%u", match->uids[i].number);
}

static void put_time(__s64 seconds, FILE *out)
{
	time_t t = seconds;
	struct tm tm;
	char buf[40];

	if (gmtime_r(&t, &tm) && strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%SZ", &tm))
		fputs(buf, out);
}

/* Would the match cover the address if it did not embed another? */
static bool contains(const struct sl_match *match, const struct sl_cidr *address)
{
	const struct sl_host *host;

	for (size_t i = 0; i < match->n_hosts; i++) {
		host = &match->hosts[i];
		if (host->kind == SL_HOST_ANY ||
		    (host->kind == SL_HOST_CIDR && sl_cidr_within(address, &host->cidr)))
			return true;
		for (size_t k = 0; host->set && k < host->set->n_cidrs; k++)
			if (sl_cidr_within(address, &host->set->cidrs[k]))
				return true;
	}
	return false;
}

static bool covers_family(const struct sl_match *match, __u8 family)
{
	const struct sl_host *host;

	for (size_t i = 0; i < match->n_hosts; i++) {
		host = &match->hosts[i];
		if (host->kind == SL_HOST_CIDR && host->cidr.family == family)
			return true;
		for (size_t k = 0; host->set && k < host->set->n_cidrs; k++)
			if (host->set->cidrs[k].family == family)
				return true;
	}
	return false;
}

/* Why names do not cover it; false if the match has none. */
static bool put_names(const struct sl_match *match, const struct sl_match *written,
		      const struct sl_asked *asked, enum sl_action action, FILE *out)
{
	bool mixed = false;

	if (!sl_match_name(match))
		return false;
	for (size_t i = 0; i < match->n_hosts; i++)
		mixed |= match->hosts[i].kind <= SL_HOST_SET;
	if (action == SL_DENY && !mixed) {
		fputs("a deny by name is about the question, not about connections", out);
		return true;
	}
	if (asked->owner)
		fprintf(out, mixed ? "neither the address nor %s is in " : "%s is not in ",
			asked->owner);
	else
		fputs("no name is known to own the address (see --name), which is not in ", out);
	put_hosts(written, out);
	if (asked->owner && asked->question.deny)
		fputs("; a name that may not be asked owns nothing", out);
	return true;
}

/* match: resolved; written: the same match with its sets by name. */
static void put_address(const struct sl_match *match, const struct sl_match *written,
			const struct sl_asked *asked, enum sl_action action, FILE *out)
{
	const struct sl_cidr *address = &asked->judged;
	struct sl_cidr block;
	const char *name = sl_embedded_block(address, &block);

	if (put_names(match, written, asked, action, out))
		return;

	if (name && contains(match, address)) {
		put_hosts(written, out);
		fprintf(out, " does not cover %s, which embeds IPv4: only a prefix inside that "
			"block does", name);
		return;
	}
	fprintf(out, covers_family(match, address->family)
			     ? "address is not in "
			     : address->family == 4 ? "an IPv4 address is not in "
						    : "an IPv6 address is not in ");
	put_hosts(written, out);
}

static void put_icmp(const struct sl_match *match, const struct sl_test *flow, FILE *out)
{
	if (flow->icmp_type != match->icmp_type)
		fprintf(out, "icmp type is %u, not %u", flow->icmp_type, match->icmp_type);
	else
		fprintf(out, "icmp code is %u, not %d", flow->icmp_code, match->icmp_code);
}

static void put_uid(const struct sl_match *match, const struct sl_test *flow, FILE *out)
{
	if (flow->has_uid)
		fprintf(out, "uid is %u, not ", flow->uid);
	else
		fputs("the flow has no uid (see --uid), the rule wants ", out);
	put_uids(match, out);
}

static void put_why(enum sl_why why, const struct sl_match *match,
		    const struct sl_match *written, const struct sl_asked *asked,
		    enum sl_action action, FILE *out)
{
	switch (why) {
	case SL_WHY_ADDRESS:
		put_address(match, written, asked, action, out);
		break;
	case SL_WHY_PROTOCOL:
		fputs("protocol is ", out);
		put_protocol(asked->flow->protocol, out);
		fputs(", not ", out);
		put_protocols(match, out);
		break;
	case SL_WHY_PORT:
		fprintf(out, "port is %u, not ", asked->flow->port);
		put_ports(match, out);
		break;
	case SL_WHY_ICMP:
		put_icmp(match, asked->flow, out);
		break;
	default:
		put_uid(match, asked->flow, out);
		break;
	}
}

/* only_53: the rule's only port. */
static void put_gate_why(enum sl_why why, bool only_53, const struct sl_asked *asked, FILE *out)
{
	if (why == SL_WHY_PROTOCOL) {
		fputs("protocol is ", out);
		put_protocol(asked->flow->protocol, out);
		fputs(", not tcp or udp", out);
	} else if (why == SL_WHY_PORT) {
		fprintf(out, "port is %u, not 53%s", asked->flow->port, only_53 ? "" : " or 853");
	} else {
		fprintf(out, "address is %s", asked->answer.flags & SL_F_FORWARD ? "not the forwarder's" :
			"none of the policy's resolvers");
	}
}

/* The hosts of all matches as one match; *hosts is the caller's. */
static struct sl_match join_hosts(const struct sl_rule *rule, struct sl_host **hosts)
{
	size_t n = 0;

	for (size_t i = 0; i < rule->n_matches; i++)
		n += rule->matches[i].n_hosts;
	*hosts = calloc(n ? n : 1, sizeof(**hosts));
	n = 0;
	for (size_t i = 0; *hosts && i < rule->n_matches; i++) {
		memcpy(*hosts + n, rule->matches[i].hosts,
		       rule->matches[i].n_hosts * sizeof(**hosts));
		n += rule->matches[i].n_hosts;
	}
	return (struct sl_match){.hosts = *hosts, .n_hosts = n};
}

static void put_no_address(const struct sl_rule *rule, const struct sl_rule *written,
			   const struct sl_asked *asked, FILE *out)
{
	struct sl_host *hosts, *written_hosts;
	struct sl_match match = join_hosts(rule, &hosts);
	struct sl_match as_written = join_hosts(written, &written_hosts);

	put_address(&match, &as_written, asked, rule->action, out);
	free(hosts);
	free(written_hosts);
}

static void put_rule_why(const struct sl_rule *rule, const struct sl_rule *written,
			 const struct sl_considered *considered, const struct sl_asked *asked,
			 FILE *out)
{
	const struct sl_match *match = &rule->matches[considered->match], *as_written = match;

	if (considered->why == SL_WHY_EXPIRED) {
		fputs("expired at ", out);
		put_time(rule->expires_s, out);
		return;
	}
	if (considered->why == SL_WHY_ADDRESS) {
		put_no_address(rule, written, asked, out);
		return;
	}
	for (size_t i = 0; i < written->n_matches; i++)
		if (same_place(&written->matches[i].pos, &match->pos))
			as_written = &written->matches[i];
	put_why(considered->why, match, as_written, asked, rule->action, out);
	if (rule->n_matches > 1)
		fprintf(out, " (the closest of its %zu matches)", rule->n_matches);
}

static void put_any_why(const struct sl_loaded *loaded, __u32 number,
			const struct sl_rule *written, const struct sl_considered *considered,
			const struct sl_asked *asked, FILE *out)
{
	const struct sl_rule_info *info = &loaded->compiled.rules[number];
	const struct sl_policy *policy = loaded->written ? loaded->written : loaded->policy;
	__u32 first, end;

	sl_consider_range(loaded, true, &first, &end);
	if (number >= first)
		put_why(considered->why, &loaded->policy->inbound_matches[number - first],
			&policy->inbound_matches[number - first], asked, SL_ALLOW, out);
	else if (!info->rule)
		put_gate_why(considered->why, info->reason == SL_REASON_DNS_RESOLVER ||
			     policy->dns.dot_by_rules, asked, out);
	else
		put_rule_why(info->rule, written, considered, asked, out);
}

char *sl_why_text(const struct sl_loaded *loaded, __u32 number, const struct sl_rule *written,
		  const struct sl_considered *considered, const struct sl_asked *asked)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	put_any_why(loaded, number, written, considered, asked, out);
	if (!fclose(out))
		return text;
	free(text);
	return NULL;
}
