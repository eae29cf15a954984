// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* user/resolve: users, times and ids of rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "resolve/resolve.h"
#include "resolve_lab.h"

static void user_names_become_numbers(void **state)
{
	struct loaded l;

	write_rules("p.yaml", "", "  - allow: {to: any, uid: [root, 1000]}\n");
	l = load_ok("p.yaml");
	assert_int_equal(rule(&l, 0)->matches[0].uids[0].kind, SL_UID_NUMBER);
	assert_int_equal(rule(&l, 0)->matches[0].uids[0].number, 0);
	assert_int_equal(rule(&l, 0)->matches[0].uids[1].number, 1000);
	unload(&l);
	write_rules("p.yaml", "", "  - allow: {to: any, uid: sl-nobody-has-this}\n");
	expect_errors("p.yaml:3:", "no user \"sl-nobody-has-this\"", NULL);
}

static void durations_become_times(void **state)
{
	struct loaded l;

	write_rules("p.yaml", "",
		    "  - {allow: 10.0.0.1, id: a, expires: 90s}\n"
		    "  - {allow: 10.0.0.2, expires: \"2030-03-18T00:00:00Z\"}\n");
	l = load_ok("p.yaml");
	assert_int_equal(rule(&l, 0)->expiry, SL_EXPIRES_AT);
	assert_int_equal(rule(&l, 0)->expires_s, NOW + 90);
	assert_int_equal(rule(&l, 1)->expires_s, 1900022400);
	assert_int_equal(l.diag.n_warnings, 0);
	unload(&l);
}

/* One rule was there 50 s ago, the other is new. */
static __s64 known_since(void *context, const char *id, __s64 now_s)
{
	return strcmp(id, context) ? now_s : now_s - 50;
}

static void durations_count_from_the_first_effect(void **state)
{
	struct sl_resolve_options with = options;
	struct loaded l;

	write_rules("p.yaml", "",
		    "  - {allow: 10.0.0.1, id: old, expires: 90s}\n"
		    "  - {allow: 10.0.0.2, id: new, expires: 90s}\n"
		    "  - {allow: 10.0.0.3, id: fixed, expires: \"2030-03-18T00:00:00Z\"}\n");
	with.since = known_since;
	with.since_context = "old";
	l = load_with("p.yaml", &with);
	assert_int_equal(l.err, 0);
	assert_int_equal(rule(&l, 0)->expires_s, NOW + 40);
	assert_int_equal(rule(&l, 1)->expires_s, NOW + 90);
	assert_int_equal(rule(&l, 2)->expires_s, 1900022400);
	unload(&l);
}

static void rule_that_is_over_is_a_warning(void **state)
{
	struct loaded l;

	write_rules("p.yaml", "",
		    "  - {allow: 10.0.0.1, expires: 2030-03-16}\n"
		    "  - {allow: 10.0.0.2, expires: 2030-03-17}\n");
	l = load_ok("p.yaml");
	assert_int_equal(l.policy->n_items, 2);
	assert_int_equal(l.diag.n_warnings, 1);
	assert_non_null(strstr(l.messages, "p.yaml:3:"));
	assert_non_null(strstr(l.messages, "rule is over"));
	unload(&l);
}

static void old_clock_is_not_believed(void **state)
{
	struct sl_resolve_options old = {.env = &environment, .now_s = 1000000000};
	struct loaded l;

	write_rules("p.yaml", "",
		    "  - {allow: 10.0.0.1, expires: 2090-01-01}\n"
		    "  - {allow: 10.0.0.2, id: a, expires: 1h}\n");
	l = load_with("p.yaml", &old);
	assert_int_equal(l.err, -EINVAL);
	assert_int_equal(l.diag.n_errors, 1);
	assert_non_null(strstr(l.messages, "--trust-clock"));
	assert_non_null(strstr(l.messages, "p.yaml:3:"));
	unload(&l);
	old.trust_clock = true;
	l = load_with("p.yaml", &old);
	assert_int_equal(l.err, 0);
	unload(&l);
	/* Without dates the clock does not matter. */
	old.trust_clock = false;
	write_rules("p.yaml", "", "  - allow: 10.0.0.1\n");
	l = load_with("p.yaml", &old);
	assert_int_equal(l.err, 0);
	unload(&l);
}

static void default_ids_stay_with_their_rules(void **state)
{
	struct loaded one, two;

	write_rules("p.yaml", "", "  - allow: \"@gateway:443\"\n");
	one = load_ok("p.yaml");
	write_rules("p.yaml", "", "  - deny: 10.0.0.9\n  - allow: \"@gateway:443\"\n");
	options.env = &(struct sl_environment){.gateway = hosts, .n_gateway = 1};
	two = load_ok("p.yaml");
	options.env = &environment;
	assert_int_equal(strncmp(rule(&one, 0)->id, "allow-", 6), 0);
	assert_string_equal(rule(&one, 0)->id, rule(&two, 1)->id);
	assert_false(rule(&one, 0)->id_written);
	unload(&one);
	unload(&two);
}

static void equal_default_ids_get_numbers(void **state)
{
	char id[64], rules[512];
	struct loaded l;

	write_rules("p.yaml", "", "  - allow: 10.0.0.1\n");
	l = load_ok("p.yaml");
	strcpy(id, rule(&l, 0)->id);
	unload(&l);
	snprintf(rules, sizeof(rules),
		 "  - allow: 10.0.0.1\n  - allow: 10.0.0.1\n"
		 "  - allow: 10.0.0.1\n  - {deny: 10.0.0.2, id: %s-2}\n"
		 "  - allow: 10.0.0.1\n",
		 id);
	write_rules("p.yaml", "", rules);
	l = load_ok("p.yaml");
	assert_string_equal(rule(&l, 0)->id, id);
	snprintf(rules, sizeof(rules), "%s-3", id);
	assert_string_equal(rule(&l, 1)->id, rules);
	snprintf(rules, sizeof(rules), "%s-4", id);
	assert_string_equal(rule(&l, 2)->id, rules);
	snprintf(rules, sizeof(rules), "%s-5", id);
	assert_string_equal(rule(&l, 4)->id, rules);
	unload(&l);
}

static void written_ids_are_unique_across_includes(void **state)
{
	write_rules("p.yaml", "", "  - {allow: 10.0.0.1, id: web}\n  - include: a.yaml\n");
	write_rules("a.yaml", "", "  - {allow: 10.0.0.2, id: web}\n");
	expect_errors("a.yaml:3:", "id \"web\" is that of the rule at p.yaml:3:", NULL);
	write_rules("p.yaml", "", "  - include: a.yaml\n  - include: a.yaml\n");
	expect_errors("included twice", NULL);
	write_file("p.yaml", "sluice: 1\ndns: {resolvers: [192.0.2.53]}\n"
			     "rules:\n  - {allow: 10.0.0.1, id: dns-gate}\n");
	expect_errors("p.yaml:4:", "dns-gate", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(user_names_become_numbers),
		TEST(durations_become_times),
		TEST(durations_count_from_the_first_effect),
		TEST(rule_that_is_over_is_a_warning),
		TEST(old_clock_is_not_believed),
		TEST(default_ids_stay_with_their_rules),
		TEST(equal_default_ids_get_numbers),
		TEST(written_ids_are_unique_across_includes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
