// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Names in the compiler: connections to addresses that names own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>

#include "compile/compile.h"
#include "names_lab.h"

/* ---- connections ---- */

static void the_smallest_rule_of_all_owners_decides(void **state)
{
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n"
		       "- allow: first.test:443\n  id: r0\n"
		       "- deny: 203.0.113.0/24:443\n  id: r1\n"
		       "- allow: second.test:443,80\n  id: r2\n"
		       "- deny: any:25\n  id: r3\n"
		       "- allow: third.test\n  id: r4\n");
	assert_string_equal(connection(&f, "first.test", 443), "allow r0 rule");
	assert_string_equal(connection(&f, "second.test", 443), "deny r1 rule");
	assert_string_equal(connection(&f, "second.test first.test", 443), "allow r0 rule");
	assert_string_equal(connection(&f, "second.test", 80), "allow r2 rule");
	assert_string_equal(connection(&f, "third.test", 25), "deny r3 rule");
	assert_string_equal(connection(&f, "third.test second.test", 80), "allow r2 rule");
	assert_string_equal(connection(&f, "third.test", 81), "allow r4 rule");
	assert_string_equal(connection(&f, "unknown.test", 443), "deny r1 rule");
	assert_string_equal(connection(&f, "", 80), "deny - default");
	/* The gate comes first. */
	assert_string_equal(connection(&f, "third.test", 853), "deny dns-gate dns-gate");
	done(&f);
}

static void a_name_stands_in_no_address_class(void **state)
{
	struct flow flow = {.address = "10.0.0.1", .port = 443};
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n- allow: {to: [a.test, 10.0.0.1], ports: 443}\n  id: both\n"
		       "- allow: '*.b.test'\n  id: b\n");
	assert_string_equal(connection(&f, "", 443), "deny - default");
	assert_string_equal(connection(&f, "a.test", 443), "allow both rule");
	assert_string_equal(connection_of(&f, "", &flow), "allow both rule");
	/* Patterns of the same rules share a class; those of addresses have none of it. */
	assert_int_equal(f.compiled.n_name_classes, 2);
	for (size_t i = 0; i < f.compiled.n_patterns; i++) {
		const __u64 *w = f.compiled.table.words;
		__u64 class = w[(__u32)w[SL_H_CLASSES] + f.compiled.patterns[i].class];

		assert_true(class >> 32 & SL_C_NAME);
		assert_false(class >> 32 & (SL_C_PRIVATE | SL_C_EMBEDDED));
	}
	done(&f);
}

static void a_deny_by_name_is_silent_about_addresses(void **state)
{
	struct fixture f;

	compile_ok(&f, "sluice: 1\ndefault: allow\nrules:\n- deny: ads.test\n  id: d\n"
		       "- allow: shop.test:443\n  id: a\n- deny: any:443\n  id: rest\n");
	assert_string_equal(connection(&f, "ads.test", 80), "allow - default");
	assert_string_equal(connection(&f, "ads.test", 443), "deny rest rule");
	/* Shared with a name that is allowed. */
	assert_string_equal(connection(&f, "ads.test shop.test", 443), "allow a rule");
	done(&f);
}

/* A rule behind the one that denies the question gives its connections nothing. */
static void a_denied_name_owns_nothing(void **state)
{
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n- deny: evil.test\n  id: d\n- allow: '*:443'\n  id: every\n");
	assert_string_equal(connection(&f, "evil.test", 443), "deny - default");
	assert_string_equal(connection(&f, "good.test", 443), "allow every rule");
	assert_string_equal(connection(&f, "evil.test good.test", 443), "allow every rule");
	assert_true(says(&f, "rule 'every' lets every name be asked"));
	done(&f);
}

static void protocols_ports_and_icmp_are_matched(void **state)
{
	struct flow ping = {.protocol = IPPROTO_ICMP, .port = 8 << 8};
	struct flow quic = {.protocol = IPPROTO_UDP, .port = 443};
	struct flow gre = {.protocol = 47};
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n- allow: a.test:443/tcp\n  id: tcp\n"
		       "- allow: b.test:443\n  id: both\n- allow: c.test/icmp\n  id: ping\n"
		       "- allow: d.test\n  id: all\n");
	assert_string_equal(connection(&f, "a.test", 443), "allow tcp rule");
	assert_string_equal(connection_of(&f, "a.test", &quic), "deny - default");
	assert_string_equal(connection_of(&f, "b.test", &quic), "allow both rule");
	assert_string_equal(connection_of(&f, "b.test", &ping), "deny - default");
	assert_string_equal(connection_of(&f, "c.test", &ping), "allow ping rule");
	assert_string_equal(connection_of(&f, "c.test", &gre), "deny - default");
	assert_string_equal(connection_of(&f, "d.test", &gre), "allow all rule");
	done(&f);
}

