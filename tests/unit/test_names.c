// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Names in the compiler: patterns, questions, search domains. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "names_lab.h"

/* ---- patterns ---- */

static void keys_are_the_name_reversed(void **state)
{
	static const struct {
		const char *name;
		bool suffix;
		const char *data;
		unsigned bytes;
	} cases[] = {
		{"a.bc", false, "cb.a", 5}, {"a.bc", true, "cb.a.", 5}, {"x", false, "x", 2},
		{"", true, "", 0},
	};
	char longest[SL_NAME_CHARACTERS + 1];
	struct sl_pattern p = {};
	char text[SL_PATTERN_BYTES + 2];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		sl_pattern_key(cases[i].name, cases[i].suffix, &p.key);
		assert_int_equal(p.key.prefixlen, 8 * cases[i].bytes);
		assert_string_equal((const char *)p.key.data, cases[i].data);
		snprintf(longest, sizeof(longest), "%s%s%s", cases[i].suffix ? "*" : "",
			 cases[i].suffix && *cases[i].name ? "." : "", cases[i].name);
		assert_string_equal(sl_pattern_text(&p, text), longest);
	}
	memset(longest, 'a', SL_NAME_CHARACTERS);
	longest[SL_NAME_CHARACTERS] = 0;
	sl_pattern_key(longest, false, &p.key);
	assert_int_equal(p.key.prefixlen, 8 * 254);
	sl_pattern_key(longest, true, &p.key);
	assert_int_equal(p.key.prefixlen, 8 * 254);
	assert_int_equal(p.key.data[253], '.');
}

static void patterns_are_sorted_and_found(void **state)
{
	struct fixture f;
	size_t i;

	compile_ok(&f, "sluice: 1\nrules:\n- allow: ['*', '*.b.c', '*.c', x.b.c, b.c, '*.a.b.c']\n");
	assert_int_equal(f.compiled.n_patterns, 6);
	for (i = 1; i < f.compiled.n_patterns; i++) {
		const struct sl_pattern_key *a = &f.compiled.patterns[i - 1].key;
		const struct sl_pattern_key *b = &f.compiled.patterns[i].key;

		assert_true(a->prefixlen < b->prefixlen ||
			    (a->prefixlen == b->prefixlen &&
			     memcmp(a->data, b->data, sizeof(a->data)) < 0));
	}
	assert_string_equal(pattern_of(&f, "x.b.c"), "x.b.c");
	assert_string_equal(pattern_of(&f, "b.c"), "b.c");
	assert_string_equal(pattern_of(&f, "y.b.c"), "*.b.c");
	assert_string_equal(pattern_of(&f, "y.x.b.c"), "*.b.c");
	assert_string_equal(pattern_of(&f, "y.a.b.c"), "*.a.b.c");
	assert_string_equal(pattern_of(&f, "a.b.c"), "*.b.c");
	assert_string_equal(pattern_of(&f, "xb.c"), "*.c");
	assert_string_equal(pattern_of(&f, "c"), "*");
	assert_string_equal(pattern_of(&f, "cc"), "*");
	assert_string_equal(pattern_of(&f, "x.b.c.d"), "*");
	done(&f);
}

static void look_alikes_are_not_covered(void **state)
{
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n- allow: ['*.github.com:443', 'github.com:443']\n  id: g\n");
	assert_string_equal(question(&f, "api.github.com"), "allow g rule");
	assert_string_equal(question(&f, "github.com"), "allow g rule");
	assert_string_equal(question(&f, "evilgithub.com"), "deny - dns-name");
	assert_string_equal(question(&f, "github.com.evil.org"), "deny - dns-name");
	assert_string_equal(question(&f, "github.co"), "deny - dns-name");
	assert_string_equal(question(&f, "hub.com"), "deny - dns-name");
	assert_string_equal(question(&f, "com"), "deny - dns-name");
	assert_string_equal(question(&f, ""), "deny - dns-name");
	done(&f);
}

/* ---- questions ---- */

static void the_first_pattern_in_the_file_decides(void **state)
{
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n"
		       "- deny: evil.a.test\n  id: inside\n"
		       "- allow: '*.a.test:443'\n  id: wide\n"
		       "- deny: '*.b.test'\n  id: all-b\n"
		       "- allow: good.b.test\n  id: hidden\n"
		       "- allow: {to: q.test, ports: 25, protocol: tcp, uid: 5}\n  id: mail\n");
	assert_string_equal(question(&f, "evil.a.test"), "deny inside dns-name");
	assert_string_equal(question(&f, "x.evil.a.test"), "allow wide rule");
	assert_string_equal(question(&f, "good.b.test"), "deny all-b dns-name");
	/* whatever its ports and uid */
	assert_string_equal(question(&f, "q.test"), "allow mail rule");
	assert_true(says(&f, "rule 'hidden' can never match: 'all-b' in line 7"));
	assert_false(says(&f, "rule 'wide'"));
	assert_false(says(&f, "rule 'mail' can never"));
	done(&f);
}

