// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The compiler: bounds, sharing, chains of expiring rules, warnings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "compile/compile.h"
#include "resolve/resolve.h"

#define EPOCH_NS 1000000000000000000ll	/* boot at Unix second 1,000,000,000 */

struct fixture {
	struct sl_policy *policy;
	struct sl_compiled compiled;
	struct sl_diag diag;
};

static int compile_text(struct fixture *f, const char *text)
{
	struct sl_resolve_options resolve = {.trust_clock = true, .now_s = 1700000000};
	struct sl_compile_options compile = {.generation = 7, .boot_epoch_ns = EPOCH_NS};
	struct sl_policy *parsed = NULL;
	int err;

	memset(f, 0, sizeof(*f));
	err = sl_policy_parse(text, strlen(text), "p.yaml", SL_PARSE_POLICY, &parsed, &f->diag);
	if (!err)
		err = sl_resolve(parsed, NULL, &resolve, &f->policy, &f->diag);
	sl_policy_free(parsed);
	return err ? err : sl_compile(f->policy, &compile, &f->compiled, &f->diag);
}

static void done(struct fixture *f)
{
	sl_compiled_free(&f->compiled);
	sl_policy_free(f->policy);
	sl_diag_free(&f->diag);
}

static struct sl_answer ask(struct fixture *f, const char *address, __u8 protocol, __u16 key,
			    const __u32 *uid, __u64 now_ns)
{
	struct sl_question q = {.protocol = protocol, .key = key, .now_ns = now_ns};
	struct sl_answer a = {};
	struct sl_cidr cidr = {};

	cidr.family = strchr(address, ':') ? 6 : 4;
	inet_pton(cidr.family == 6 ? AF_INET6 : AF_INET, address, cidr.addr);
	sl_question_address(&q, &cidr);
	if (uid) {
		q.has_uid = 1;
		q.uid = *uid;
	}
	assert_true(sl_table_judge(&f->compiled.table, &q, &a));
	return a;
}

static const char *decider(struct fixture *f, const struct sl_answer *a)
{
	return a->rule == SL_NONE ? "-" : f->compiled.rules[a->rule].id;
}

static bool has_warning(const struct fixture *f, const char *text)
{
	size_t i;

	for (i = 0; i < f->diag.n; i++)
		if (strstr(f->diag.entries[i].message, text))
			return true;
	return false;
}

static void test_header(void **state)
{
	struct fixture f;

	assert_int_equal(compile_text(&f, "sluice: 1\non_deny: drop\ndefault: allow\n"), 0);
	assert_true(f.compiled.table.words[SL_H_MAGIC] == SL_TABLE_MAGIC);
	assert_int_equal(f.compiled.table.words[SL_H_GENERATION], 7);
	assert_int_equal(f.compiled.table.words[SL_H_FLAGS], SL_F_DROP | SL_F_DEFAULT_ALLOW);
	assert_int_equal(f.compiled.table.words[SL_H_WORDS], f.compiled.table.n_words);
	assert_int_equal(f.compiled.table.n_words % SL_PAGE_WORDS, 0);
	done(&f);
}

static void test_same_bytes_twice(void **state)
{
	static const char text[] = "sluice: 1\nrules:\n- allow: 10.0.0.0/8:1-9/tcp\n"
				   "- deny: ['10.1.0.0/16', '2001:db8::/32']\n";
	struct fixture a, b;

	assert_int_equal(compile_text(&a, text), 0);
	assert_int_equal(compile_text(&b, text), 0);
	assert_int_equal(a.compiled.table.n_words, b.compiled.table.n_words);
	assert_memory_equal(a.compiled.table.words, b.compiled.table.words,
			    a.compiled.table.n_words * sizeof(__u64));
	done(&a);
	done(&b);
}

#define N_PREFIXES 8000

