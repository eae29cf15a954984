// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* From the policy's matches to entries: ranges of keys and of addresses. */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Blocks that can carry a packet to an IPv4 address that no rule sees:
 * RFC 8215, RFC 3056, RFC 4380. (::ffff/96 and 64:ff9b::/96 are judged as the
 * IPv4 address and never reach the IPv6 ranges.) */
static const struct range embedded_blocks[] = {
	{0x0064ff9b00010000, 0, 0x0064ff9b0001ffff, ~0ull},
	{0x2001000000000000, 0, 0x20010000ffffffff, ~0ull},
	{0x2002000000000000, 0, 0x2002ffffffffffff, ~0ull},
};
#define N_BLOCKS (sizeof(embedded_blocks) / sizeof(embedded_blocks[0]))

static int compare128(__u64 a_high, __u64 a_low, __u64 b_high, __u64 b_low)
{
	if (a_high != b_high)
		return a_high < b_high ? -1 : 1;
	return a_low < b_low ? -1 : a_low > b_low;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct range *x = a, *y = b;
	int d = compare128(x->low_high, x->low_low, y->low_high, y->low_low);

	return d ? d : compare128(x->high_high, x->high_low, y->high_high, y->high_low);
}

struct range cidr_range(const struct sl_cidr *cidr)
{
	struct range r = {};
	__u64 high, low, mask;
	__u32 v4;

	if (cidr->family == 4) {
		memcpy(&v4, cidr->addr, 4);
		r.low_low = ntohl(v4);
		r.high_low = r.low_low | (cidr->len ? (1ull << (32 - cidr->len)) - 1 : 0xffffffff);
		return r;
	}
	memcpy(&high, cidr->addr, 8);
	memcpy(&low, cidr->addr + 8, 8);
	r.low_high = r.high_high = be64toh(high);
	r.low_low = r.high_low = be64toh(low);
	if (cidr->len < 64) {
		mask = cidr->len ? (1ull << (64 - cidr->len)) - 1 : ~0ull;
		r.high_high |= mask;
		r.high_low = ~0ull;
	} else {
		mask = cidr->len > 64 ? (1ull << (128 - cidr->len)) - 1 : ~0ull;
		r.high_low |= cidr->len == 128 ? 0 : mask;
	}
	return r;
}

/* True if r ends right before s begins. */
static bool touches(const struct range *r, const struct range *s)
{
	__u64 low = r->high_low + 1, high = r->high_high + !low;

	return (low || high) && s->low_high == high && s->low_low == low;
}

/* Sorts and merges overlapping and adjacent ranges; returns how many are left. */
static size_t merge_ranges(struct range *r, size_t n)
{
	size_t i, out = 0;

	if (!n)
		return 0;
	qsort(r, n, sizeof(*r), compare_ranges);
	for (i = 1; i < n; i++) {
		if (compare128(r[i].low_high, r[i].low_low, r[out].high_high,
			       r[out].high_low) <= 0 ||
		    touches(&r[out], &r[i])) {
			if (compare128(r[i].high_high, r[i].high_low, r[out].high_high,
				       r[out].high_low) > 0) {
				r[out].high_high = r[i].high_high;
				r[out].high_low = r[i].high_low;
			}
		} else {
			r[++out] = r[i];
		}
	}
	return out + 1;
}

struct range_list {
	struct range *v;
	size_t n, cap;
};

static int list_push(struct range_list *list, struct range r)
{
	struct range *v;

	if (list->n == list->cap) {
		list->cap = list->cap ? list->cap * 2 : 8;
		v = realloc(list->v, list->cap * sizeof(*v));
		if (!v)
			return -ENOMEM;
		list->v = v;
	}
	list->v[list->n++] = r;
	return 0;
}

static bool range_within(const struct range *r, const struct range *block)
{
	return compare128(r->low_high, r->low_low, block->low_high, block->low_low) >= 0 &&
	       compare128(r->high_high, r->high_low, block->high_high, block->high_low) <= 0;
}

