// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What a policy means for a device: what it cannot do, and which rules let the guest
 * reach the host or its neighbours without naming them.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "compile/device.h"

/* A bridge 10.1.0.1/24, 2001:db8:1::1/64, fe80::1/64; an uplink 192.0.2.2; the LAN's
 * router is no address of the host's. */
static struct sl_cidr gateway[] = {{{10, 1, 0, 1}, 4, 32}, {{10, 1, 0, 254}, 4, 32},
				   {{0x20, 1, 0xd, 0xb8, 0, 1, [15] = 1}, 6, 128},
				   {{0xfe, 0x80, [15] = 1}, 6, 128}};
static struct sl_cidr subnet[] = {{{10, 1, 0, 0}, 4, 24}, {{0x20, 1, 0xd, 0xb8, 0, 1}, 6, 64},
				  {{0xfe, 0x80}, 6, 64}};
static struct sl_cidr host[] = {{{10, 1, 0, 1}, 4, 32}, {{192, 0, 2, 2}, 4, 32},
				{{0x20, 1, 0xd, 0xb8, 0, 1, [15] = 1}, 6, 128},
				{{0xfe, 0x80, [15] = 1}, 6, 128}};
static const struct sl_environment bridge = {
	.gateway = gateway, .n_gateway = 4, .subnet = subnet, .n_subnet = 3,
	.host = host, .n_host = 4, .of_device = true,
};
/* The host has no address on the guests' bridge. */
static const struct sl_environment apart = {.host = host + 1, .n_host = 1, .of_device = true};

struct outcome {
	struct sl_policy *policy;
	struct sl_compiled compiled;
	struct sl_diag before;		/* of the other stages; owns the file's name */
	struct sl_diag diag;		/* of the review alone */
	size_t n;
	char *said;
};

static struct outcome review_as(const char *text, const struct sl_environment *env,
				const struct sl_binding *binding, __u64 now_ns)
{
	struct sl_resolve_options resolve = {.env = env, .trust_clock = true, .now_s = 1000000};
	struct sl_compile_options compile = {.generation = 1, .binding = binding};
	struct sl_policy *parsed = NULL;
	struct outcome o = {0};
	size_t size;
	FILE *out = open_memstream(&o.said, &size);

	if (sl_policy_parse(text, strlen(text), "p", SL_PARSE_POLICY, &parsed, &o.before) ||
	    sl_resolve(parsed, NULL, &resolve, &o.policy, &o.before) ||
	    sl_compile(o.policy, &compile, &o.compiled, &o.before)) {
		sl_diag_print(&o.before, stderr);
		fail_msg("not valid:\n%s", text);
	}
	sl_policy_free(parsed);
	o.n = sl_device_review(o.policy, &o.compiled, env, binding, now_ns, &o.diag);
	assert_int_equal(o.n, o.diag.n_warnings);
	assert_int_equal(o.diag.n_errors, 0);
	sl_diag_print(&o.diag, out);
	fclose(out);
	return o;
}

static void done(struct outcome *o)
{
	sl_compiled_free(&o->compiled);
	sl_policy_free(o->policy);
	sl_diag_free(&o->diag);
	sl_diag_free(&o->before);
	free(o->said);
}

/* rules: what stands beneath `rules:`. want: the whole of what is said. */
static void expect_as(const char *rules, const struct sl_environment *env,
		      const struct sl_binding *binding, const char *want)
{
	struct outcome o;
	char *text;

	assert_true(asprintf(&text, "sluice: 1\nrules:\n%s", rules) > 0);
	o = review_as(text, env, binding, 0);
	assert_string_equal(o.said, want);
	done(&o);
	free(text);
}

static void expect(const char *rules, const char *want)
{
	expect_as(rules, &bridge, NULL, want);
}

#define HOST(line, who, address) \
	"p:" line ":5: warning: rule '" who "' lets the guest reach the host, " address " for one: " \
	"put `- deny: \"@host\"` before, or name the address in a rule of its own if that is meant\n"
#define NEIGHBOURS(line, who, address) \
	"p:" line ":5: warning: rule '" who "' lets the guest reach its neighbours, " address " for " \
	"one: put `- deny: \"@subnet\"` before, or name the address in a rule of its own if that " \
	"is meant\n"

static void a_rule_to_any_lets_the_guest_reach_both(void **state)
{
	expect("  - {allow: \"any:443\", id: web}\n",
	       HOST("3", "web", "10.1.0.1 by 443/tcp") NEIGHBOURS("3", "web", "10.1.0.2 by 443/tcp"));
	expect("  - {allow: any, id: all}\n",
	       HOST("3", "all", "10.1.0.1 by 22/tcp") NEIGHBOURS("3", "all", "10.1.0.2 by 22/tcp"));
}