static int compare_cidrs(const void *a, const void *b)
{
	const struct sl_cidr *x = a, *y = b;
	int order = memcmp(x->addr, y->addr, sizeof(x->addr));

	return order ? order : x->len - y->len;
}

static void random_prefix(struct sl_cidr *cidr, __u8 family, bool crowded)
{
	/* crowded: most bytes are the same in all, as in one network */
	unsigned bytes = family == 4 ? 4 : 16, from = crowded ? bytes - 3 : 0;

	*cidr = (struct sl_cidr){.addr = {0x20, 0x01}, .family = family};
	cidr->len = (__u8)(bytes * 8 - (unsigned)rand() % 12);
	for (unsigned i = from; i < bytes; i++)
		cidr->addr[i] = (__u8)rand();
	for (unsigned bit = cidr->len; bit < bytes * 8; bit++)
		cidr->addr[bit / 8] &= (__u8)~(0x80 >> bit % 8);
}

/* Compiles a set of prefixes in the order that they have. */
static void compile_prefixes(struct fixture *f, const struct sl_cidr *prefixes)
{
	struct sl_compile_options options = {.generation = 7};
	struct sl_set *set;

	assert_int_equal(compile_text(f, "sluice: 1\nsets: {s: [192.0.2.1]}\nrules:\n"
					 "- allow: '@s'\n"), 0);
	sl_compiled_free(&f->compiled);
	set = f->policy->sets[0];
	set->cidrs = reallocarray(set->cidrs, N_PREFIXES, sizeof(*prefixes));
	assert_non_null(set->cidrs);
	memcpy(set->cidrs, prefixes, N_PREFIXES * sizeof(*prefixes));
	set->n_cidrs = N_PREFIXES;
	assert_int_equal(sl_compile(f->policy, &options, &f->compiled, &f->diag), 0);
}

/* Sorted by the C library they are sorted already. */
static void test_order_of_prefixes(void **state)
{
	static struct sl_cidr prefixes[N_PREFIXES];
	struct fixture a, b;

	for (int round = 0; round < 4; round++) {
		for (size_t i = 0; i < N_PREFIXES; i++)
			random_prefix(&prefixes[i], round % 2 ? 6 : 4, round / 2);
		compile_prefixes(&a, prefixes);
		qsort(prefixes, N_PREFIXES, sizeof(*prefixes), compare_cidrs);
		compile_prefixes(&b, prefixes);
		assert_int_equal(a.compiled.table.n_words, b.compiled.table.n_words);
		assert_memory_equal(a.compiled.table.words, b.compiled.table.words,
				    a.compiled.table.n_words * sizeof(__u64));
		assert_true(a.compiled.n_ranges4 + a.compiled.n_ranges6 > 100);
		done(&a);
		done(&b);
	}
}

/* Neighbours that name the same set share its ranges; others do not. */
static void test_sets_in_turn(void **state)
{
	static const char text[] =
		"sluice: 1\nsets: {a: [192.0.2.0/24, '2001:db8:a::/48'], b: [198.51.100.0/24]}\n"
		"rules:\n- {id: a1, allow: {to: '@a', ports: 1, protocol: tcp}}\n"
		"- {id: a2, allow: {to: '@a', ports: 2, protocol: tcp}}\n"
		"- {id: b1, allow: {to: '@b', ports: 1, protocol: tcp}}\n"
		"- {id: ab, allow: {to: ['@a', '@b'], ports: 3, protocol: tcp}}\n"
		"- {id: a4, allow: {to: '@a', ports: 4, protocol: tcp}}\n";
	static const struct {
		const char *address, *by[4]; /* at ports 1 to 4 */
	} cases[] = {
		{"192.0.2.7", {"a1", "a2", "ab", "a4"}},
		{"2001:db8:a::7", {"a1", "a2", "ab", "a4"}},
		{"198.51.100.7", {"b1", "-", "ab", "-"}},
		{"203.0.113.7", {"-", "-", "-", "-"}},
		{"2001:db8:b::7", {"-", "-", "-", "-"}},
	};
	struct sl_answer answer;
	struct fixture f;

	assert_int_equal(compile_text(&f, text), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		for (__u16 port = 1; port <= 4; port++) {
			answer = ask(&f, cases[i].address, IPPROTO_TCP, port, NULL, 0);
			assert_string_equal(decider(&f, &answer), cases[i].by[port - 1]);
		}
	}
	done(&f);
}

