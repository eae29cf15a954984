// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The compiler: its bounds, and the largest that stay within. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "compile_lab.h"

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
	assert_true(says(&f, "'last' stands behind 16 expiring rules"));
	done(&f);
	free(fits);
	free(too_many);
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
	assert_true(says(&f, "65,535 address classes"));
	assert_true(says(&f, "contributes"));
	done(&f);
	free(text);
}

/* Many rules over one prefix, some for a part of it: at each address where that begins or ends the
 * rules that hold are those of a class that is there, and it is found. */
static void test_classes_are_found_again(void **state)
{
	static char text[300 * 64 + 64 * 40];
	const size_t size = sizeof(text);
	struct fixture f;
	size_t at;
	int i;

	at = snprintf(text, size, "sluice: 1\nrules:\n");
	for (i = 0; i < 300; i++)
		at += snprintf(text + at, size - at, "- allow: {to: %d.0.0.0/8, ports: %d}\n",
			       i % 97 == 50 ? 11 : 10, 1000 + i);
	at += snprintf(text + at, size - at, "- deny: [");
	for (i = 0; i < 64; i++)
		at += snprintf(text + at, size - at, "10.1.%d.7, ", i);
	at += snprintf(text + at, size - at, "10.2.0.0/16]\n");
	snprintf(text + at, size - at, "- allow: {to: 10.2.0.0/16, ports: 2000}\n");
	assert_int_equal(compile_text(&f, text), 0);
	/* nothing, the prefixes, what is denied of one, and that with one rule more */
	assert_int_equal(f.compiled.n_classes, 5);
	for (i = 0; i < 300; i++) {
		assert_int_equal(ask(&f, i % 97 == 50 ? "11.1.9.9" : "10.1.9.9", IPPROTO_TCP,
				     1000 + i, NULL, 0).rule, i);
		assert_int_equal(ask(&f, i % 97 == 50 ? "10.1.9.9" : "11.1.9.9", IPPROTO_TCP,
				     1000 + i, NULL, 0).deny, 1);
	}
	assert_int_equal(ask(&f, "10.1.9.9", IPPROTO_TCP, 1300, NULL, 0).deny, 1);
	assert_int_equal(ask(&f, "10.1.9.9", IPPROTO_TCP, 2000, NULL, 0).rule, SL_NONE);
	assert_int_equal(ask(&f, "10.2.0.1", IPPROTO_TCP, 2000, NULL, 0).rule, 300);
	done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chain_bound),
		cmocka_unit_test(test_worst_uids_times_prefixes),
		cmocka_unit_test(test_worst_address_port),
		cmocka_unit_test(test_bound_names_the_rules),
		cmocka_unit_test(test_classes_are_found_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