static void denied_before_is_not_reached(void **state)
{
	expect("  - deny: [\"@host\", \"@subnet\"]\n  - {allow: any, id: all}\n", "");
	expect("  - deny: \"@host\"\n  - {allow: any, id: all}\n",
	       NEIGHBOURS("4", "all", "10.1.0.2 by 22/tcp"));
	expect("  - deny: \"@subnet\"\n  - {allow: any, id: all}\n",
	       HOST("4", "all", "192.0.2.2 by 22/tcp"));
	expect("  - {allow: 203.0.113.0/24, id: far}\n", "");
}

static void what_names_them_is_meant(void **state)
{
	expect("  - allow: [\"@gateway:53\", \"@host:22\", \"@subnet:80\"]\n", "");
	expect("  - allow: [\"10.1.0.1:22\", 192.0.2.2, \"[fe80::1]:53\"]\n", "");
	expect("  - allow: [10.1.0.0/24, \"10.1.0.16/28:80\", \"2001:db8:1::/64\"]\n", "");
	expect("  - allow: \"@gateway:53\"\n  - deny: [\"@host\", \"@subnet\"]\n  - allow: any\n", "");
}

/* A prefix around the network is no name of it. */
static void wider_prefixes_name_nothing(void **state)
{
	expect("  - {allow: 10.0.0.0/8, id: ten}\n",
	       HOST("3", "ten", "10.1.0.1 by 22/tcp") NEIGHBOURS("3", "ten", "10.1.0.2 by 22/tcp"));
	expect("  - {allow: \"@private\", id: private}\n",
	       HOST("3", "private", "10.1.0.1 by 22/tcp")
	       NEIGHBOURS("3", "private", "10.1.0.2 by 22/tcp"));
	expect("  - {allow: \"[::/0]:443\", id: six}\n",
	       HOST("3", "six", "2001:db8:1::1 by 443/tcp")
	       NEIGHBOURS("3", "six", "2001:db8:1:: by 443/tcp"));
}

static void each_rule_is_said_once(void **state)
{
	expect("  - {allow: \"any:443/tcp\", id: web}\n  - {allow: \"any:53/udp\", id: dns}\n",
	       HOST("3", "web", "10.1.0.1 by 443/tcp") HOST("4", "dns", "10.1.0.1 by 53/udp")
	       NEIGHBOURS("3", "web", "10.1.0.2 by 443/tcp")
	       NEIGHBOURS("4", "dns", "10.1.0.2 by 53/udp"));
}

/* The open half of a prefix, and the open part of a range of ports, are found. */
static void gaps_between_denies_are_found(void **state)
{
	expect("  - deny: \"@host\"\n  - deny: [10.1.0.0/25, \"2001:db8:1::/64\", \"fe80::/64\"]\n"
	       "  - {allow: \"any:8000-9000/tcp\", id: high}\n",
	       NEIGHBOURS("5", "high", "10.1.0.128 by 8000/tcp"));
	expect("  - deny: \"@subnet\"\n  - deny: \"192.0.2.2:1-100\"\n"
	       "  - {allow: \"any:80-200/tcp\", id: some}\n",
	       HOST("5", "some", "192.0.2.2 by 101/tcp"));
	expect("  - deny: \"@subnet\"\n  - deny: \"192.0.2.2:1-99\"\n  - deny: \"192.0.2.2:101-65535\"\n"
	       "  - {allow: \"any/tcp\", id: hole}\n",
	       HOST("6", "hole", "192.0.2.2 by 100/tcp"));
	expect("  - deny: [10.1.0.0/26, 10.1.0.64/27, \"fe80::/10\", \"2001:db8::/32\"]\n"
	       "  - deny: \"@host\"\n  - deny: [10.1.0.97, 10.1.0.98/31, 10.1.0.100/30,"
	       " 10.1.0.104/29, 10.1.0.112/28, 10.1.0.128/25]\n"
	       "  - {allow: any, id: one}\n",
	       NEIGHBOURS("6", "one", "10.1.0.96 by 22/tcp"));
}

static void one_match_that_names_does_not_excuse_another(void **state)
{
	expect("  - {allow: [\"any:443/tcp\", \"@gateway:53\", \"@subnet:53\", \"@host:53\"], id: mixed}\n",
	       HOST("3", "mixed", "10.1.0.1 by 443/tcp")
	       NEIGHBOURS("3", "mixed", "10.1.0.2 by 443/tcp"));
	expect("  - {allow: {to: [any, \"@host\", \"@subnet\"], ports: 443}, id: both}\n", "");
}

