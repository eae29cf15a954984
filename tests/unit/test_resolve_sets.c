// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* user/resolve: sets, built-in ones, and files of sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "resolve/resolve.h"
#include "resolve_lab.h"

/* In the sanitizer's run-time; absent in a plain build. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static void private_sets_are_kept_apart(void **state)
{
	struct loaded l;

	write_rules("p.yaml", "  x: [10.0.0.1]\n",
		    "  - allow: \"@x\"\n"
		    "  - include: My.frag.yaml\n  - include: other.yaml\n");
	write_rules("My.frag.yaml", "  x: [10.0.0.2]\n  y: [10.0.0.3]\n",
		    "  - allow: [\"@x\", \"@y\"]\n");
	write_rules("other.yaml", "  y: [10.0.0.4]\n", "  - allow: \"@y\"\n");
	l = load_ok("p.yaml");
	assert_int_equal(l.policy->n_sets, 4);
	assert_ptr_equal(rule(&l, 0)->matches[0].hosts[0].set, l.policy->sets[0]);
	expect_match(&l, 0, "@x");
	expect_match(&l, 1, "@my-x");
	assert_int_equal(rule(&l, 1)->matches[0].hosts[0].set->cidrs[0].addr[3], 2);
	assert_string_equal(rule(&l, 1)->matches[1].hosts[0].text, "y");
	expect_match(&l, 2, "@other-y");
	assert_int_equal(rule(&l, 2)->matches[0].hosts[0].set->cidrs[0].addr[3], 4);
	unload(&l);
}

static void fragment_sees_its_own_sets_only(void **state)
{
	write_rules("p.yaml", "  feed: [10.0.0.1]\n",
		    "  - include: a.yaml\n  - allow: \"@mine\"\n");
	write_rules("a.yaml", "  mine: [10.0.0.2]\n", "  - allow: \"@feed\"\n");
	expect_errors("a.yaml:5:", "a fragment sees only sets of its own",
		      "p.yaml:6:", "no set \"@mine\"", NULL);
}

static void unknown_set_suggests_the_nearest(void **state)
{
	write_rules("p.yaml", "  github: [10.0.0.1]\n",
		    "  - allow: \"@gihtub:443\"\n  - deny: \"@privat\"\n  - deny: \"@zzzzz\"\n");
	expect_errors("p.yaml:5:", "no set \"@gihtub\": is \"@github\" meant?",
		      "p.yaml:6:", "is \"@private\" meant?",
		      "p.yaml:7:", "neither under \"sets\" nor built in", NULL);
}

static void builtin_sets_stand_expanded(void **state)
{
	struct loaded l;

	write_rules("p.yaml", "",
		    "  - allow: \"@gateway:53/udp\"\n  - allow: \"@subnet\"\n"
		    "  - deny: \"@host\"\n  - allow: \"@resolvers\"\n  - deny: \"@private\"\n");
	l = load_ok("p.yaml");
	assert_int_equal(rule(&l, 0)->matches[0].n_hosts, 2);
	assert_int_equal(rule(&l, 0)->matches[0].hosts[1].kind, SL_HOST_CIDR);
	assert_int_equal(rule(&l, 0)->matches[0].hosts[1].cidr.addr[0], 0xfe);
	expect_match(&l, 1, "192.0.2.0/24");
	expect_match(&l, 2, "192.0.2.10");
	expect_match(&l, 3, "192.0.2.53");
	assert_int_equal(rule(&l, 4)->matches[0].n_hosts, 7);
	assert_int_equal(l.policy->n_sets, 0);
	unload(&l);
}

static void resolvers_are_the_policys_own(void **state)
{
	struct loaded l;

	write_file("p.yaml", "sluice: 1\ndns: {resolvers: [198.51.100.1]}\n"
			     "rules:\n  - allow: \"@resolvers\"\n");
	l = load_ok("p.yaml");
	expect_match(&l, 0, "198.51.100.1");
	unload(&l);
	write_file("p.yaml", "sluice: 1\ndns: {resolvers: system}\n"
			     "rules:\n  - allow: \"@resolvers\"\n");
	l = load_ok("p.yaml");
	expect_match(&l, 0, "192.0.2.53");
	assert_false(l.policy->dns_system);
	assert_int_equal(l.policy->n_resolvers, 1);
	assert_int_equal(l.policy->resolvers[0].addr[3], 53);
	/* The gate is the compiler's. */
	assert_int_equal(l.policy->n_items, 1);
	unload(&l);
}

