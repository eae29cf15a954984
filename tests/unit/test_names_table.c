// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Names in the compiler: the words of the table, what is warned of, bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "compile/compile.h"
#include "names_lab.h"

/* ---- the words of the table ---- */

static void the_dns_section_says_what_the_policy_says(void **state)
{
	const __u64 *w;
	struct fixture f;

	compile_ok(&f, "sluice: 1\ndns: {types: [TXT, A, AAAA, MX, TYPE65535], ttl: {min: 2s, max: 1h}}\n"
		       "limits: {dns: 20/s}\nrules: [{allow: [a.test, b.test]}]\n");
	assert_int_equal(f.compiled.table.words[SL_H_DNS] >> 32, 1);
	w = f.compiled.table.words + (__u32)f.compiled.table.words[SL_H_DNS];
	assert_int_equal((w - f.compiled.table.words) % SL_CHUNK_WORDS, 0);
	assert_true(w[SL_N_TYPES] == (16ull | 1ull << 16 | 28ull << 32 | 15ull << 48));
	assert_true(w[SL_N_TYPES + 1] == 65535);
	assert_true(w[SL_N_TYPES + 2] == 0 && w[SL_N_TYPES + 3] == 0);
	assert_true(w[SL_N_TTL] == (2ull << 32 | 3600));
	assert_true(w[SL_N_RATE_NS] == 50000000 && w[SL_N_BURST] == 20);
	assert_int_equal(w[SL_N_PATTERNS], 2);
	done(&f);
	compile_ok(&f, "sluice: 1\ndns: {resolvers: [192.0.2.53]}\n");
	w = f.compiled.table.words + (__u32)f.compiled.table.words[SL_H_DNS];
	/* A AAAA CNAME HTTPS, SVCB SRV MX; a minute to a day */
	assert_true(w[SL_N_TYPES] == (1ull | 28ull << 16 | 5ull << 32 | 65ull << 48));
	assert_true(w[SL_N_TYPES + 1] == (64ull | 33ull << 16 | 15ull << 32));
	assert_true(w[SL_N_TTL] == (60ull << 32 | 86400));
	assert_true(w[SL_N_RATE_NS] == 0 && w[SL_N_BURST] == 0 && w[SL_N_PATTERNS] == 0);
	done(&f);
}

static void same_policy_same_bytes(void **state)
{
	static const char text[] = "sluice: 1\nrules:\n- allow: ['*.b.test:443', a.test, '*']\n"
				   "- deny: c.test\n- allow: {to: d.test, uid: 5}\n";
	struct fixture a, b;

	assert_int_equal(compile_in(&a, text, &with_search), 0);
	assert_int_equal(compile_in(&b, text, &with_search), 0);
	assert_int_equal(a.compiled.table.n_words, b.compiled.table.n_words);
	assert_memory_equal(a.compiled.table.words, b.compiled.table.words,
			    a.compiled.table.n_words * sizeof(__u64));
	assert_int_equal(a.compiled.n_patterns, b.compiled.n_patterns);
	assert_memory_equal(a.compiled.patterns, b.compiled.patterns,
			    a.compiled.n_patterns * sizeof(*a.compiled.patterns));
	done(&a);
	done(&b);
}