static void protocols_without_ports(void **state)
{
	expect("  - deny: \"@subnet\"\n  - {allow: {to: any, protocol: icmp}, id: ping}\n",
	       HOST("4", "ping", "192.0.2.2 by icmp"));
	expect("  - deny: \"@subnet\"\n  - {allow: {to: any, protocol: 47}, id: gre}\n",
	       HOST("4", "gre", "192.0.2.2 by protocol 47"));
	expect("  - deny: \"@subnet\"\n"
	       "  - {allow: {to: any, protocol: icmp, icmp: {type: 13}}, id: stamp}\n",
	       HOST("4", "stamp", "192.0.2.2 by icmp"));
	expect("  - deny: \"@subnet\"\n  - {allow: \"any:7/sctp\", id: sctp}\n",
	       HOST("4", "sctp", "192.0.2.2 by 7/sctp"));
}

static void default_allow_is_said_too(void **state)
{
	struct outcome o = review_as("sluice: 1\ndefault: allow\nrules:\n  - deny: \"any:22/tcp\"\n",
				     &bridge, NULL, 0);

	assert_int_equal(o.n, 2);
	assert_non_null(strstr(o.said, "p:1:1: warning: default: allow lets the guest reach the host, "
				       "10.1.0.1 by 80/tcp for one"));
	assert_non_null(strstr(o.said, "default: allow lets the guest reach its neighbours"));
	done(&o);
	o = review_as("sluice: 1\ndefault: allow\nrules:\n  - deny: [\"@host\", \"@subnet\"]\n",
		      &bridge, NULL, 0);
	assert_int_equal(o.n, 0);
	done(&o);
}

static void sets_are_looked_into(void **state)
{
	struct outcome o = review_as("sluice: 1\nsets:\n  near: [10.1.0.7, 10.1.0.9]\n"
				     "  wide: [203.0.113.0/24, 10.1.0.0/16]\nrules:\n"
				     "  - {allow: \"@near\", id: near}\n"
				     "  - {allow: \"@wide\", id: wide}\n", &bridge, NULL, 0);

	assert_int_equal(o.n, 2);
	assert_null(strstr(o.said, "near'"));
	assert_non_null(strstr(o.said, "rule 'wide' lets the guest reach the host"));
	assert_non_null(strstr(o.said, "rule 'wide' lets the guest reach its neighbours, 10.1.0.2"));
	done(&o);
}

/* Its own addresses, the network's and broadcast's, the host's and router's are nobody else. */
static void a_point_to_point_net_has_no_neighbours(void **state)
{
	static struct sl_cidr own[] = {{{10, 9, 0, 2}, 4, 32}}, net[] = {{{10, 9, 0, 0}, 4, 30}},
			      tap[] = {{{10, 9, 0, 1}, 4, 32}};
	static const struct sl_environment env = {.gateway = tap, .n_gateway = 1, .subnet = net,
						  .n_subnet = 1, .of_device = true};
	static const struct sl_binding bound = {.has_addresses = true, .addresses = own,
						.n_addresses = 1};

	expect_as("  - {allow: any, id: all}\n", &env, &bound, "");
	expect_as("  - {allow: any, id: all}\n", &env, NULL,
		  NEIGHBOURS("3", "all", "10.9.0.2 by 22/tcp"));
}

static void an_unknown_network_may_be_any_private_one(void **state)
{
	const char *guess = "p:3:5: warning: rule 'all' lets the guest reach private addresses, "
			    "10.0.0.1 by 22/tcp for one, and the host has no address on the device's "
			    "network, which may be any of them: deny the network's prefix before\n";

	expect_as("  - {allow: [any, 192.0.2.2], id: all}\n", &apart, NULL, guess);
	expect_as("  - deny: \"@private\"\n  - deny: \"@host\"\n  - allow: any\n", &apart, NULL, "");
	expect_as("  - allow: \"10.0.5.0/24:443\"\n", &apart, NULL, "");
}

static void resolvers(void **state)
{
	struct outcome o = review_as("sluice: 1\ndns: {resolvers: [10.1.0.1, \"2001:db8:1::7\"]}\n",
				     &bridge, NULL, 0);

	assert_string_equal(o.said, "");
	done(&o);
	o = review_as("sluice: 1\ndns: {resolvers: [127.0.0.53, 192.0.2.53, \"::1\"]}\n", &bridge,
		      NULL, 0);
	assert_int_equal(o.n, 2);
	assert_non_null(strstr(o.said, "the resolver 127.0.0.53 is the host's loopback"));
	assert_non_null(strstr(o.said, "the resolver ::1 is the host's loopback"));
	done(&o);
}

/* 2,000 s after the epoch is 2,000 s after boot here. */
static void expired_rules_allow_nothing(void **state)
{
	static const char text[] = "sluice: 1\nrules:\n  - deny: \"@subnet\"\n"
				   "  - {allow: any, id: brief, expires: \"1970-01-12T14:00:00Z\"}\n";
	struct outcome o = review_as(text, &bridge, NULL, 1000000000000000ull);

	assert_int_equal(o.n, 1);
	done(&o);
	o = review_as(text, &bridge, NULL, 1000800000000000ull);
	assert_int_equal(o.n, 0);
	done(&o);
}