static const char *decider_of(struct fixture *f, const char *address)
{
	struct sl_answer a = ask(f, address, IPPROTO_TCP, 80, NULL, 0);

	return decider(f, &a);
}

/* Enough ranges for what leads to them (compile/index.c), so that the edges of its parts and
 * groups are met: far apart, within one /64, at both ends. */
static void test_many_ranges(void **state)
{
	static const char *const parts[][2] = {{"10.0.", ".1"}, {"", ".0.0.0"}, {"2001:db8::", ""},
					       {"2001:db9:", "::"}, {"::", ""}};
	char text[65536] = "sluice: 1\nrules:\n- allow: 'ffff:ffff:ffff:ffff:8000::/65'\n"
			   "  id: top\n- allow: 255.255.255.255\n  id: top4\n";
	size_t n = strlen(text), k;
	struct fixture f;
	char id[32], at[64];
	unsigned i;

	for (k = 0; k < 5; k++)
		for (i = 16; i < 144; i += 2)
			n += snprintf(text + n, sizeof(text) - n,
				      "- allow: '%s%u%s'\n  id: a%zu-%u\n", parts[k][0], i,
				      parts[k][1], k, i);
	assert_int_equal(compile_text(&f, text), 0);
	assert_true(f.compiled.table.words[SL_H_V4_ROOTS] >> 32);
	assert_true(f.compiled.table.words[SL_H_FULL_LEVELS + 1]);
	for (k = 0; k < 5; k++)
		for (i = 16; i < 144; i++) {
			snprintf(id, sizeof(id), "a%zu-%u", k, i);
			snprintf(at, sizeof(at), "%s%u%s", parts[k][0], i, parts[k][1]);
			assert_string_equal(decider_of(&f, at), i % 2 ? "-" : id);
		}
	assert_string_equal(decider_of(&f, "ffff:ffff:ffff:ffff:7fff::1"), "-");
	assert_string_equal(decider_of(&f, "ffff:ffff:ffff:ffff:8000::"), "top");
	assert_string_equal(decider_of(&f, "ffff:ffff:ffff:fffe:8000::"), "-");
	assert_string_equal(decider_of(&f, "255.255.255.255"), "top4");
	assert_string_equal(decider_of(&f, "0.0.0.0"), "-");
	assert_string_equal(decider_of(&f, "::"), "-");
	done(&f);
}

#define CLOSE 4000

static const char *close_to(size_t kind, unsigned i, char at[64])
{
	if (kind == 0)
		snprintf(at, 64, "10.0.%u.%u", i >> 8, i & 255);
	else
		snprintf(at, 64, kind == 1 ? "2001:db8::%x" : kind == 2 ? "2001:db9:0:%x::" :
								    "2001:dba:0:%x::", i);
	return at;
}

/* Every second one of CLOSE addresses or networks of each kind: in one part of IPv4 more groups than
 * its entry counts, over several pages; in one /64 groups that all begin with the same upper half;
 * groups that begin right behind an address, even or odd: before the last kind are three ranges. And
 * ports over several pages. */