/* A prefix wider than an embedded block does not cover the block: cut it out. */
static int push_v6(struct range_list *list, struct range r)
{
	struct range left;
	size_t i;

	for (i = 0; i < N_BLOCKS; i++)
		if (range_within(&r, &embedded_blocks[i]))
			return list_push(list, r);
	for (i = 0; i < N_BLOCKS; i++) {
		const struct range *block = &embedded_blocks[i];

		if (!range_within(block, &r))
			continue;
		left = r;
		left.high_high = block->low_high - !block->low_low;
		left.high_low = block->low_low - 1;
		if (compare128(left.low_high, left.low_low, block->low_high,
			       block->low_low) < 0 && list_push(list, left))
			return -ENOMEM;
		/* every block ends in ...ffff:ffff:ffff:ffff, below the top */
		r.low_high = block->high_high + 1;
		r.low_low = 0;
		if (compare128(r.low_high, r.low_low, r.high_high, r.high_low) > 0)
			return 0;
	}
	return list_push(list, r);
}

static int push_cidrs(const struct sl_cidr *cidrs, size_t n, struct range_list *v4,
		      struct range_list *v6)
{
	size_t i;

	for (i = 0; i < n; i++) {
		struct range r = cidr_range(&cidrs[i]);

		if (cidrs[i].family == 4 ? list_push(v4, r) : push_v6(v6, r))
			return -ENOMEM;
	}
	return 0;
}

static void take_ranges(struct entry *e, struct range_list *v4, struct range_list *v6)
{
	e->v4 = v4->v;
	e->v6 = v6->v;
	e->n_v4 = merge_ranges(v4->v, v4->n);
	e->n_v6 = merge_ranges(v6->v, v6->n);
}

static int entry_addresses(struct entry *e, const struct sl_match *match)
{
	struct range_list v4 = {}, v6 = {};
	const struct sl_host *host;
	int err = 0;
	size_t i;

	for (i = 0; i < match->n_hosts && !err; i++) {
		host = &match->hosts[i];
		if (host->kind == SL_HOST_ANY)
			e->any = true;
		else if (host->kind == SL_HOST_CIDR)
			err = push_cidrs(&host->cidr, 1, &v4, &v6);
		else if (host->kind == SL_HOST_SET && host->set)
			err = push_cidrs(host->set->cidrs, host->set->n_cidrs, &v4, &v6);
		else
			err = -EINVAL; /* not resolved: a caller's mistake */
	}
	take_ranges(e, &v4, &v6);
	return err;
}

