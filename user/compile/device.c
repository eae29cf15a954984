// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What a policy says that a device cannot do, or that a guest could use. */
#include "device.h"

#include <endian.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Prefixes compared, and questions to the table at the price of ASK of them: some
 * 0.1 s in all. A policy that wants more is told that not all of it was looked at. */
#define BUDGET 10000000
#define ASK 20

enum group { HOST, NEIGHBOURS, N_GROUPS };

struct review {
	const struct sl_policy *policy;
	const struct sl_compiled *compiled;
	const struct sl_environment *env;
	const struct sl_binding *binding;
	__u64 now_ns;
	struct sl_diag *diag;
	const struct sl_cidr *subnet;	/* env's, or what stands for it */
	size_t n_subnet;
	bool *said;			/* by rule and group; the last rule: default */
	size_t budget, n;
};

/* An address as the table has it, and as a text. */
struct place {
	enum group group;
	__u64 high, low;
	struct sl_cidr cidr;
};

/* ---- refusals ---- */

static const struct sl_uid *uid_of(const struct sl_rule *rule)
{
	for (size_t i = 0; i < rule->n_matches; i++)
		if (rule->matches[i].n_uids)
			return rule->matches[i].uids;
	return NULL;
}

int sl_device_refuse(const struct sl_policy *policy, struct sl_diag *diag)
{
	const struct sl_rule *rule;
	int err = 0;

	if (policy->dns.forward)
		err = sl_error(diag, &policy->dns.pos, "\"mode: forward\" needs a process that "
			       "answers, which `sluice run`, and sluiced for cgroups, have and a device "
			       "has not: take it out of the policy for a device; the kernel then "
			       "reads DNS as it passes");
	for (size_t i = 0; i < policy->n_items; i++) {
		rule = policy->items[i].rule;
		if (rule && uid_of(rule))
			err = sl_error(diag, &rule->pos, "rule '%s' is for the uid %u, and a device "
				       "has no users: take `uid` out of it, or the rule out of the "
				       "policy, for a device", rule->id, uid_of(rule)->number);
	}
	return err;
}

/* ---- which rules name what they allow ---- */

static bool pay(struct review *r, size_t price)
{
	r->budget -= price < r->budget ? price : r->budget;
	return r->budget;
}

static bool in_list(struct review *r, const struct sl_cidr *c, const struct sl_cidr *list, size_t n)
{
	for (size_t i = 0; i < n && pay(r, 1); i++)
		if (sl_cidr_within(c, &list[i]))
			return true;
	return false;
}

/* True for a prefix of the host, its gateway or its subnet, or a part of one. */
static bool names_network(struct review *r, const struct sl_cidr *c)
{
	return in_list(r, c, r->subnet, r->n_subnet) ||
	       in_list(r, c, r->env->gateway, r->env->n_gateway) ||
	       in_list(r, c, r->env->host, r->env->n_host);
}

static bool host_names(struct review *r, const struct sl_host *host, const struct place *at)
{
	const struct sl_cidr *cidrs = &host->cidr;
	size_t n = 1, i;

	if (host->kind == SL_HOST_ANY)
		return false;
	if (host->kind == SL_HOST_SET) {
		cidrs = host->set->cidrs;
		n = host->set->n_cidrs;
	}
	for (i = 0; i < n && pay(r, 1); i++)
		if (sl_cidr_within(&at->cidr, &cidrs[i]) && names_network(r, &cidrs[i]))
			return true;
	return false;
}

static bool has_key(const struct sl_match *match, __u32 key)
{
	struct sl_arena arena = {};
	struct entry e = {};
	bool has = false;

	if (!entry_keys(&arena, &e, match))
		for (size_t i = 0; i < e.n_keys; i++)
			has |= e.keys[i].low <= key && key <= e.keys[i].high;
	sl_arena_free(&arena);
	return has;
}

static bool rule_names(struct review *r, const struct sl_rule *rule, const struct place *at,
		       __u32 key)
{
	for (size_t i = 0; i < rule->n_matches; i++) {
		const struct sl_match *match = &rule->matches[i];

		for (size_t k = 0; k < match->n_hosts && has_key(match, key); k++)
			if (host_names(r, &match->hosts[k], at))
				return true;
	}
	return false;
}

/* ---- what is said ---- */

/* `443/tcp`, `icmp` or `protocol 47`; buf of 32 bytes. */
static const char *key_text(__u32 key, char buf[32])
{
	int protocol = key >> 16;
	const char *name = sl_protocol_name(protocol);

	if (!name)
		snprintf(buf, 32, "protocol %d", protocol);
	else if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6)
		snprintf(buf, 32, "%s", name);
	else
		snprintf(buf, 32, "%u/%s", key & 0xffff, name);
	return buf;
}