/* A table cut or changed anywhere is a denial or an answer, never a crash. */
static void a_damaged_table_denies(void **state)
{
	const char *owners[] = {"x.b.test", "a.test"};
	struct sl_question q;
	struct sl_compiled cut;
	struct sl_answer a;
	struct fixture f;
	size_t i;

	compile_ok(&f, "sluice: 1\nrules:\n- allow: '*.b.test:443'\n- deny: c.test\n"
		       "- allow: {to: a.test, ports: 80, uid: 5}\n");
	for (i = 0; i < f.compiled.table.n_words; i++) {
		cut = f.compiled;
		cut.table.n_words = i;
		q = (struct sl_question){.family = 4, .protocol = 6, .key = 443, .has_uid = 1,
					 .uid = 5};
		if (!sl_names_connection(&cut, &q, owners, 2, &a)) {
			assert_int_equal(a.deny, 1);
			assert_int_equal(a.reason, SL_REASON_NO_POLICY);
		}
		if (!sl_names_question(&cut, "x.b.test", 1, &a)) {
			assert_int_equal(a.deny, 1);
			assert_int_equal(a.reason, SL_REASON_NO_POLICY);
		}
		sl_table_common_address(&cut.table, 4, &q);
		sl_table_common_address(&cut.table, 6, &q);
	}
	for (i = 0; i < f.compiled.table.n_words; i++) {
		__u64 kept = f.compiled.table.words[i];

		f.compiled.table.words[i] = ~0ull;
		q = (struct sl_question){.family = 6, .protocol = 6, .key = 80, .has_uid = 1,
					 .uid = 5};
		sl_names_connection(&f.compiled, &q, owners, 2, &a);
		sl_names_question(&f.compiled, "c.test", 1, &a);
		f.compiled.table.words[i] = kept;
	}
	done(&f);
}

/* ---- what is said ---- */

static void warnings_name_what_hides_or_denies(void **state)
{
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n"
		       "- allow: '*.a.test:443'\n  id: wide\n"
		       "- allow: api.a.test:443\n  id: inside\n"
		       "- allow: api.a.test:80\n  id: more\n"
		       "- allow: '*.a.test:443'\n  id: twin\n"
		       "- deny: api.a.test\n  id: late\n"
		       "- deny: any:22\n  id: no-ssh\n"
		       "- allow: git.test:22\n  id: ssh\n"
		       "- allow: 10.0.0.1:22\n  id: hidden\n"
		       "- allow: any:8443\n  id: free\n"
		       "- allow: b.test:8443\n  id: asked\n");
	assert_true(says(&f, "rule 'inside' can never match: 'wide' in line 3"));
	assert_true(says(&f, "rule 'twin' says the same as 'wide' in line 3"));
	assert_true(says(&f, "rule 'late' can never match: 'wide' in line 3"));
	assert_true(says(&f, "rule 'ssh' lets names be asked, but 'no-ssh' in line 13"));
	assert_true(says(&f, "rule 'hidden' can never match: 'no-ssh' in line 13"));
	assert_false(says(&f, "rule 'more'"));
	/* Its question is of use, though its connections are allowed before. */
	assert_false(says(&f, "rule 'asked'"));
	assert_int_equal(f.diag.n_warnings, 5);
	done(&f);
	compile_ok(&f, "sluice: 1\nlimits: {dns: 5/s}\nrules: [{allow: '*:443'}]\n");
	assert_int_equal(f.diag.n_warnings, 0);
	done(&f);
}

/* ---- bounds ---- */

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* n rules, each with a pattern of its own; every fifth a deny, every seventh a suffix. */
static char *many_names(size_t n)
{
	char *text;
	size_t len, i;
	FILE *out = open_memstream(&text, &len);

	fputs("sluice: 1\nrules:\n", out);
	for (i = 0; i < n; i++)
		fprintf(out, i % 5 ? "- allow: \"%sh%zu.s%zu.example%zu.test:%zu\"\n"
				   : "- deny: \"%sh%zu.s%zu.example%zu.test\"\n",
			i % 7 ? "" : "*.", i, i % 97, i % 1000, 1 + i % 60000);
	fclose(out);
	return text;
}