static void test_close_ranges(void **state)
{
	static const char *const ids[] = {"k0", "k1", "k2", "k3"};
	struct fixture f;
	char *text, at[64];
	size_t len, k;
	FILE *out = open_memstream(&text, &len);
	unsigned i;

	fputs("sluice: 1\nrules:\n", out);
	for (k = 0; k < 4; k++) {
		fputs("- allow:\n", out);
		for (i = 0; i < CLOSE; i += 2)
			fprintf(out, "  - '%s%s'\n", close_to(k, i, at), k >= 2 ? "/64" : "");
		fprintf(out, "  id: %s\n", ids[k]);
	}
	fputs("- deny: '2001:db9:ffff::/64'\n- allow: '2001:db9:ffff:1::/64'\n", out);
	fputs("- allow: {to: 192.0.2.1, ports: [1", out);
	for (i = 3; i < CLOSE; i += 2)
		fprintf(out, ", %u", i);
	fputs("]}\n  id: ports\n", out);
	fclose(out);
	assert_int_equal(compile_text(&f, text), 0);
	assert_true(f.compiled.table.words[SL_H_V6_LEVELS + 1]);
	for (k = 0; k < 4; k++)
		for (i = 0; i < CLOSE; i++)
			assert_string_equal(decider_of(&f, close_to(k, i, at)),
					    i % 2 ? "-" : ids[k]);
	for (i = 0; i <= CLOSE; i++) {
		struct sl_answer a = ask(&f, "192.0.2.1", IPPROTO_UDP, i, NULL, 0);

		assert_string_equal(decider(&f, &a), i % 2 && i < CLOSE ? "ports" : "-");
	}
	done(&f);
	free(text);
}

static bool is_before(const struct sl_table_range *a, const struct sl_table_range *b)
{
	return a->high != b->high ? a->high < b->high : a->low < b->low;
}

static bool is_same(const struct sl_table_range *a, const struct sl_table_range *b)
{
	return !is_before(a, b) && !is_before(b, a) && a->class == b->class;
}

/* From the address on, and from the one before: the same ranges, which ascend. */
static size_t walk(const struct sl_table *t, int family)
{
	struct sl_table_range at = {}, last = {}, found, behind;
	struct sl_ranges all, one;
	size_t n = 0;

	assert_true(sl_ranges_open(&all, t, family));
	assert_true(sl_ranges_open(&one, t, family));
	for (; sl_ranges_next(&all, &at); n++, last = at) {
		assert_true(n ? is_before(&last, &at) : !at.high && !at.low);
		sl_ranges_go(&one, at.high, at.low);
		assert_true(sl_ranges_next(&one, &found));
		assert_true(is_same(&found, &at));
		if (!n)
			continue;
		sl_ranges_go(&one, at.low || family == 4 ? at.high : at.high - 1, at.low - 1);
		assert_true(sl_ranges_next(&one, &found) && sl_ranges_next(&one, &behind));
		assert_true(is_same(&found, &last));
		assert_true(is_same(&behind, &at));
	}
	return n;
}

/* IPv6's are in two places: by /64, and by whole addresses where those divide one. */
static void test_ranges(void **state)
{
	struct fixture f;

	(void)state;
	assert_int_equal(compile_text(&f, "sluice: 1\nrules:\n- allow: ['2001:db8::/48', '2001:db8:1::/64', "
		"'2001:db8:2::7', '2001:db8:3:0:8000::/65', '2001:db8:3:1::/64', '2001:db8:5::/127', "
		"'ffff:ffff:ffff:ffff:8000::/65', '2001:db8:9::/65', 0.0.0.1, 10.0.0.0/8, 10.9.0.0/16, "
		"255.255.255.255]\n- deny: ['2001:db8:0:7::/64', '2001:db8:0:9::9']\n"), 0);
	assert_int_equal(walk(&f.compiled.table, 4), f.compiled.n_ranges4);
	assert_true(walk(&f.compiled.table, 6) >= f.compiled.n_ranges6);
	assert_true(f.compiled.table.words[SL_H_FULL_RANGES]);
	done(&f);
}

