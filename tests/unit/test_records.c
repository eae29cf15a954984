// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Records as a policy, under the sanitizers: whatever stands in them, what is printed is a policy,
 * and allows nothing but names and addresses that were in them. What becomes what:
 * tests/system/test_cli_records.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "convert/records.h"
#include "policy/policy.h"

#define ROUNDS 400
#define SEED 20261128u

static const char *const hosts[] = {"a.example", "any",	 "*",	      "*.example",   "@private",
				    "\"",	 "a\nb", "192.0.2.1", "2001:db8::1", "x.example:1",
				    "-",	 "",	 "é.example", "127.1"};
static const char *const addresses[] = {
	"192.0.2.1",	   "10.0.0.1",	   "2001:db8::1", "fd00::1", "::ffff:192.0.2.1",
	"169.254.169.254", "192.0.2.0/24", "any",	  "1.2.3",   ""};
static const char *const protocols[] = {"tcp", "udp", "icmp", "icmpv6", "sctp",
					"47",  "256", "any",  "x"};
static const char *const reasons[] = {"default",  "rule", "dns-name", "dns-gate",
				      "fragment", "\n",	  ""};
static const char *const verdicts[] = {"allow", "deny", "audit-deny", ""};
static const char *const events[] = {"connection", "dns", "close"};

#define ONE_OF(list) (list)[rand() % (sizeof(list) / sizeof(*(list)))]

/* A text, or what is no text. */
static json_t *any_of(const char *text)
{
	return rand() % 16 ? json_string(text) : rand() % 2 ? json_null() : json_integer(7);
}

static json_t *random_record(void)
{
	return json_pack("{s:s, s:o, s:o, s:o, s:s, s:o, s:s, s:o, s:{s:o, s:i, s:o}, s:{s:o}, "
			 "s:{s:o}, s:i}",
			 "time", "2026-11-28T10:00:00Z", "event", any_of(ONE_OF(events)), "verdict",
			 any_of(ONE_OF(verdicts)), "reason", any_of(ONE_OF(reasons)), "policy", "p",
			 "rule", any_of(ONE_OF(hosts)), "direction",
			 rand() % 8 ? "egress" : "ingress", "protocol", any_of(ONE_OF(protocols)),
			 "destination", "address", any_of(ONE_OF(addresses)), "port",
			 rand() % 70000 - 100, "name", any_of(ONE_OF(hosts)), "question", "name",
			 any_of(ONE_OF(hosts)), "process", "comm", any_of(ONE_OF(hosts)), "count",
			 1 + rand() % 3);
}

static bool is_one_of(const char *text, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(text, list[i]))
			return true;
	return false;
}

/* Of a rule that it allows: a name that was there as it is, or one whole address. */
static void check_host(const struct sl_host *host)
{
	char text[SL_CIDR_TEXT];

	if (host->kind == SL_HOST_NAME) {
		assert_true(is_one_of(host->text, hosts, sizeof(hosts) / sizeof(*hosts)));
		return;
	}
	assert_int_equal(host->kind, SL_HOST_CIDR);
	assert_true(is_one_of(sl_cidr_format(&host->cidr, text), addresses,
			      sizeof(addresses) / sizeof(*addresses)));
	assert_int_equal(host->cidr.len, host->cidr.family == 4 ? 32 : 128);
}

static void check_match(const struct sl_match *match)
{
	for (size_t i = 0; i < match->n_hosts; i++)
		check_host(&match->hosts[i]);
	for (size_t i = 0; i < match->n_protocols; i++)
		assert_true(match->protocols[i] != SL_PROTOCOL_ANY);
}

static void check_policy(const char *text, size_t len)
{
	struct sl_policy *policy = NULL;
	struct sl_diag diag = {};

	if (sl_policy_parse(text, len, "made", SL_PARSE_POLICY, &policy, &diag)) {
		sl_diag_print(&diag, stderr);
		fail_msg("%s", text);
	}
	assert_int_equal(policy->default_action, SL_DENY);
	for (size_t i = 0; i < policy->n_items; i++) {
		const struct sl_rule *rule = policy->items[i].rule;

		assert_non_null(rule);
		assert_int_equal(rule->action, SL_ALLOW);
		for (size_t m = 0; m < rule->n_matches; m++)
			check_match(&rule->matches[m]);
	}
	sl_policy_free(policy);
	sl_diag_free(&diag);
}

static void whatever_stands_in_them(void **state)
{
	(void)state;
	printf("seed %u\n", SEED);
	srand(SEED);
	for (int round = 0; round < ROUNDS; round++) {
		struct sl_records *records = sl_records_new(NULL);
		struct sl_alert_record record;
		struct sl_diag diag = {};
		char *text = NULL;
		size_t len = 0;
		FILE *out;

		assert_non_null(records);
		for (int n = rand() % 20; n; n--) {
			if (sl_alert_record_read(random_record(), &record))
				continue;
			sl_records_take(records, &record);
			sl_alert_record_free(&record);
		}
		if (!sl_records_check(records, "test", &diag)) {
			out = open_memstream(&text, &len);
			assert_non_null(out);
			sl_records_print(records, out);
			fclose(out);
			check_policy(text, len);
			free(text);
		} else {
			assert_true(diag.n_errors > 0);
		}
		sl_diag_free(&diag);
		sl_records_free(records);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_stands_in_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
