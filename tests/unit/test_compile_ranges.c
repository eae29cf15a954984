// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The compiler: ranges of addresses, and what leads to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "compile_lab.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_of_prefixes),
		cmocka_unit_test(test_many_ranges),
		cmocka_unit_test(test_close_ranges),
		cmocka_unit_test(test_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