static bool carries_ports(int protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

static int push_key(struct entry *e, size_t *cap, __u32 low, __u32 high)
{
	struct key_range *keys;

	if (e->n_keys == *cap) {
		*cap = *cap ? *cap * 2 : 2;
		keys = realloc(e->keys, *cap * sizeof(*keys));
		if (!keys)
			return -ENOMEM;
		e->keys = keys;
	}
	e->keys[e->n_keys++] = (struct key_range){low, high};
	return 0;
}

static int push_protocol(struct entry *e, size_t *cap, const struct sl_match *match, int protocol)
{
	__u32 base = (__u32)protocol << 16;
	size_t i;

	if (match->has_icmp) {
		__u32 type = base | match->icmp_type << 8;

		if (match->icmp_code >= 0)
			return push_key(e, cap, type | match->icmp_code, type | match->icmp_code);
		return push_key(e, cap, type, type | 0xff);
	}
	if (!match->n_ports || !carries_ports(protocol))
		return push_key(e, cap, base, base | 0xffff);
	for (i = 0; i < match->n_ports; i++)
		if (push_key(e, cap, base | match->ports[i].low, base | match->ports[i].high))
			return -ENOMEM;
	return 0;
}

static int compare_keys(const void *a, const void *b)
{
	const struct key_range *x = a, *y = b;

	return x->low < y->low ? -1 : x->low > y->low;
}

static void merge_keys(struct entry *e)
{
	size_t i, out = 0;

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

int entry_keys(struct entry *e, const struct sl_match *match)
{
	static const int tcp_udp[] = {IPPROTO_TCP, IPPROTO_UDP};
	const int *protocols = match->protocols;
	size_t n = match->n_protocols, cap = 0, i;
	int err;

	if (!n && match->n_ports) {
		protocols = tcp_udp;
		n = 2;
	}
	if (!n)
		return push_key(e, &cap, 0, KEY_END - 1);
	for (i = 0; i < n; i++) {
		if (protocols[i] == SL_PROTOCOL_ANY)
			err = push_key(e, &cap, 0, KEY_END - 1);
		else
			err = push_protocol(e, &cap, match, protocols[i]);
		if (err)
			return err;
	}
	merge_keys(e);
	return 0;
}

static struct entry *new_entry(struct compiler *c)
{
	size_t cap;
	struct entry *v;

	if (c->n_entries == c->cap_entries) {
		cap = c->cap_entries ? c->cap_entries * 2 : 64;
		v = realloc(c->entries, cap * sizeof(*v));
		if (!v)
			return NULL;
		c->entries = v;
		c->cap_entries = cap;
	}
	v = &c->entries[c->n_entries++];
	memset(v, 0, sizeof(*v));
	return v;
}

static int add_match(struct compiler *c, __u32 rule, const struct sl_match *match, bool inbound)
{
	struct entry *e = new_entry(c);
	int err;

	if (!e)
		return -ENOMEM;
	e->rule = rule;
	e->inbound = inbound;
	e->uids = match->uids;
	e->n_uids = match->n_uids;
	err = entry_keys(e, match);
	return err ? err : entry_addresses(e, match);
}

static int add_rule(struct compiler *c, struct sl_rule_info info, __u64 deadline)
{
	size_t cap;
	void *v;

	if (c->n_rules == c->cap_rules) {
		cap = c->cap_rules ? c->cap_rules * 2 : 64;
		v = realloc(c->rules, cap * sizeof(*c->rules));
		if (!v)
			return -ENOMEM;
		c->rules = v;
		v = realloc(c->deadlines, cap * sizeof(*c->deadlines));
		if (!v)
			return -ENOMEM;
		c->deadlines = v;
		c->cap_rules = cap;
	}
	c->deadlines[c->n_rules] = deadline;
	c->rules[c->n_rules++] = info;
	return 0;
}

static int entry_resolvers(struct entry *e, const struct sl_policy *p)
{
	struct range_list v4 = {}, v6 = {};
	int err = push_cidrs(p->resolvers, p->n_resolvers, &v4, &v6);

	take_ranges(e, &v4, &v6);
	return err;
}

/* The blocks that embed IPv4, as ranges of an entry. */
static int entry_blocks(struct entry *e)
{
	e->v6 = malloc(sizeof(embedded_blocks));
	if (!e->v6)
		return -ENOMEM;
	memcpy(e->v6, embedded_blocks, sizeof(embedded_blocks));
	e->n_v6 = N_BLOCKS;
	return 0;
}

/* Rule 0 and 1 of a policy with a dns block. */
static int add_dns_gate(struct compiler *c)
{
	const struct sl_policy *p = c->policy;
	struct sl_port_range gate_ports[] = {{53, 53}, {853, 853}};
	struct sl_host any = {.kind = SL_HOST_ANY};
	struct sl_match match = {.ports = gate_ports, .n_ports = 1};
	struct entry *e;
	int err;

	err = add_rule(c, (struct sl_rule_info){.id = "dns-resolver", .action = SL_ALLOW,
		       .reason = SL_REASON_DNS_RESOLVER, .pos = p->pos}, 0);
	if (err)
		return err;
	e = new_entry(c);
	if (!e || entry_keys(e, &match))
		return -ENOMEM;
	e->rule = 0;
	err = entry_resolvers(e, p);
	if (err)
		return err;
	err = add_rule(c, (struct sl_rule_info){.id = "dns-gate", .action = SL_DENY,
		       .reason = SL_REASON_DNS_GATE, .pos = p->pos}, 0);
	if (err)
		return err;
	match.n_ports = 2;
	match.hosts = &any;
	match.n_hosts = 1;
	err = add_match(c, 1, &match, false);
	/* the gate comes before the embedded blocks too */
	return err ? err : entry_blocks(&c->entries[c->n_entries - 1]);
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
				    .reason = SL_REASON_RULE, .pos = rule->pos};
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
	return entry_blocks(e);
}

int flatten(struct compiler *c)
{
	int err = 0;
	size_t i;

	if (c->policy->has_dns)
		err = add_dns_gate(c);
	for (i = 0; i < c->policy->n_items && !err; i++) {
		if (!c->policy->items[i].rule)
			return -EINVAL; /* an include: not resolved */
		err = add_policy_rule(c, c->policy->items[i].rule);
	}
	if (!err)
		err = add_inbound(c);
	return err ? err : add_marker(c);
}