static void twenty_thousand_patterns_are_compiled_at_once(void **state)
{
	struct sl_compile_options options = {.generation = 1};
	struct sl_compiled again;
	struct fixture f;
	char *text = many_names(20000), name[64];
	double start;

	assert_int_equal(compile_in(&f, text, &no_search), 0);
	start = seconds();
	assert_int_equal(sl_compile(f.policy, &options, &again, &f.diag), 0);
	print_message("20,000 patterns: %.3f s (with sanitizers), %zu KiB of table, %zu classes\n",
		      seconds() - start, again.table.n_words / 128, again.n_name_classes);
	assert_true(seconds() - start < 10);
	assert_int_equal(again.n_patterns, 20000);
	for (size_t i = 0; i < 20000; i += 331) {
		struct sl_answer a;

		snprintf(name, sizeof(name), "%sh%zu.s%zu.example%zu.test", i % 7 ? "" : "x.", i,
			 i % 97, i % 1000);
		assert_true(sl_names_question(&again, name, 1, &a));
		assert_int_equal(a.rule, i + 2); /* behind the gate's two */
		assert_int_equal(a.deny, i % 5 == 0);
	}
	sl_compiled_free(&again);
	done(&f);
	free(text);
}

static void too_many_patterns_are_refused(void **state)
{
	struct fixture f;
	char *text = many_names(35000);

	assert_int_equal(compile_in(&f, text, &no_search), 0);
	done(&f);
	assert_int_not_equal(compile_in(&f, text, &with_search), 0);
	assert_true(says(&f, "are there for the 2 search domains"));
	assert_true(says(&f, "64 MiB for the compiled table and its patterns of names"));
	assert_true(says(&f, "contributes"));
	done(&f);
	free(text);
}

static void a_list_of_many_names_is_one_class(void **state)
{
	struct fixture f;
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs("sluice: 1\nrules:\n- deny:\n", out);
	for (int i = 0; i < 50000; i++)
		fprintf(out, "  - n%d.test\n", i);
	fclose(out);
	compile_ok(&f, text);
	assert_int_equal(f.compiled.n_name_classes, 1);
	assert_int_equal(f.compiled.n_patterns, 50000);
	assert_int_equal(f.compiled.table.n_words, SL_PAGE_WORDS);
	done(&f);
	free(text);
}

/* Many hidden rules are counted, and only a hundred are looked at closely. */
static void many_hidden_names_take_no_time(void **state)
{
	struct fixture f;
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	double start;

	fputs("sluice: 1\nrules:\n- deny: \"*.test\"\n", out);
	for (int i = 0; i < 20000; i++)
		fprintf(out, "- allow: n%d.test:443\n", i);
	fclose(out);
	start = seconds();
	compile_ok(&f, text);
	print_message("20,000 hidden rules: %.3f s (with sanitizers)\n", seconds() - start);
	assert_true(seconds() - start < 20);
	assert_int_equal(f.diag.n_warnings, 20000);
	done(&f);
	free(text);
}

static char *expiring_names(int n)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs("sluice: 1\nrules:\n", out);
	for (int i = 0; i < n; i++)
		fprintf(out, "- allow: a.test:443\n  id: e%d\n  expires: '2100-01-%02d'\n", i,
			i % 28 + 1);
	fputs("- deny: a.test\n  id: last\n", out);
	fclose(out);
	return text;
}

static void expiring_rules_by_name_are_bounded(void **state)
{
	char *fits = expiring_names(SL_OTHERWISE_MAX - 1), *more = expiring_names(SL_OTHERWISE_MAX);
	struct fixture f;

	compile_ok(&f, fits);
	assert_string_equal(question_at(&f, "a.test", ~0ull), "deny last dns-name");
	done(&f);
	assert_int_not_equal(compile_in(&f, more, &no_search), 0);
	assert_true(says(&f, "'last' stands behind 16 expiring rules"));
	done(&f);
	free(fits);
	free(more);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_dns_section_says_what_the_policy_says),
		cmocka_unit_test(same_policy_same_bytes),
		cmocka_unit_test(a_damaged_table_denies),
		cmocka_unit_test(warnings_name_what_hides_or_denies),
		cmocka_unit_test(twenty_thousand_patterns_are_compiled_at_once),
		cmocka_unit_test(too_many_patterns_are_refused),
		cmocka_unit_test(a_list_of_many_names_is_one_class),
		cmocka_unit_test(many_hidden_names_take_no_time),
		cmocka_unit_test(expiring_rules_by_name_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