static void empty_set_is_an_error(void **state)
{
	write_rules("p.yaml", "  none: []\n  feed: {file: feed.txt}\n",
		    "  - deny: \"@none\"\n  - deny: [10.0.0.1, \"@feed\"]\n"
		    "  - deny: \"@gateway\"\n");
	write_file("feed.txt", "# nothing yet\n");
	options.env = &nothing;
	expect_errors("p.yaml:6:", "set \"@none\" has nothing in it", "empty: ok",
		      "p.yaml:7:", "\"@feed\" has nothing",
		      "p.yaml:8:", "\"@gateway\" has nothing in it here, no default route", NULL);
	options.env = &environment;
}

/* No default route is asked of a device's network: the error must not speak of one. */
static void empty_sets_of_a_device_are_explained_by_it(void **state)
{
	static const struct sl_environment device = {.of_device = true};

	write_rules("p.yaml", "",
		    "  - deny: \"@gateway\"\n  - deny: \"@subnet\"\n  - deny: \"@host\"\n");
	options.env = &device;
	expect_errors("p.yaml:3:", "\"@gateway\" has nothing in it here, the host has no address on "
		      "the device's network", "p.yaml:4:", "\"@subnet\" has nothing in it here, the "
		      "host has no address on the device's network",
		      "p.yaml:5:", "no address but loopback", NULL);
	options.env = &environment;
}

static void empty_ok_drops_what_covers_nothing(void **state)
{
	struct loaded l;

	write_rules("p.yaml", "  none: []\n",
		    "  - {deny: \"@none\", empty: ok, id: gone}\n"
		    "  - {deny: [\"@none:80\", 10.0.0.1], empty: ok}\n"
		    "  - {deny: {to: [\"@none\", 10.0.0.2]}, empty: ok}\n");
	l = load_ok("p.yaml");
	assert_int_equal(l.policy->n_items, 2);
	assert_int_equal(l.policy->n_sets, 0);
	assert_int_equal(rule(&l, 0)->n_matches, 1);
	expect_match(&l, 0, "10.0.0.1");
	expect_match(&l, 1, "10.0.0.2");
	unload(&l);
}

static void set_files_are_relative_to_who_names_them(void **state)
{
	struct loaded l;

	mkdir("sub", 0755);
	write_rules("p.yaml", "  feed: {file: sub/feed.txt}\n",
		    "  - deny: \"@feed\"\n  - include: sub/a.yaml\n");
	write_rules("sub/a.yaml", "  feed: {file: feed.txt}\n", "  - deny: \"@feed\"\n");
	write_file("sub/feed.txt", "192.0.2.1 # one\n; two\n2001:db8::/32\n");
	l = load_ok("p.yaml");
	assert_int_equal(l.policy->n_sets, 2);
	assert_int_equal(l.policy->sets[0]->n_cidrs, 2);
	assert_null(l.policy->sets[0]->path);
	assert_int_equal(l.policy->sets[1]->n_cidrs, 2);
	unload(&l);
	chmod("sub/feed.txt", 0666);
	expect_errors("p.yaml:3:", "sub/feed.txt may be written by anyone (mode 0666)", NULL);
	unlink("sub/feed.txt");
	expect_errors("p.yaml:3:", "cannot read sub/feed.txt", "sub/a.yaml:3:", NULL);
}

static void large_set_is_kept_once(void **state)
{
	const size_t lines = 1000000;
	FILE *f = fopen("feed.txt", "we");
	struct sl_resolve_options plain = options;
	size_t before, after;
	struct loaded l;

	for (size_t i = 0; i < lines; i++)
		fprintf(f, "%zu.%zu.%zu.%zu\n", 1 + (i >> 16), i >> 8 & 255, i & 255, i % 251);
	fclose(f);
	f = fopen("p.yaml", "we");
	fputs("sluice: 1\nsets: {feed: {file: feed.txt}}\nrules:\n", f);
	for (unsigned i = 1; i <= 20; i++)
		fprintf(f, "  - deny: \"@feed:%u\"\n", i);
	fclose(f);
	before = __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes()
							 : 0;
	l = load_with("p.yaml", &plain);
	after = __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes()
							: 0;
	assert_int_equal(l.err, 0);
	assert_int_equal(l.policy->n_sets, 1);
	assert_int_equal(l.policy->sets[0]->n_cidrs, lines);
	for (size_t i = 0; i < 20; i++)
		assert_ptr_equal(rule(&l, i)->matches[0].hosts[0].set, l.policy->sets[0]);
	assert_true(after - before < 3 * lines * sizeof(struct sl_cidr));
	unload(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(private_sets_are_kept_apart),
		TEST(fragment_sees_its_own_sets_only),
		TEST(unknown_set_suggests_the_nearest),
		TEST(builtin_sets_stand_expanded),
		TEST(resolvers_are_the_policys_own),
		TEST(empty_set_is_an_error),
		TEST(empty_sets_of_a_device_are_explained_by_it),
		TEST(empty_ok_drops_what_covers_nothing),
		TEST(set_files_are_relative_to_who_names_them),
		TEST(large_set_is_kept_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
