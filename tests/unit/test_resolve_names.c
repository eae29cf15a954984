// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* user/resolve: names: a resolver for them, and files of hosts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "resolve/resolve.h"
#include "resolve_lab.h"

static void names_without_a_resolver_are_refused(void **state)
{
	struct sl_resolve_options plain = options;
	struct loaded l;

	plain.env = &nothing;
	write_rules("p.yaml", "", "  - allow: a.example\n");
	l = load_with("p.yaml", &plain);
	assert_int_equal(l.err, -EINVAL);
	assert_non_null(strstr(l.messages, "rules by name need one"));
	unload(&l);
	write_file("p.yaml", "sluice: 1\ndns: {resolvers: [192.0.2.53]}\n"
			     "rules:\n  - allow: a.example\n");
	l = load_with("p.yaml", &plain);
	assert_int_equal(l.err, 0);
	assert_true(l.policy->dns.has_search);
	assert_int_equal(l.policy->dns.n_search, 0);
	unload(&l);
}

/* The policy's rule i with a hosts file. */
static void expect_with_hosts(const char *file, const char *rules, const char *want)
{
	struct sl_resolve_options with = options;
	struct loaded l;
	char *text, *begin;

	with.hosts = "hosts";
	write_file("hosts", file);
	write_rules("p.yaml", "", rules);
	l = load_with("p.yaml", &with);
	if (l.err)
		fail_msg("%s: %s", rules, l.messages);
	text = print(l.policy);
	begin = strstr(text, "rules:\n");
	assert_non_null(begin);
	if (!strstr(begin, want) && *want)
		fail_msg("expected \"%s\" in:\n%s", want, begin);
	unload(&l);
	free(text);
}

static void names_of_a_hosts_file_own_its_addresses(void **state)
{
	static const char file[] = "127.0.0.1 localhost\n# 198.51.100.9 a.example\n"
				   "198.51.100.1\tA.Example. b.example # c.example\n"
				   "2001:db8::1 a.example\nfe80::1%eth0 a.example\nx a.example\n"
				   "10.0.0.1 in.example\n0.0.0.0 a.example\n"
				   "::ffff:198.51.100.2 sub.b.example\n169.254.169.254 in.example\n";

	expect_with_hosts(file, "  - {allow: a.example, id: x}\n",
			  "allow: {to: [\"a.example\", 198.51.100.1, \"2001:db8::1\"]}");
	expect_with_hosts(file, "  - {allow: \"*.b.example:443/tcp\", id: x}\n",
			  "allow: {to: [\"*.b.example\", 198.51.100.2], ports: 443, protocol: tcp}");
	expect_with_hosts(file, "  - {allow: b.example, id: x}\n  - {allow: \"*\", id: y}\n",
			  "allow: {to: [\"*\", 198.51.100.1, \"2001:db8::1\", 198.51.100.2]}");
	/* Denied first: nothing later owns it. */
	expect_with_hosts(file, "  - {deny: a.example, id: x}\n  - {allow: \"*\", id: y}\n",
			  "allow: {to: [\"*\", 198.51.100.1, 198.51.100.2]}");
	expect_with_hosts(file, "  - {allow: a.example, id: x, expires: 12h}\n"
				"  - {deny: a.example, id: y}\n  - {allow: a.example, id: z}\n",
			  "  - allow: \"a.example\"\n    id: z\n");
	expect_with_hosts(file, "  - {allow: a.example, id: x}\n  - {deny: a.example, id: y}\n"
				"  - {allow: \"*.example\", id: z}\n",
			  "allow: {to: [\"*.example\", 198.51.100.1, \"2001:db8::1\", 198.51.100.2]}");
	/* Private ones, and never the metadata service. */
	expect_with_hosts(file, "  - {allow: in.example, id: x}\n",
			  "allow: \"in.example\"\n");
	expect_with_hosts(file, "  - {allow: in.example, id: x, resolves_to: private}\n",
			  "allow: {to: [\"in.example\", 10.0.0.1]}\n");
	expect_with_hosts(file, "  - {allow: localhost, id: x}\n", "allow: \"localhost\"\n");
	expect_with_hosts(file, "  - {allow: localhost, id: x, resolves_to: private}\n",
			  "allow: {to: [\"localhost\", 127.0.0.1]}\n");
}

static void a_hosts_file_that_cannot_be_read_is_a_warning(void **state)
{
	struct sl_resolve_options with = options;
	struct loaded l;

	with.hosts = "none";
	write_rules("p.yaml", "", "  - allow: a.example\n");
	l = load_with("p.yaml", &with);
	assert_int_equal(l.err, 0);
	assert_string_equal(l.messages, "");
	unload(&l);
	with.hosts = ".";
	l = load_with("p.yaml", &with);
	assert_int_equal(l.err, 0);
	assert_non_null(strstr(l.messages, "its names are not learned"));
	unload(&l);
}

static void what_is_resolved_of_names_prints_and_parses(void **state)
{
	struct loaded l;
	char *text;

	write_file("p.yaml",
		   "sluice: 1\ndns: {types: [A, TXT], queries: any, ttl: {min: 5s, max: 90m}}\n"
		   "limits: {dns: 600/m}\nrules:\n"
		   "  - deny: [b\xc3\xbc" "cher.example, \"*.evil.test\"]\n"
		   "  - {allow: {to: [\"*\", 10.0.0.1, a.example], ports: 443, uid: root}, "
		   "resolves_to: private, id: x, expires: 12h}\n"
		   "tests:\n  - allow: a.example:443\n  - deny: {to: b.example, port: 80, uid: 5}\n"
		   "  - deny: c.example\n");
	l = load_ok("p.yaml");
	text = print(l.policy);
	assert_non_null(strstr(text, "dns: {resolvers: [192.0.2.53], queries: any, types: [A, TXT], "
				     "ttl: {min: 5s, max: 90m}, "
				     "search: [corp.example, svc.cluster.local]}\n"));
	assert_non_null(strstr(text, "xn--bcher-kva.example"));
	expect_stable(text);
	free(text);
	unload(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(names_without_a_resolver_are_refused),
		TEST(names_of_a_hosts_file_own_its_addresses),
		TEST(a_hosts_file_that_cannot_be_read_is_a_warning),
		TEST(what_is_resolved_of_names_prints_and_parses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