static void test_expiry_chain(void **state)
{
	struct fixture f;
	struct sl_answer a;
	/* 2001-09-09T01:46:50Z is 10 s after boot, :55 is 15 s */
	assert_int_equal(compile_text(&f, "sluice: 1\nrules:\n"
		"- allow: 10.0.0.1\n  id: first\n  expires: '2001-09-09T01:46:50Z'\n"
		"- deny: 10.0.0.1:80\n  id: second\n"
		"- allow: any\n  id: third\n  expires: '2001-09-09T01:46:55Z'\n"), 0);
	a = ask(&f, "10.0.0.1", IPPROTO_TCP, 80, NULL, 9999999999ull);
	assert_string_equal(decider(&f, &a), "first");
	assert_int_equal(a.deadline_ns, 10000000000ull);
	a = ask(&f, "10.0.0.1", IPPROTO_TCP, 80, NULL, 10000000000ull);
	assert_string_equal(decider(&f, &a), "second");
	a = ask(&f, "10.0.0.1", IPPROTO_TCP, 81, NULL, 14999999999ull);
	assert_string_equal(decider(&f, &a), "third");
	a = ask(&f, "10.0.0.1", IPPROTO_TCP, 81, NULL, 15000000000ull);
	assert_string_equal(decider(&f, &a), "-");
	assert_int_equal(a.deny, 1);
	done(&f);
}

static char *expiring_rules(int n)
{
	size_t size = 200 + n * 80, at = 0;
	char *text = malloc(size);
	int i;

	at += snprintf(text, size, "sluice: 1\nrules:\n");
	for (i = 0; i < n; i++)
		at += snprintf(text + at, size - at,
			       "- allow: 10.0.0.1\n  id: e%d\n  expires: '2100-01-%02dT00:00:00Z'\n",
			       i, i % 28 + 1);
	snprintf(text + at, size - at, "- deny: 10.0.0.1\n  id: last\n");
	return text;
}

static void test_chain_bound(void **state)
{
	char *fits = expiring_rules(SL_OTHERWISE_MAX - 1);
	char *too_many = expiring_rules(SL_OTHERWISE_MAX);
	struct fixture f;

	assert_int_equal(compile_text(&f, fits), 0);
	done(&f);
	assert_int_not_equal(compile_text(&f, too_many), 0);
	assert_true(has_warning(&f, "'last' stands behind 16 expiring rules"));
	done(&f);
	free(fits);
	free(too_many);
}

static void test_unreachable(void **state)
{
	struct fixture f;

	assert_int_equal(compile_text(&f, "sluice: 1\nrules:\n"
		"- deny: 10.0.0.0/8\n  id: wide\n"
		"- allow: 10.1.0.0/16:443\n  id: hidden\n"
		"- allow: 192.0.2.1\n  id: used\n"
		"- allow: any:53/udp\n  id: any-used\n"
		"- allow: 192.0.2.1\n  id: twin\n"
		"- deny: any\n  id: all\n"
		"- allow: 203.0.113.1\n  id: after-all\n"), 0);
	assert_true(has_warning(&f, "rule 'hidden' can never match: 'wide' in line 3"));
	assert_true(has_warning(&f, "rule 'twin' says the same as 'used' in line 7"));
	assert_true(has_warning(&f, "rule 'after-all' can never match: 'all' in line 13"));
	assert_false(has_warning(&f, "rule 'used'"));
	assert_false(has_warning(&f, "rule 'any-used'"));
	done(&f);
}

static void test_hidden_by_several(void **state)
{
	struct fixture f;

	assert_int_equal(compile_text(&f, "sluice: 1\nrules:\n"
		"- deny: 10.0.0.0/9\n- deny: 10.128.0.0/9\n- allow: 10.0.0.0/8\n  id: both\n"
		"- deny: ['0.0.0.0/0', '::/0']\n  id: everything\n- allow: any:80\n  id: base\n"), 0);
	assert_true(has_warning(&f, "rule 'both' can never match"));
	assert_true(has_warning(&f, "rule 'base' can never match"));
	done(&f);
}