static void say(struct review *r, const struct sl_rule_info *rule, const struct place *at,
		__u32 key)
{
	static const char *const whom[] = {"the host", "its neighbours"};
	static const char *const set[] = {"@host", "@subnet"};
	bool guess = at->group == NEIGHBOURS && !r->env->n_subnet;
	char who[SL_ID_MAX + 16] = "default: allow", address[SL_CIDR_TEXT], port[32];

	if (rule)
		snprintf(who, sizeof(who), "rule '%s'", rule->id);
	sl_cidr_format(&at->cidr, address);
	key_text(key, port);
	if (guess)
		sl_warn(r->diag, rule ? &rule->pos : &r->policy->pos, "%s lets the guest reach "
			"private addresses, %s by %s for one, and the host has no address on the "
			"device's network, which may be any of them: deny the network's prefix "
			"before", who, address, port);
	else
		sl_warn(r->diag, rule ? &rule->pos : &r->policy->pos, "%s lets the guest reach %s, "
			"%s by %s for one: put `- deny: \"%s\"` before, or name the address in a "
			"rule of its own if that is meant", who, whom[at->group], address, port,
			set[at->group]);
	r->n++;
}

/* ---- what the table lets pass ---- */

static void ask(struct review *r, const struct place *at, __u32 key)
{
	const struct sl_compiled *c = r->compiled;
	struct sl_question q = {.address_high = at->high, .address_low = at->low,
				.now_ns = r->now_ns, .family = at->cidr.family,
				.protocol = key >> 16, .key = (__u16)key};
	const struct sl_rule_info *rule = NULL;
	struct sl_answer a;
	bool *said;

	if (!pay(r, ASK) || !sl_table_judge(&c->table, &q, &a) || a.deny)
		return;
	said = &r->said[(a.rule == SL_NONE ? c->n_rules : a.rule) * N_GROUPS + at->group];
	if (a.rule != SL_NONE)
		rule = &c->rules[a.rule];
	/* A resolver is named where it stands. */
	if (*said || (rule && !rule->rule) || (rule && rule_names(r, rule->rule, at, key)) ||
	    !r->budget)
		return;
	*said = true;
	say(r, rule, at, key);
}

static void ask_row(struct review *r, const struct place *at, __u64 ports)
{
	const __u64 *words = r->compiled->table.words;

	for (__u64 i = 0; i < ports >> 32; i++)
		ask(r, at, words[(__u32)ports + i] >> 32);
}

/* Every key at which the verdict about the address may change. */
static void ask_all(struct review *r, const struct place *at, __u32 class)
{
	/* First, because that is what a reader knows. */
	static const __u32 known[] = {IPPROTO_TCP << 16 | 22, IPPROTO_TCP << 16 | 80,
				      IPPROTO_TCP << 16 | 443, IPPROTO_UDP << 16 | 53};
	const __u64 *words = r->compiled->table.words;
	__u64 row = words[(__u32)words[SL_H_CLASSES] + class];

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		ask(r, at, known[i]);
	ask_row(r, at, words[(__u32)row + SL_VIEW_OTHER]);
	ask_row(r, at, words[(__u32)words[SL_H_BASE] + SL_VIEW_OTHER]);
}

/* ---- the addresses of a prefix, one of each range of the table ---- */

static struct sl_cidr address_of(__u8 family, __u64 high, __u64 low)
{
	struct sl_cidr c = {.family = family, .len = family == 4 ? 32 : 128};
	__be32 v4 = htobe32((__u32)low);
	__be64 v6[2] = {htobe64(high), htobe64(low)};

	memcpy(c.addr, family == 4 ? (void *)&v4 : v6, family == 4 ? sizeof(v4) : sizeof(v6));
	return c;
}

/* Nobody else's: the guest's own, the host's, or (IPv4) the network's and broadcast. */
static bool is_no_neighbour(struct review *r, const struct sl_cidr *prefix,
			    const struct sl_cidr *a, bool edge)
{
	return (edge && a->family == 4 && prefix->len < 31) ||
	       in_list(r, a, r->env->gateway, r->env->n_gateway) ||
	       in_list(r, a, r->env->host, r->env->n_host) ||
	       (r->binding && in_list(r, a, r->binding->addresses, r->binding->n_addresses));
}

