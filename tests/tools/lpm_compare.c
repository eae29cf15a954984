// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * lpm_compare [SEED]: the compiler's partition of the address space and the
 * reader's search in it, against the kernel's LPM_TRIE.
 *
 * A policy has one rule a prefix, the longest first, so that its first match is
 * the longest prefix. The trie maps each prefix to its rule. Addresses: the
 * first and the last of every prefix and one beyond each, then random ones, half
 * of them inside a prefix. The last line has the counts; exit 1 on a difference.
 *
 * Where the language differs from longest-prefix (docs/policy.md, "Addresses
 * that embed others"), the trie is told: v4-mapped and NAT64 addresses are asked
 * of the IPv4 trie, and the three blocks that wider prefixes do not cover stand
 * in the IPv6 trie as prefixes of no rule.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "compile/compile.h"
#include "lpm/prefixes.h"

#define NO_RULE 0xffffffffu
#define N_ADDRESSES 1000000 /* of a large case */
#define N_ADDRESSES_SMALL 100000
#define SHOWN 10

struct trie_key {
	__u32 len;
	__u8 addr[16];
};

struct oracle {
	int v4, v6; /* LPM_TRIE maps */
};

struct result {
	size_t compared, ruled, different;
};

/* ---- our side: a policy of one rule a prefix ---- */

static void make_rule(const struct prefix *p, size_t i, struct sl_rule *rule,
		      struct sl_match *match, struct sl_host *host)
{
	char id[24];

	host->kind = SL_HOST_CIDR;
	host->cidr.family = p->family;
	host->cidr.len = p->len;
	address_bytes(p->family, p->first, host->cidr.addr);
	match->hosts = host;
	match->n_hosts = 1;
	rule->action = i % 2 ? SL_DENY : SL_ALLOW;
	rule->matches = match;
	rule->n_matches = 1;
	snprintf(id, sizeof(id), "p%zu", i);
	rule->id = strdup(id);
}

static struct sl_policy *make_policy(const struct prefixes *p)
{
	struct sl_policy *policy = calloc(1, sizeof(*policy));
	struct sl_match *match;
	struct sl_host *host;
	size_t i;

	if (!policy)
		die("policy");
	policy->name = strdup("lpm-compare");
	policy->default_action = SL_DENY;
	policy->items = calloc(p->n, sizeof(*policy->items));
	policy->n_items = p->n;
	for (i = 0; policy->items && i < p->n; i++) {
		policy->items[i].rule = calloc(1, sizeof(struct sl_rule));
		match = calloc(1, sizeof(*match));
		host = calloc(1, sizeof(*host));
		if (!policy->items[i].rule || !match || !host)
			die("rule");
		make_rule(&p->v[i], i, policy->items[i].rule, match, host);
	}
	return policy;
}

/* Which prefix decides, by its index; NO_RULE: none. */
static __u32 ask_table(const struct sl_compiled *compiled, unsigned family, u128 address)
{
	struct sl_question q = {.family = family,
				.protocol = 6,
				.key = 443,
				.address_high = address >> 64,
				.address_low = address};
	struct sl_answer a;

	sl_table_judge(&compiled->table, &q, &a);
	if (a.rule >= compiled->n_rules)
		return NO_RULE;
	if (a.deny != (compiled->rules[a.rule].action == SL_DENY))
		return NO_RULE - 1; /* the rule and the verdict are not of one decision */
	return strtoul(compiled->rules[a.rule].id + 1, NULL, 10);
}

/* ---- the kernel's side ---- */

static int make_trie(unsigned family)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_NO_PREALLOC);
	int fd = bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "lpm_compare",
				sizeof(__u32) + width(family) / 8, sizeof(__u32), PREFIXES_MAX + 3,
				&options);

	if (fd < 0)
		die("LPM_TRIE");
	return fd;
}

static void trie_add(int fd, unsigned family, u128 address, unsigned len, __u32 rule, __u64 flags)
{
	struct trie_key key = {.len = len};

	address_bytes(family, address, key.addr);
	if (bpf_map_update_elem(fd, &key, &rule, flags) && errno != EEXIST)
		die("LPM_TRIE: update");
}

static void fill_tries(const struct prefixes *p, const struct oracle *o)
{
	size_t i;

	for (i = 0; i < p->n; i++)
		trie_add(p->v[i].family == 4 ? o->v4 : o->v6, p->v[i].family, p->v[i].first,
			 p->v[i].len, i, BPF_ANY);
	trie_add(o->v6, 6, make128(0, 0xffff000000000000), 96, NO_RULE, BPF_NOEXIST);
	trie_add(o->v6, 6, make128(0x0064ff9b00010000, 0), 48, NO_RULE, BPF_NOEXIST);
	trie_add(o->v6, 6, make128(0x2002000000000000, 0), 16, NO_RULE, BPF_NOEXIST);
	trie_add(o->v6, 6, make128(0x2001000000000000, 0), 32, NO_RULE, BPF_NOEXIST);
}

static __u32 ask_trie(const struct oracle *o, unsigned family, u128 address)
{
	struct trie_key key;
	__u32 rule;

	if (family == 6 && is_mapped(address)) {
		family = 4;
		address &= 0xffffffff;
	}
	key.len = width(family);
	address_bytes(family, address, key.addr);
	if (!bpf_map_lookup_elem(family == 4 ? o->v4 : o->v6, &key, &rule))
		return rule;
	if (errno != ENOENT)
		die("LPM_TRIE: lookup");
	return NO_RULE;
}