static void test_uid_views(void **state)
{
	const __u32 proxy = 999, other = 1000;
	struct fixture f;
	struct sl_answer a;

	assert_int_equal(compile_text(&f, "sluice: 1\nrules:\n"
		"- allow: '@loopback'\n"
		"- deny: 10.0.0.0/8\n  id: private\n"
		"- allow: {to: any, ports: 443, protocol: tcp, uid: [999, 998]}\n  id: proxy\n"), 0);
	a = ask(&f, "192.0.2.1", IPPROTO_TCP, 443, &proxy, 0);
	assert_string_equal(decider(&f, &a), "proxy");
	a = ask(&f, "192.0.2.1", IPPROTO_TCP, 443, &other, 0);
	assert_int_equal(a.deny, 1);
	a = ask(&f, "192.0.2.1", IPPROTO_TCP, 443, NULL, 0);
	assert_int_equal(a.deny, 1);
	a = ask(&f, "10.0.0.1", IPPROTO_TCP, 443, &proxy, 0);
	assert_string_equal(decider(&f, &a), "private");
	assert_int_equal(f.compiled.n_views, 3);	/* 998 and 999 share one */
	assert_false(has_warning(&f, "proxy"));
	done(&f);
}

static void test_warnings(void **state)
{
	struct fixture f;

	assert_int_equal(compile_text(&f, "sluice: 1\nrules:\n- allow: any:80/tcp\n"), 0);
	assert_true(has_warning(&f, "the metadata service at 169.254.169.254 can be reached"));
	done(&f);
	assert_int_equal(compile_text(&f, "sluice: 1\nrules:\n- deny: '@metadata'\n"
					  "- allow: {to: any, ports: 443, uid: 13}\n  id: p\n"), 0);
	assert_false(has_warning(&f, "metadata"));
	assert_true(has_warning(&f, "rule 'p' is for one user only"));
	done(&f);
}

/* 20 uids, one million prefixes: the prefixes are stored once. */
static void test_worst_uids_times_prefixes(void **state)
{
	struct sl_set set = {.name = (char *)"feed", .n_cidrs = 1000000};
	struct sl_policy policy = {.name = (char *)"worst"};
	struct sl_compile_options options = {.generation = 1};
	struct sl_compiled compiled;
	struct sl_diag diag = {};
	struct sl_item items[20] = {};
	struct sl_rule rules[20] = {};
	struct sl_match matches[20] = {};
	struct sl_port_range ports[20];
	struct sl_uid uids[20] = {};
	struct sl_host host = {.kind = SL_HOST_SET, .set = &set};
	char ids[20][8];
	size_t i;
	__u32 v4;

	set.cidrs = calloc(set.n_cidrs, sizeof(*set.cidrs));
	for (i = 0; i < set.n_cidrs; i++) {
		v4 = htonl(0x01000000 + i * 3001);
		memcpy(set.cidrs[i].addr, &v4, 4);
		set.cidrs[i].family = 4;
		set.cidrs[i].len = 32;
	}
	for (i = 0; i < 20; i++) {
		snprintf(ids[i], sizeof(ids[i]), "u%zu", i);
		ports[i] = (struct sl_port_range){1000 + i, 2000 + i};
		uids[i].number = 1000 + i;
		matches[i] = (struct sl_match){.hosts = &host, .n_hosts = 1, .ports = &ports[i],
					       .n_ports = 1, .uids = &uids[i], .n_uids = 1};
		rules[i] = (struct sl_rule){.matches = &matches[i], .n_matches = 1, .id = ids[i]};
		items[i].rule = &rules[i];
	}
	policy.items = items;
	policy.n_items = 20;
	assert_int_equal(sl_compile(&policy, &options, &compiled, &diag), 0);
	print_message("20 uids x 1M prefixes: %zu KiB\n", compiled.table.n_words / 128);
	assert_true(compiled.table.n_words <= SL_TABLE_WORDS_MAX);
	assert_int_equal(compiled.n_views, 22);
	sl_compiled_free(&compiled);
	sl_diag_free(&diag);
	free(set.cidrs);
}