static void uids_see_their_own_rules(void **state)
{
	const __u32 proxy = 999, other = 1000;
	struct flow flow = {.port = 443, .uid = &proxy};
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n"
		       "- allow: {to: '*.a.test', ports: 443, uid: 999}\n  id: proxy\n"
		       "- allow: x.a.test:443\n  id: x\n"
		       "- allow: b.test:443\n  id: b\n");
	assert_string_equal(connection_of(&f, "y.a.test", &flow), "allow proxy rule");
	assert_string_equal(connection_of(&f, "x.a.test", &flow), "allow proxy rule");
	assert_string_equal(connection_of(&f, "b.test", &flow), "allow b rule");
	flow.uid = &other;
	assert_string_equal(connection_of(&f, "y.a.test", &flow), "deny - default");
	assert_string_equal(connection_of(&f, "x.a.test", &flow), "allow x rule");
	assert_string_equal(connection_of(&f, "b.test", &flow), "allow b rule");
	flow.uid = NULL;
	assert_string_equal(connection_of(&f, "y.a.test", &flow), "deny - default");
	assert_string_equal(connection_of(&f, "x.a.test", &flow), "allow x rule");
	/* A question has no uid. */
	assert_string_equal(question(&f, "y.a.test"), "allow proxy rule");
	assert_true(f.compiled.has_uids);
	done(&f);
}

static void inbound_flows_have_no_owners(void **state)
{
	struct sl_question q = {.protocol = IPPROTO_TCP, .key = 443, .family = 4,
				.address_low = 0xcb007101, .inbound = 1};
	const char *owners[] = {"a.test"};
	struct sl_answer a;
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n- allow: a.test\n");
	assert_true(sl_names_connection(&f.compiled, &q, owners, 1, &a));
	assert_string_equal(told(&f, &a), "deny - unsolicited");
	done(&f);
}

static void private_is_said_where_an_allow_covers(void **state)
{
	static const struct {
		const char *name;
		bool private;
	} cases[] = {{"a.corp.test", true}, {"deep.a.corp.test", true}, {"corp.test", false},
		     {"a.b.test", false}};
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n- allow: '*.corp.test'\n  resolves_to: private\n"
		       "- allow: [a.corp.test, corp.test, '*.b.test']\n");
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct sl_pattern *p = sl_names_find(&f.compiled, cases[i].name);
		const __u64 *w = f.compiled.table.words;

		assert_non_null(p);
		assert_int_equal(!!(w[(__u32)w[SL_H_CLASSES] + p->class] >> 32 & SL_C_PRIVATE),
				 cases[i].private);
	}
	done(&f);
}

/* ---- the address of a test ---- */

static void the_common_address_is_of_the_largest_class(void **state)
{
	struct sl_question q = {.protocol = IPPROTO_TCP, .key = 443};
	struct sl_answer a;
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n- deny: '@private'\n  id: private\n"
		       "- allow: 0.0.0.0/1\n  id: low\n- deny: ['192.0.0.0/2', '::/0']\n  id: high\n");
	/* 128.0.0.0/2 has no rule, low is the largest; ::/0 is all of IPv6 */
	assert_true(sl_table_common_address(&f.compiled.table, 4, &q));
	assert_int_equal(q.family, 4);
	assert_true(sl_table_judge(&f.compiled.table, &q, &a));
	assert_string_equal(told(&f, &a), "allow low rule");
	assert_true(sl_table_common_address(&f.compiled.table, 6, &q));
	assert_true(sl_table_judge(&f.compiled.table, &q, &a));
	assert_string_equal(told(&f, &a), "deny high rule");
	done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_smallest_rule_of_all_owners_decides),
		cmocka_unit_test(a_name_stands_in_no_address_class),
		cmocka_unit_test(a_deny_by_name_is_silent_about_addresses),
		cmocka_unit_test(a_denied_name_owns_nothing),
		cmocka_unit_test(protocols_ports_and_icmp_are_matched),
		cmocka_unit_test(uids_see_their_own_rules),
		cmocka_unit_test(inbound_flows_have_no_owners),
		cmocka_unit_test(private_is_said_where_an_allow_covers),
		cmocka_unit_test(the_common_address_is_of_the_largest_class),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