/* ---- comparing ---- */

static void compare(const struct sl_compiled *compiled, const struct oracle *o, unsigned family,
		    u128 address, struct result *r)
{
	__u32 ours, theirs;
	char text[INET6_ADDRSTRLEN];
	__u8 bytes[16];

	address &= host_mask(family, 0);
	ours = ask_table(compiled, family, address);
	theirs = ask_trie(o, family, address);
	r->compared++;
	r->ruled += theirs != NO_RULE;
	if (ours == theirs)
		return;
	address_bytes(family, address, bytes);
	if (r->different++ < SHOWN)
		printf("  %s: table says %d, LPM_TRIE says %d\n",
		       inet_ntop(family == 4 ? AF_INET : AF_INET6, bytes, text, sizeof(text)),
		       (int)ours, (int)theirs);
}

static void compare_all(const struct prefixes *p, const struct sl_compiled *compiled,
			const struct oracle *o, size_t n, struct result *r)
{
	const struct prefix *in;
	unsigned family;
	u128 mask;
	size_t i;

	for (i = 0; i < p->n; i++) {
		family = p->v[i].family;
		mask = host_mask(family, p->v[i].len);
		compare(compiled, o, family, p->v[i].first - 1, r);
		compare(compiled, o, family, p->v[i].first, r);
		compare(compiled, o, family, p->v[i].first + 1, r);
		compare(compiled, o, family, p->v[i].first + mask - 1, r);
		compare(compiled, o, family, p->v[i].first + mask, r);
		compare(compiled, o, family, p->v[i].first + mask + 1, r);
	}
	while (r->compared < n) {
		in = &p->v[random_below(p->n)];
		compare(compiled, o, in->family, random_address(in->family), r);
		compare(compiled, o, in->family,
			in->first | (random_address(in->family) & host_mask(in->family, in->len)),
			r);
		compare(compiled, o, 6, MAPPED | (in->first & 0xffffffff), r);
		compare(compiled, o, 6, NAT64 | (in->first & 0xffffffff), r);
	}
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void run_case(const char *name, struct prefixes *p, size_t n, struct result *total)
{
	struct sl_compile_options options = {.generation = 1};
	struct oracle o = {make_trie(4), make_trie(6)};
	struct sl_compiled compiled = {};
	struct sl_diag diag = {};
	struct sl_policy *policy;
	struct result r = {};
	double start, built;

	sort_unique(p);
	fill_tries(p, &o);
	policy = make_policy(p);
	start = seconds();
	if (sl_compile(policy, &options, &compiled, &diag)) {
		sl_diag_print(&diag, stderr);
		errno = EINVAL;
		die(name);
	}
	built = seconds();
	compare_all(p, &compiled, &o, n, &r);
	printf("%-24s %6zu prefixes %6zu classes %8zu addresses (%.0f %% ruled) "
	       "%zu differences; compiled %.2f s, compared %.2f s\n",
	       name, p->n, compiled.n_classes, r.compared, 100.0 * r.ruled / r.compared,
	       r.different, built - start, seconds() - built);
	fflush(stdout);
	total->compared += r.compared;
	total->ruled += r.ruled;
	total->different += r.different;
	p->n = 0;
	sl_compiled_free(&compiled);
	sl_policy_free(policy);
	sl_diag_free(&diag);
	close(o.v4);
	close(o.v6);
}

static void run_sizes(struct prefixes *p, struct result *total)
{
	static const size_t sizes[] = {10, 1000, 50000};
	unsigned family, i;
	char name[32];

	for (family = 4; family <= 6; family += 2)
		for (i = 0; i < 3; i++) {
			snprintf(name, sizeof(name), "v%u random %zu", family, sizes[i]);
			add_distinct(p, family, sizes[i]);
			run_case(name, p, sizes[i] < 50000 ? N_ADDRESSES_SMALL : N_ADDRESSES,
				 total);
		}
	add_distinct(p, 4, 30000);
	add_distinct(p, 6, 30000);
	run_case("both random 30000", p, N_ADDRESSES, total);
}

static void run_nestings(struct prefixes *p, struct result *total)
{
	unsigned family;

	for (family = 4; family <= 6; family += 2) {
		add_chain(p, family, random_address(family));
		run_case(family == 4 ? "v4 chain" : "v6 chain", p, N_ADDRESSES_SMALL, total);
		add_adversarial(p, family);
		run_case(family == 4 ? "v4 adversarial" : "v6 adversarial", p, N_ADDRESSES_SMALL,
			 total);
	}
	add_adversarial(p, 4);
	add_adversarial(p, 6);
	add_random(p, 4, 10000);
	add_random(p, 6, 10000);
	run_case("both adversarial", p, N_ADDRESSES_SMALL, total);
}

int main(int argc, char **argv)
{
	static struct prefixes prefixes;
	struct result total = {};
	__u64 seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (__u64)time(NULL);
	double start = seconds();

	random_state = seed;
	printf("seed %llu\n", (unsigned long long)seed);
	run_nestings(&prefixes, &total);
	run_sizes(&prefixes, &total);
	printf("lpm_compare: seed %llu: %zu addresses, %.0f %% decided by a prefix, "
	       "%zu differences, %.1f s\n",
	       (unsigned long long)seed, total.compared, 100.0 * total.ruled / total.compared,
	       total.different, seconds() - start);
	return total.different ? 1 : 0;
}