static void queries_default_follows_names_and_default(void **state)
{
	static const struct {
		const char *text;
		bool any;
	} cases[] = {
		{"sluice: 1\nrules: [{allow: a.test}]\n", false},
		{"sluice: 1\nrules: [{deny: a.test}]\n", true},
		{"sluice: 1\ndefault: allow\nrules: [{allow: a.test}]\n", true},
		{"sluice: 1\ndefault: allow\ndns: {queries: listed}\nrules: [{allow: a.test}]\n",
		 false},
		{"sluice: 1\ndns: {queries: any}\nrules: [{allow: a.test}]\n", true},
		{"sluice: 1\ndns: {resolvers: [192.0.2.53]}\n", true},
		{"sluice: 1\ndns: {resolvers: [192.0.2.53], queries: listed}\n", false},
		/* expired or not */
		{"sluice: 1\nrules: [{allow: a.test, " FIRST "}]\n", false},
	};
	struct fixture f;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		__u64 flags;

		compile_ok(&f, cases[i].text);
		flags = f.compiled.table.words[SL_H_FLAGS];
		assert_true(flags & SL_F_NAMES);
		assert_int_equal(!!(flags & SL_F_QUERIES_ANY), cases[i].any);
		assert_string_equal(question(&f, "other.test"),
				    cases[i].any ? "allow - dns-resolver" : "deny - dns-name");
		done(&f);
	}
	compile_ok(&f, "sluice: 1\nrules: [{allow: 10.0.0.1}]\n");
	assert_false(f.compiled.table.words[SL_H_FLAGS] & (SL_F_NAMES | SL_F_QUERIES_ANY));
	assert_int_equal(f.compiled.table.words[SL_H_DNS], 0);
	done(&f);
}

static void an_expired_rule_is_passed_over(void **state)
{
	struct fixture f;
	struct flow flow = {.port = 443};

	compile_ok(&f, "sluice: 1\nrules:\n"
		       "- deny: a.test\n  id: d\n  " FIRST "\n"
		       "- allow: '*.test:443'\n  id: a\n  " SECOND "\n");
	assert_string_equal(question_at(&f, "a.test", FIRST_NS - 1), "deny d dns-name");
	assert_string_equal(question_at(&f, "a.test", FIRST_NS), "allow a rule");
	assert_string_equal(question_at(&f, "a.test", SECOND_NS), "deny - dns-name");
	assert_string_equal(question_at(&f, "b.test", 1), "allow a rule");
	/* A name owns nothing while it may not be asked. */
	flow.now_ns = FIRST_NS - 1;
	assert_string_equal(connection_of(&f, "a.test", &flow), "deny - default");
	flow.now_ns = FIRST_NS;
	assert_string_equal(connection_of(&f, "a.test", &flow), "allow a rule");
	assert_int_equal(flow.deadline_ns, SECOND_NS);
	flow.now_ns = SECOND_NS;
	assert_string_equal(connection_of(&f, "a.test", &flow), "deny - default");
	done(&f);
}

/* The rule that allows a connection holds longer than the one that allows the question. */
static void a_connection_holds_no_longer_than_the_question(void **state)
{
	struct flow flow = {.port = 80};
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n"
		       "- allow: a.test:443\n  id: q\n  " FIRST "\n"
		       "- deny: '*.test'\n  id: d\n"
		       "- allow: '*:80'\n  id: c\n");
	assert_string_equal(question_at(&f, "a.test", 1), "allow q rule");
	assert_string_equal(connection_of(&f, "a.test", &flow), "allow c rule");
	assert_int_equal(flow.deadline_ns, FIRST_NS);
	flow.now_ns = FIRST_NS;
	assert_string_equal(question_at(&f, "a.test", FIRST_NS), "deny d dns-name");
	assert_string_equal(connection_of(&f, "a.test", &flow), "deny - default");
	done(&f);
}