static void rules_with_a_uid_are_refused_by_name(void **state)
{
	static const char text[] = "sluice: 1\nrules:\n  - allow: \"@gateway:53\"\n"
				   "  - {allow: {to: any, ports: 443, uid: [13, 14]}, id: proxy}\n"
				   "  - {deny: {to: any, uid: 1000}, id: agent}\n";
	struct sl_resolve_options resolve = {.env = &bridge, .now_s = 1000000};
	struct sl_policy *parsed = NULL, *policy = NULL;
	struct sl_diag diag = {0};

	assert_int_equal(sl_policy_parse(text, strlen(text), "p", SL_PARSE_POLICY, &parsed, &diag), 0);
	assert_int_equal(sl_resolve(parsed, NULL, &resolve, &policy, &diag), 0);
	assert_int_equal(sl_device_refuse(policy, &diag), -EINVAL);
	assert_int_equal(diag.n_errors, 2);
	assert_int_equal(diag.entries[0].pos.line, 4);
	assert_string_equal(diag.entries[0].message,
			    "rule 'proxy' is for the uid 13, and a device has no users: take `uid` "
			    "out of it, or the rule out of the policy, for a device");
	assert_int_equal(diag.entries[1].pos.line, 5);
	assert_non_null(strstr(diag.entries[1].message, "rule 'agent' is for the uid 1000"));
	sl_policy_free(policy);
	sl_policy_free(parsed);
	sl_diag_free(&diag);
}

static void a_policy_without_uids_is_not_refused(void **state)
{
	struct outcome o = review_as("sluice: 1\nlimits: {connections: 5/s}\ndevice: {arp: deny}\n"
				     "fragments: first-decides\nrules:\n  - allow: \"@gateway\"\n",
				     &bridge, NULL, 0);

	assert_int_equal(sl_device_refuse(o.policy, &o.diag), 0);
	assert_int_equal(o.diag.n, 0);
	done(&o);
}

/* A thousand addresses of the host, and a class for each of 60,000 of a subnet's. */
static void a_large_policy_is_looked_at_in_bounded_time(void **state)
{
	struct sl_cidr *many = calloc(4000, sizeof(*many)), net = {{10, 0, 0, 0}, 4, 8};
	struct sl_environment env = {.host = many, .n_host = 4000, .subnet = &net, .n_subnet = 1,
				     .of_device = true};
	struct timespec begin, end;
	struct outcome o;
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(many);
	for (size_t i = 0; i < 4000; i++)
		many[i] = (struct sl_cidr){{192, 168, i >> 8, i}, 4, 32};
	fputs("sluice: 1\nrules:\n", out);
	for (unsigned i = 0; i < 60000; i++)
		fprintf(out, "  - allow: 10.%u.%u.%u:%u\n", i >> 14, i >> 6 & 255, i << 2 & 255, 1 + i);
	fclose(out);
	o = review_as(text, &env, NULL, 0);
	assert_non_null(strstr(o.said, "too large to look for every way"));
	clock_gettime(CLOCK_MONOTONIC, &begin);
	sl_device_review(o.policy, &o.compiled, &env, NULL, 0, &o.diag);
	clock_gettime(CLOCK_MONOTONIC, &end);
	print_message("60,000 classes, 4,000 addresses: %.2f s\n", (double)(end.tv_sec - begin.tv_sec) +
		      (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
	/* Sanitized, on a shared machine: 0.2 s was measured. */
	assert_true(end.tv_sec - begin.tv_sec < 20);
	done(&o);
	free(text);
	free(many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rule_to_any_lets_the_guest_reach_both),
		cmocka_unit_test(denied_before_is_not_reached),
		cmocka_unit_test(what_names_them_is_meant),
		cmocka_unit_test(wider_prefixes_name_nothing),
		cmocka_unit_test(each_rule_is_said_once),
		cmocka_unit_test(gaps_between_denies_are_found),
		cmocka_unit_test(one_match_that_names_does_not_excuse_another),
		cmocka_unit_test(protocols_without_ports),
		cmocka_unit_test(default_allow_is_said_too),
		cmocka_unit_test(sets_are_looked_into),
		cmocka_unit_test(a_point_to_point_net_has_no_neighbours),
		cmocka_unit_test(an_unknown_network_may_be_any_private_one),
		cmocka_unit_test(resolvers),
		cmocka_unit_test(expired_rules_allow_nothing),
		cmocka_unit_test(rules_with_a_uid_are_refused_by_name),
		cmocka_unit_test(a_policy_without_uids_is_not_refused),
		cmocka_unit_test(a_large_policy_is_looked_at_in_bounded_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