static char *address_port_rules(int n_addresses, int n_any)
{
	size_t size = (size_t)n_addresses * 40 + n_any * 40 + 100, at;
	char *text = malloc(size);
	int i;

	at = snprintf(text, size, "sluice: 1\nrules:\n");
	for (i = 0; i < n_any; i++)
		at += snprintf(text + at, size - at, "- %s: any:%d/tcp\n", i % 2 ? "deny" : "allow",
			       10000 + 2 * i);
	for (i = 0; i < n_addresses; i++)
		at += snprintf(text + at, size - at, "- allow: 10.%d.%d.%d:%d\n", i >> 16 & 255,
			       i >> 8 & 255, i & 255, 1 + i % 60000);
	return text;
}

static void test_worst_address_port(void **state)
{
	char *text = address_port_rules(65000, 1000);
	struct fixture f;
	struct sl_answer a;

	assert_int_equal(compile_text(&f, text), 0);
	print_message("65,000 address:port under 1,000 ports on any: %zu KiB\n",
		      f.compiled.table.n_words / 128);
	a = ask(&f, "10.0.1.2", IPPROTO_UDP, 259, NULL, 0);
	assert_int_equal(a.deny, 0);
	a = ask(&f, "10.0.1.2", IPPROTO_UDP, 260, NULL, 0);
	assert_int_equal(a.deny, 1);
	done(&f);
	free(text);
}

static void test_bound_names_the_rules(void **state)
{
	char *text = address_port_rules(66000, 3);
	struct fixture f;

	assert_int_not_equal(compile_text(&f, text), 0);
	assert_true(has_warning(&f, "65,535 address classes"));
	assert_true(has_warning(&f, "contributes"));
	done(&f);
	free(text);
}

/* A table cut or changed anywhere is a denial, never a crash. */
static void test_damaged_table_denies(void **state)
{
	struct fixture f;
	struct sl_table t;
	struct sl_question q;
	struct sl_answer a;
	size_t cut;

	assert_int_equal(compile_text(&f, "sluice: 1\nrules:\n- allow: 10.0.0.0/8:443\n"
					  "- allow: {to: any, ports: 80, uid: 5}\n"), 0);
	for (cut = 0; cut < f.compiled.table.n_words; cut++) {
		t = f.compiled.table;
		t.n_words = cut;
		q = (struct sl_question){.family = 4, .address_low = 0x0a000001, .protocol = 6,
					 .key = 443, .has_uid = 1, .uid = 5};
		if (!sl_table_judge(&t, &q, &a)) {
			assert_int_equal(a.deny, 1);
			assert_int_equal(a.reason, SL_REASON_NO_POLICY);
		}
	}
	for (cut = 1; cut < f.compiled.table.n_words; cut++) {
		__u64 kept = f.compiled.table.words[cut];

		f.compiled.table.words[cut] = ~0ull;
		q = (struct sl_question){.family = 6, .address_low = 1, .protocol = 6, .key = 80,
					 .has_uid = 1, .uid = 5};
		sl_table_judge(&f.compiled.table, &q, &a);
		f.compiled.table.words[cut] = kept;
	}
	done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_same_bytes_twice),
		cmocka_unit_test(test_order_of_prefixes),
		cmocka_unit_test(test_sets_in_turn),
		cmocka_unit_test(test_many_ranges),
		cmocka_unit_test(test_close_ranges),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_expiry_chain),
		cmocka_unit_test(test_chain_bound),
		cmocka_unit_test(test_unreachable),
		cmocka_unit_test(test_hidden_by_several),
		cmocka_unit_test(test_uid_views),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_worst_uids_times_prefixes),
		cmocka_unit_test(test_worst_address_port),
		cmocka_unit_test(test_bound_names_the_rules),
		cmocka_unit_test(test_damaged_table_denies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