/* A target of a CNAME is refused where a rule denies its question. */
static void denied_targets_are_told_from_unlisted_ones(void **state)
{
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n- allow: '*.cdn.test:443'\n  id: a\n"
		       "- deny: '*.test'\n  id: d\n");
	assert_string_equal(question(&f, "x.cdn.test"), "allow a rule");
	assert_string_equal(question(&f, "tracker.test"), "deny d dns-name");
	assert_string_equal(question(&f, "edge.example"), "deny - dns-name");
	done(&f);
}

/* ---- search domains ---- */

static void searched_names_may_be_asked_and_teach_nothing(void **state)
{
	struct fixture f;

	assert_int_equal(compile_in(&f, "sluice: 1\nrules:\n"
		"- deny: secret.corp.example\n  id: d\n"
		"- allow: ['github.com:443', '*.a.test:443', secret]\n  id: a\n"
		"- allow: github.com.lan:80\n  id: real\n"
		"- deny: blocked.test\n  id: d2\n", &with_search), 0);
	assert_string_equal(question(&f, "github.com.corp.example"), "allow dns-search dns-resolver");
	assert_string_equal(question(&f, "x.a.test.lan"), "allow dns-search dns-resolver");
	assert_string_equal(connection(&f, "github.com.corp.example", 443), "deny - default");
	assert_string_equal(connection(&f, "x.a.test.lan", 443), "deny - default");
	/* A rule of the policy comes first, whatever it says. */
	assert_string_equal(question(&f, "secret.corp.example"), "deny d dns-name");
	assert_string_equal(question(&f, "github.com.lan"), "allow real rule");
	assert_string_equal(connection(&f, "github.com.lan", 80), "allow real rule");
	assert_string_equal(connection(&f, "github.com.lan", 443), "deny - default");
	/* Only what is allowed; not twice; not the domain alone. */
	assert_string_equal(question(&f, "blocked.test.lan"), "deny - dns-name");
	assert_string_equal(question(&f, "github.com.lan.lan"), "allow dns-search dns-resolver");
	assert_string_equal(question(&f, "github.com.corp.example.lan"), "deny - dns-name");
	assert_string_equal(question(&f, "lan"), "deny - dns-name");
	/* github.com, *.a.test, secret and github.com.lan, each with two domains, but for two
	 * that rules name: secret.corp.example and github.com.lan */
	assert_int_equal(f.compiled.n_ask_only, 4 * 2 - 2);
	assert_int_equal(f.compiled.n_patterns, 6 + 4 * 2 - 2);
	done(&f);
}

static void search_adds_nothing_where_it_is_not_needed(void **state)
{
	static const char *const texts[] = {
		"sluice: 1\nrules: [{allow: '*'}]\n",
		"sluice: 1\nrules: [{deny: a.test}]\n",
		"sluice: 1\ndns: {queries: any}\nrules: [{allow: a.test}]\n",
		"sluice: 1\ndns: {search: []}\nrules: [{allow: a.test}]\n",
		"sluice: 1\ndefault: allow\nrules: [{allow: a.test}]\n",
	};
	char text[400], label[64], name[260] = "";
	struct fixture f;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		assert_int_equal(compile_in(&f, texts[i], &with_search), 0);
		assert_int_equal(f.compiled.n_patterns, 1);
		assert_int_equal(f.compiled.n_ask_only, 0);
		done(&f);
	}
	/* A name that would be too long is none. 3 * 64 + 49 = 241 characters and ".lan". */
	memset(label, 'a', 63);
	label[63] = 0;
	snprintf(name, sizeof(name), "%s.%s.%s.%.49s", label, label, label, label);
	snprintf(text, sizeof(text), "sluice: 1\nrules: [{allow: %s}]\n", name);
	assert_int_equal(compile_in(&f, text, &with_search), 0);
	assert_int_equal(f.compiled.n_ask_only, 1);
	strcat(name, ".lan");
	assert_string_equal(question(&f, name), "allow dns-search dns-resolver");
	done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_the_name_reversed),
		cmocka_unit_test(patterns_are_sorted_and_found),
		cmocka_unit_test(look_alikes_are_not_covered),
		cmocka_unit_test(the_first_pattern_in_the_file_decides),
		cmocka_unit_test(queries_default_follows_names_and_default),
		cmocka_unit_test(an_expired_rule_is_passed_over),
		cmocka_unit_test(a_connection_holds_no_longer_than_the_question),
		cmocka_unit_test(denied_targets_are_told_from_unlisted_ones),
		cmocka_unit_test(searched_names_may_be_asked_and_teach_nothing),
		cmocka_unit_test(search_adds_nothing_where_it_is_not_needed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