/* The range from first to last of prefix, which runs from low to high, has one class. */
static void ask_range(struct review *r, enum group group, const struct sl_cidr *prefix,
		      const struct range *within, struct range part, __u32 class)
{
	struct place at = {.group = group};

	while (pay(r, 1)) {
		bool end = part.low_high == part.high_high && part.low_low == part.high_low;
		bool edge = (part.low_high == within->low_high && part.low_low == within->low_low) ||
			    (part.low_high == within->high_high && part.low_low == within->high_low);

		at.cidr = address_of(prefix->family, part.low_high, part.low_low);
		at.high = part.low_high;
		at.low = part.low_low;
		if (group == HOST || !is_no_neighbour(r, prefix, &at.cidr, edge)) {
			ask_all(r, &at, class);
			return;
		}
		if (end)
			return;
		part.low_high += !++part.low_low;
	}
}

static bool less(__u64 a_high, __u64 a_low, __u64 b_high, __u64 b_low)
{
	return a_high != b_high ? a_high < b_high : a_low < b_low;
}

/* The part of a prefix from a range's first address to before the next range; next: NULL if it is the last.
 * False: none. */
static bool cut(const struct sl_table_range *at, const struct sl_table_range *next,
		struct range *part)
{
	if (less(part->high_high, part->high_low, at->high, at->low))
		return false;
	if (less(part->low_high, part->low_low, at->high, at->low)) {
		part->low_high = at->high;
		part->low_low = at->low;
	}
	if (next && !less(part->high_high, part->high_low, next->high, next->low)) {
		part->high_high = next->high - !next->low;
		part->high_low = next->low - 1;
	}
	return true;
}

static void ask_prefix(struct review *r, enum group group, const struct sl_cidr *prefix)
{
	struct range within = cidr_range(prefix), part = within;
	struct sl_table_range at, next;
	struct sl_ranges ranges;
	bool more;

	if (!sl_ranges_open(&ranges, &r->compiled->table, prefix->family))
		return;
	sl_ranges_go(&ranges, within.low_high, within.low_low);
	more = sl_ranges_next(&ranges, &next);
	while (more && r->budget) {
		at = next;
		more = sl_ranges_next(&ranges, &next);
		if (!cut(&at, more ? &next : NULL, &part))
			return;
		ask_range(r, group, prefix, &within, part, at.class);
		part = within;
	}
}

/* ---- resolvers ---- */

static void review_resolvers(struct review *r)
{
	static const struct sl_cidr loopback[] = {{.addr = {127}, .family = 4, .len = 8},
						  {.addr = {[15] = 1}, .family = 6, .len = 128}};
	char text[SL_CIDR_TEXT];

	for (size_t i = 0; i < r->policy->n_resolvers; i++) {
		const struct sl_cidr *resolver = &r->policy->resolvers[i];

		if (!sl_cidr_within(resolver, &loopback[0]) &&
		    !sl_cidr_within(resolver, &loopback[1]))
			continue;
		sl_warn(r->diag, &r->policy->pos, "the resolver %s is the host's loopback, which no "
			"guest reaches: list resolvers that it can reach, the gateway if that "
			"answers", sl_cidr_format(resolver, text));
		r->n++;
	}
}

size_t sl_device_review(const struct sl_policy *policy, const struct sl_compiled *compiled,
			const struct sl_environment *env, const struct sl_binding *binding,
			__u64 now_ns, struct sl_diag *diag)
{
	static const struct sl_cidr likely[] = {
		{.addr = {10}, .family = 4, .len = 8},
		{.addr = {172, 16}, .family = 4, .len = 12},
		{.addr = {192, 168}, .family = 4, .len = 16},
		{.addr = {0xfc}, .family = 6, .len = 7},
		{.addr = {0xfe, 0x80}, .family = 6, .len = 10},
	};
	struct review r = {.policy = policy, .compiled = compiled, .env = env, .binding = binding,
			   .now_ns = now_ns, .diag = diag, .budget = BUDGET,
			   .subnet = env->n_subnet ? env->subnet : likely,
			   .n_subnet = env->n_subnet ? env->n_subnet
						     : sizeof(likely) / sizeof(*likely)};

	r.said = calloc((compiled->n_rules + 1) * N_GROUPS, sizeof(*r.said));
	for (size_t i = 0; r.said && i < env->n_host; i++)
		ask_prefix(&r, HOST, &env->host[i]);
	for (size_t i = 0; r.said && i < r.n_subnet; i++)
		ask_prefix(&r, NEIGHBOURS, &r.subnet[i]);
	if (!r.said || !r.budget) {
		sl_warn(diag, &policy->pos, "the policy is too large to look for every way to the "
			"host and to the guest's neighbours; some may not be shown");
		r.n++;
	}
	review_resolvers(&r);
	free(r.said);
	return r.n;
}
