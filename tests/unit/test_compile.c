// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The compiler: what a table answers, the same bytes each time, damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "compile_lab.h"

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
	assert_false(says(&f, "proxy"));
	done(&f);
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
		cmocka_unit_test(test_sets_in_turn),
		cmocka_unit_test(test_expiry_chain),
		cmocka_unit_test(test_uid_views),
		cmocka_unit_test(test_damaged_table_denies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
