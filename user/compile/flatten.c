// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* From the policy's matches to entries: the rules in their order, and ranges of keys. */
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static bool carries_ports(int protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

static void push_key(struct entry *e, __u32 low, __u32 high)
{
	e->keys[e->n_keys++] = (struct key_range){low, high};
}

static void push_protocol(struct entry *e, const struct sl_match *match, int protocol)
{
	__u32 base = (__u32)protocol << 16, type = base | match->icmp_type << 8;
	size_t i;

	if (match->has_icmp && match->icmp_code >= 0)
		push_key(e, type | match->icmp_code, type | match->icmp_code);
	else if (match->has_icmp)
		push_key(e, type, type | 0xff);
	else if (!match->n_ports || !carries_ports(protocol))
		push_key(e, base, base | 0xffff);
	else
		for (i = 0; i < match->n_ports; i++)
			push_key(e, base | match->ports[i].low, base | match->ports[i].high);
}

static int compare_keys(const void *a, const void *b)
{
	const struct key_range *x = a, *y = b;

	return x->low < y->low ? -1 : x->low > y->low;
}

static void merge_keys(struct entry *e)
{
	size_t i, out = 0;

	if (e->n_keys > 1)
		qsort(e->keys, e->n_keys, sizeof(*e->keys), compare_keys);
	for (i = 1; i < e->n_keys; i++) {
		if (e->keys[i].low <= e->keys[out].high + 1) {
			if (e->keys[i].high > e->keys[out].high)
				e->keys[out].high = e->keys[i].high;
		} else {
			e->keys[++out] = e->keys[i];
		}
	}
	e->n_keys = out + 1;
}

int entry_keys(struct sl_arena *arena, struct entry *e, const struct sl_match *match)
{
	static const int tcp_udp[] = {IPPROTO_TCP, IPPROTO_UDP}, every[] = {SL_PROTOCOL_ANY};
	const int *protocols = match->protocols;
	size_t n = match->n_protocols, i;

	if (!n) {
		protocols = match->n_ports ? tcp_udp : every;
		n = match->n_ports ? 2 : 1;
	}
	e->keys = sl_arena_take(arena, n * (match->n_ports ? match->n_ports : 1),
				sizeof(*e->keys));
	if (!e->keys)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		if (protocols[i] == SL_PROTOCOL_ANY)
			push_key(e, 0, KEY_END - 1);
		else
			push_protocol(e, match, protocols[i]);
	merge_keys(e);
	return 0;
}

static int reserve_entries(struct compiler *c, size_t cap)
{
	struct entry *v = reallocarray(c->entries, cap, sizeof(*v));

	if (!v)
		return -ENOMEM;
	c->entries = v;
	c->cap_entries = cap;
	return 0;
}

struct entry *new_entry(struct compiler *c)
{
	struct entry *v;

	if (c->n_entries == c->cap_entries && reserve_entries(c, c->cap_entries * 2))
		return NULL;
	v = &c->entries[c->n_entries++];
	memset(v, 0, sizeof(*v));
	return v;
}

/* The ranges of an entry. Rules that name one set and nothing else, for a user each, have them
 * in common. */
static int add_addresses(struct compiler *c, struct entry *e, const struct sl_match *match)
{
	const struct sl_set *set = match->n_hosts == 1 ? match->hosts->set : NULL;
	const struct entry *same = &c->entries[c->last_set_entry];
	int err;

	if (set && set == c->last_set) {
		e->v4 = same->v4;
		e->v6 = same->v6;
		e->n_v4 = same->n_v4;
		e->n_v6 = same->n_v6;
		return 0;
	}
	err = entry_addresses(&c->arena, e, match);
	if (!err && set) {
		c->last_set = set;
		c->last_set_entry = (size_t)(e - c->entries);
	}
	return err;
}

static int add_entry(struct compiler *c, __u32 rule, const struct sl_match *match, bool inbound,
		     bool names)
{
	struct entry *e = new_entry(c);
	int err;

	if (!e)
		return -ENOMEM;
	e->rule = rule;
	e->inbound = inbound;
	e->uids = match->uids;
	e->n_uids = match->n_uids;
	err = entry_keys(&c->arena, e, match);
	if (names)
		e->names = match;
	else if (!err)
		err = add_addresses(c, e, match);
	return err;
}

/* The keys of the last entry that are UDP's, as an entry of their own. */
static int split_quic(struct compiler *c)
{
	const struct key_range udp = {IPPROTO_UDP << 16, IPPROTO_UDP << 16 | 0xffff};
	struct entry all = c->entries[c->n_entries - 1], *e, *quic;
	size_t i;

	quic = new_entry(c);
	if (!quic)
		return -ENOMEM;
	e = quic - 1;
	*quic = all;
	quic->quic = true;
	/* one key at most has UDP's in its middle, and is two without them */
	e->keys = sl_arena_take(&c->arena, all.n_keys + 1, sizeof(*e->keys));
	quic->keys = sl_arena_take(&c->arena, all.n_keys, sizeof(*quic->keys));
	if (!e->keys || !quic->keys)
		return -ENOMEM;
	quic->n_keys = e->n_keys = 0;
	for (i = 0; i < all.n_keys; i++) {
		const struct key_range *k = &all.keys[i];

		if (k->low < udp.low)
			push_key(e, k->low, k->high < udp.low ? k->high : udp.low - 1);
		if (k->high >= udp.low && k->low <= udp.high)
			push_key(quic, k->low > udp.low ? k->low : udp.low,
				 k->high < udp.high ? k->high : udp.high);
		if (k->high > udp.high)
			push_key(e, k->low > udp.high ? k->low : udp.high + 1, k->high);
	}
	return 0;
}

/* Names and addresses of one match stand apart: a name's class holds no addresses. */
static int add_match(struct compiler *c, __u32 rule, const struct sl_match *match, bool inbound)
{
	const struct sl_rule *of = c->rules[rule].rule;
	size_t n_names = count_names(match);
	int err = 0;

	if (n_names < match->n_hosts)
		err = add_entry(c, rule, match, inbound, false);
	if (!err && n_names)
		err = add_entry(c, rule, match, inbound, true);
	if (!err && of && of->sni == SL_SNI_VERIFY)
		err = split_quic(c);
	return err;
}

static int reserve_rules(struct compiler *c, size_t cap)
{
	void *v = reallocarray(c->rules, cap, sizeof(*c->rules));

	if (!v)
		return -ENOMEM;
	c->rules = v;
	v = reallocarray(c->deadlines, cap, sizeof(*c->deadlines));
	if (!v)
		return -ENOMEM;
	c->deadlines = v;
	c->cap_rules = cap;
	return 0;
}

int add_rule(struct compiler *c, struct sl_rule_info info, __u64 deadline)
{
	if (c->n_rules == c->cap_rules && reserve_rules(c, c->cap_rules * 2))
		return -ENOMEM;
	c->deadlines[c->n_rules] = deadline;
	c->rules[c->n_rules++] = info;
	return 0;
}

/* Rule 0 and 1 of a policy with a gate. */
static int add_dns_gate(struct compiler *c)
{
	const struct sl_policy *p = c->policy;
	struct sl_port_range gate_ports[] = {{53, 53}, {853, 853}};
	const struct sl_cidr *forwarder = c->options->forwarder ? c->options->forwarder :
					  p->dns.has_listen ? &p->dns.listen : NULL;
	struct sl_host any = {.kind = SL_HOST_ANY};
	struct sl_match match = {.ports = gate_ports, .n_ports = 1};
	struct entry *e;
	int err;

	err = add_rule(c, (struct sl_rule_info){.id = "dns-resolver", .action = SL_ALLOW,
		       .reason = SL_REASON_DNS_RESOLVER, .pos = p->pos}, 0);
	if (err)
		return err;
	e = new_entry(c);
	if (!e || entry_keys(&c->arena, e, &match))
		return -ENOMEM;
	e->rule = 0;
	if (p->dns.forward)
		err = entry_cidrs(&c->arena, e, forwarder, !!forwarder);
	else
		err = entry_cidrs(&c->arena, e, p->resolvers, p->n_resolvers);
	if (err)
		return err;
	err = add_rule(c, (struct sl_rule_info){.id = "dns-gate", .action = SL_DENY,
		       .reason = SL_REASON_DNS_GATE, .pos = p->pos}, 0);
	if (err)
		return err;
	match.n_ports = p->dns.dot_by_rules ? 1 : 2;
	match.hosts = &any;
	match.n_hosts = 1;
	err = add_match(c, 1, &match, false);
	/* the gate comes before the embedded blocks too */
	return err ? err : entry_blocks(&c->arena, &c->entries[c->n_entries - 1]);
}

/* Unix seconds to boot time; an end before boot is "over since boot". */
static __u64 deadline_of(const struct compiler *c, const struct sl_rule *rule)
{
	__s64 ns;

	if (rule->expiry == SL_EXPIRES_NEVER)
		return 0;
	if (rule->expires_s > INT64_MAX / 1000000000)
		return 0;
	ns = rule->expires_s * 1000000000 - c->options->boot_epoch_ns;
	return ns > 0 ? (__u64)ns : 1;
}

static int add_policy_rule(struct compiler *c, const struct sl_rule *rule)
{
	struct sl_rule_info info = {.id = rule->id, .rule = rule, .action = rule->action,
				    .reason = SL_REASON_RULE, .log = rule->log, .sni = rule->sni,
				    .pos = rule->pos};
	__u32 number = c->n_rules;
	int err = add_rule(c, info, deadline_of(c, rule));
	size_t i;

	for (i = 0; i < rule->n_matches && !err; i++)
		err = add_match(c, number, &rule->matches[i], false);
	return err;
}

static int add_inbound(struct compiler *c)
{
	const struct sl_policy *p = c->policy;
	struct sl_rule_info info = {.id = "inbound", .action = SL_ALLOW, .reason = SL_REASON_RULE};
	int err = 0;
	size_t i;

	if (p->inbound != SL_INBOUND_LIST)
		return 0;
	for (i = 0; i < p->n_inbound && !err; i++) {
		info.pos = p->inbound_matches[i].pos;
		err = add_rule(c, info, 0);
		if (!err)
			err = add_match(c, c->n_rules - 1, &p->inbound_matches[i], true);
	}
	return err;
}

static int add_marker(struct compiler *c)
{
	struct entry *e = new_entry(c);

	if (!e)
		return -ENOMEM;
	e->marker = true;
	e->rule = SL_NONE;
	return entry_blocks(&c->arena, e);
}

#define OURS 16	/* rules and entries that are not written: the gate's, the marker */

/* Room for what most policies need, where a rule is one match: to grow would touch as much memory
 * again. */
static int reserve(struct compiler *c)
{
	size_t n = c->policy->n_items + c->policy->n_inbound + OURS;

	return reserve_entries(c, n) || reserve_rules(c, n) ? -ENOMEM : 0;
}

int flatten(struct compiler *c)
{
	int err = reserve(c);
	size_t i;

	if (!err && c->policy->has_dns)
		err = add_dns_gate(c);
	for (i = 0; i < c->policy->n_items && !err; i++) {
		if (!c->policy->items[i].rule)
			return -EINVAL; /* an include: not resolved */
		err = add_policy_rule(c, c->policy->items[i].rule);
	}
	if (!err)
		err = add_search_rule(c);
	if (!err)
		err = add_inbound(c);
	return err ? err : add_marker(c);
}
