// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* user/resolve: files, includes, sets, users, times and ids. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "read_file.h"
#include "resolve/resolve.h"

/* In the sanitizer's run-time; absent in a plain build. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

#define NOW 1900000000 /* 2030-03-17T17:46:40Z */

static struct sl_cidr gateways[] = {
	{.family = 4, .len = 32, .addr = {192, 0, 2, 1}},
	{.family = 6, .len = 128, .addr = {0xfe, 0x80, [15] = 1}},
};
static struct sl_cidr subnets[] = {{.family = 4, .len = 24, .addr = {192, 0, 2}}};
static struct sl_cidr hosts[] = {{.family = 4, .len = 32, .addr = {192, 0, 2, 10}}};
static struct sl_cidr servers[] = {{.family = 4, .len = 32, .addr = {192, 0, 2, 53}}};
static char *domains[] = {(char *)"corp.example", (char *)"svc.cluster.local"};
static const struct sl_environment environment = {
	.gateway = gateways,
	.n_gateway = 2,
	.subnet = subnets,
	.n_subnet = 1,
	.host = hosts,
	.n_host = 1,
	.resolvers = servers,
	.n_resolvers = 1,
	.search = domains,
	.n_search = 2,
};
static const struct sl_environment nothing;

static struct sl_resolve_options options = {
	.env = &environment,
	.profile_dir = "profiles",
	.now_s = NOW,
	.trust_clock = true,
};

/* ---- each test stands in an empty directory of its own ---- */

static char dir[64];

static int setup(void **state)
{
	strcpy(dir, "/tmp/sl-resolve-XXXXXX");
	umask(022);
	return !mkdtemp(dir) || chdir(dir);
}

static int teardown(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return chdir("/") || system(command);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

/* A policy or fragment; rules is what stands beneath `rules:`. */
static void write_rules(const char *path, const char *sets, const char *rules)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	fprintf(f, "sluice: 1\n%s%srules:\n%s", *sets ? "sets:\n" : "", sets, rules);
	assert_int_equal(fclose(f), 0);
}

struct loaded {
	int err;
	struct sl_policy *policy;
	struct sl_diag diag;
	char *messages;
};

static struct loaded load_with(const char *path, const struct sl_resolve_options *with)
{
	struct loaded l = {0};
	size_t size;
	FILE *out = open_memstream(&l.messages, &size);

	l.err = sl_policy_load(path, with, &l.policy, &l.diag);
	sl_diag_print(&l.diag, out);
	fclose(out);
	if (l.err)
		assert_null(l.policy);
	return l;
}

static struct loaded load(const char *path)
{
	return load_with(path, &options);
}

static void unload(struct loaded *l)
{
	if (l->policy)
		sl_policy_free(l->policy);
	sl_diag_free(&l->diag);
	free(l->messages);
}

static char *print(const struct sl_policy *policy)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_int_equal(sl_policy_print(policy, out), 0);
	fclose(out);
	return text;
}

/* Loads p.yaml and expects every message given (up to NULL) in the errors. */
static void expect_errors(const char *first, ...)
{
	struct loaded l = load("p.yaml");
	va_list more;

	va_start(more, first);
	for (const char *want = first; want; want = va_arg(more, const char *))
		if (!strstr(l.messages, want))
			fail_msg("expected \"%s\" in:\n%s", want, l.messages);
	va_end(more);
	assert_int_equal(l.err, -EINVAL);
	unload(&l);
}

static struct loaded load_ok(const char *path)
{
	struct loaded l = load(path);

	if (l.err)
		fail_msg("%s: %d\n%s", path, l.err, l.messages);
	return l;
}

static const struct sl_rule *rule(const struct loaded *l, size_t i)
{
	assert_true(i < l->policy->n_items);
	assert_non_null(l->policy->items[i].rule);
	return l->policy->items[i].rule;
}

/* The host's text, as the printer would write it. */
static void expect_match(const struct loaded *l, size_t i, const char *want)
{
	char *text = sl_match_canonical(&rule(l, i)->matches[0]);

	assert_string_equal(text, want);
	free(text);
}

/* ---- files ---- */

static void file_is_read_whole(void **state)
{
	struct sl_diag diag = {0};
	char *text = NULL;
	size_t len;

	write_file("f", "some text\n");
	assert_int_equal(sl_file_read("f", 10, NULL, &text, &len, &diag), 0);
	assert_int_equal(len, 10);
	assert_string_equal(text, "some text\n");
	free(text);
	text = NULL;
	assert_int_equal(sl_file_read("f", 9, NULL, &text, &len, &diag), -EINVAL);
	assert_null(text);
	assert_non_null(strstr(diag.entries[0].message, "larger than 9 bytes"));
	sl_diag_free(&diag);
}

static void expect_refused(const char *path, const char *why)
{
	struct sl_diag diag = {0};
	char *text = NULL;
	size_t len;

	assert_int_equal(sl_file_read(path, 1000, NULL, &text, &len, &diag), -EINVAL);
	assert_null(text);
	assert_non_null(strstr(diag.entries[0].message, why));
	sl_diag_free(&diag);
}

static void only_safe_regular_files_are_read(void **state)
{
	write_file("open", "x");
	assert_int_equal(chmod("open", 0666), 0);
	expect_refused("open", "open may be written by anyone (mode 0666): chmod o-w open");
	assert_int_equal(chmod("open", 0664), 0);
	assert_int_equal(symlink("open", "link"), 0);
	assert_int_equal(chmod("open", 0602), 0);
	expect_refused("link", "may be written by anyone (mode 0602)");
	expect_refused("none", "cannot read none: No such file or directory");
	expect_refused(".", "a directory");
	assert_int_equal(mkfifo("fifo", 0600), 0);
	expect_refused("fifo", "pipe");
}

static void policy_comes_from_standard_input(void **state)
{
	int saved = dup(STDIN_FILENO), fd;
	struct loaded l;

	write_rules("p.yaml", "", "  - include: frag.yaml\n  - allow: any\n");
	write_rules("frag.yaml", "", "  - deny: 10.0.0.1\n");
	fd = open("p.yaml", O_RDONLY);
	dup2(fd, STDIN_FILENO);
	l = load_ok("-");
	dup2(saved, STDIN_FILENO);
	close(saved);
	close(fd);
	assert_int_equal(l.policy->n_items, 2);
	assert_string_equal(l.policy->name, "stdin");
	unload(&l);
}

static void name_is_the_files(void **state)
{
	struct loaded l;

	write_rules("my policy.v2.yaml", "", "  - allow: any\n");
	l = load_ok("./my policy.v2.yaml");
	assert_string_equal(l.policy->name, "my-policy.v2");
	unload(&l);
}

/* ---- includes ---- */

static void includes_stand_where_they_stood(void **state)
{
	struct loaded l;

	mkdir("sub", 0755);
	write_rules("p.yaml", "",
		    "  - deny: 10.0.0.1\n  - include: sub/a.yaml\n"
		    "  - deny: 10.0.0.4\n");
	write_rules("sub/a.yaml", "", "  - deny: 10.0.0.2\n  - include: b.yaml\n");
	write_rules("sub/b.yaml", "", "  - deny: 10.0.0.3\n");
	l = load_ok("p.yaml");
	assert_int_equal(l.policy->n_items, 4);
	expect_match(&l, 0, "10.0.0.1");
	expect_match(&l, 1, "10.0.0.2");
	expect_match(&l, 2, "10.0.0.3");
	expect_match(&l, 3, "10.0.0.4");
	assert_string_equal(rule(&l, 2)->pos.file, "sub/b.yaml");
	unload(&l);
}

static void profiles_come_from_their_directory(void **state)
{
	struct loaded l;

	mkdir("profiles", 0755);
	write_rules("profiles/npm.yaml", "", "  - allow: 10.0.0.2\n");
	write_rules("p.yaml", "", "  - include: profile/npm\n");
	l = load_ok("p.yaml");
	expect_match(&l, 0, "10.0.0.2");
	unload(&l);
	write_rules("p.yaml", "", "  - include: profile/../p\n  - include: profile/none\n");
	expect_errors("p.yaml:3:", "is not profile/NAME", "cannot read profiles/none.yaml", NULL);
}

static void include_loop_shows_its_chain(void **state)
{
	write_rules("p.yaml", "", "  - include: a.yaml\n");
	write_rules("a.yaml", "", "  - include: b.yaml\n");
	write_rules("b.yaml", "", "  - include: link.yaml\n");
	assert_int_equal(symlink("a.yaml", "link.yaml"), 0);
	expect_errors("b.yaml:3:", "loop: a.yaml -> b.yaml -> link.yaml", NULL);
	write_rules("b.yaml", "", "  - include: p.yaml\n");
	expect_errors("loop: p.yaml -> a.yaml -> b.yaml -> p.yaml", NULL);
	write_rules("p.yaml", "", "  - include: ./p.yaml\n");
	expect_errors("loop: p.yaml -> ./p.yaml", NULL);
}

/* f0.yaml includes f1.yaml and so on, `times` at each level. */
static void write_chain(unsigned files, unsigned times)
{
	for (unsigned i = 0; i < files; i++) {
		char path[32], rules[4096] = "";

		for (unsigned j = 0; j < times && i + 1 < files; j++)
			snprintf(rules + strlen(rules), sizeof(rules) - strlen(rules),
				 "  - include: f%u.yaml\n", i + 1);
		strcat(rules, "  - deny: 10.0.0.1\n");
		snprintf(path, sizeof(path), "f%u.yaml", i);
		write_rules(path, "", rules);
	}
	rename("f0.yaml", "p.yaml");
}

static void includes_have_bounds(void **state)
{
	struct loaded l;

	write_chain(17, 1); /* 16 below the policy */
	l = load_ok("p.yaml");
	assert_int_equal(l.policy->n_items, 17);
	unload(&l);
	write_chain(18, 1);
	expect_errors("f16.yaml:3:", "more than 16 files deep", NULL);
	write_chain(16, 10);
	expect_errors("more than 1024 includes", NULL);
}

static void missing_and_open_fragments_are_errors(void **state)
{
	write_rules("p.yaml", "", "  - include: a.yaml\n  - include: none.yaml\n");
	write_rules("a.yaml", "", "  - deny: 10.0.0.1\n");
	chmod("a.yaml", 0646);
	expect_errors("p.yaml:3:", "a.yaml may be written by anyone (mode 0646)",
		      "p.yaml:4:", "cannot read none.yaml", NULL);
	chmod("a.yaml", 0644);
	chmod("p.yaml", 0666);
	expect_errors("p.yaml may be written by anyone (mode 0666): chmod o-w p.yaml", NULL);
}

static void unenforced_keys_are_refused_in_fragments(void **state)
{
	write_rules("p.yaml", "", "  - include: a.yaml\n");
	write_rules("a.yaml", "", "  - {allow: \"*.example.org\", id: a, uses: 3}\n");
	expect_errors("a.yaml:3:", "not enforced yet", NULL);
}

/* ---- sets ---- */

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

/* ---- users, times, ids ---- */

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

/* ---- names ---- */

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

/* ---- the whole ---- */

static void inbound_hosts_are_resolved(void **state)
{
	struct loaded l;

	write_file("p.yaml", "sluice: 1\nsets: {peers: [10.0.0.0/8]}\n"
			     "inbound: [{from: [\"@peers\", \"@gateway\"], ports: 22}]\n");
	l = load_ok("p.yaml");
	assert_int_equal(l.policy->n_inbound, 1);
	assert_int_equal(l.policy->inbound_matches[0].n_hosts, 3);
	assert_ptr_equal(l.policy->inbound_matches[0].hosts[0].set, l.policy->sets[0]);
	unload(&l);
}

static void policy_itself_is_unchanged(void **state)
{
	static const char text[] = "sluice: 1\nsets: {none: [], x: [10.0.0.1]}\nrules:\n"
				   "  - {deny: \"@none\", empty: ok}\n"
				   "  - {allow: {to: \"@x\", uid: root}, id: a, expires: 1h}\n";
	struct sl_policy *policy = NULL, *out = NULL;
	struct sl_diag diag = {0};
	char *before, *after;

	assert_int_equal(sl_policy_parse(text, strlen(text), "t", SL_PARSE_POLICY, &policy, &diag),
			 0);
	before = print(policy);
	assert_int_equal(sl_resolve(policy, "t", &options, &out, &diag), 0);
	after = print(policy);
	assert_string_equal(before, after);
	sl_policy_free(policy);
	free(before);
	free(after);
	/* The result stands alone. */
	free(print(out));
	sl_policy_free(out);
	sl_diag_free(&diag);
}

/* Prints, loads that again and prints: the same text. */
static void expect_stable(const char *text)
{
	struct loaded l;
	char *again;

	write_file("printed.yaml", text);
	l = load_ok("printed.yaml");
	again = print(l.policy);
	assert_string_equal(again, text);
	free(again);
	unload(&l);
}

static void resolved_policy_prints_and_parses(void **state)
{
	struct loaded l;
	char *text;

	write_file("p.yaml",
		   "sluice: 1\nmode: audit\ndefault: allow\non_deny: drop\n"
		   "dns: {resolvers: system}\n"
		   "inbound: [{from: \"@gateway\", ports: 22, protocol: tcp}]\n"
		   "sets: {x: [10.0.0.0/8, 2001:db8::/32], feed: {file: feed.txt}}\n"
		   "rules:\n"
		   "  - deny: \"@metadata\"\n"
		   "  - {allow: {to: [\"@x\", \"@subnet\"], ports: [1-9, 80], uid: root}}\n"
		   "  - {allow: \"@x:443/tcp\", id: a, expires: 12h, reason: \"it's\"}\n"
		   "  - include: frag.yaml\n"
		   "  - {deny: \"@feed\", empty: ok}\n"
		   "tests:\n  - deny: 169.254.169.254:80\n  - allow: 10.0.0.1/icmp\n");
	write_rules("frag.yaml", "  x: [10.9.0.0/16]\n", "  - deny: [\"@x\", \"@x:53\"]\n");
	write_file("feed.txt", "198.51.100.0/24\n");
	l = load_ok("p.yaml");
	text = print(l.policy);
	assert_non_null(strstr(text, "frag-x"));
	expect_stable(text);
	free(text);
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

/* ---- golden: N.yaml gives N.ok (printed) or N.fail (messages) ---- */

static void check_golden(const char *name)
{
	char path[300], *ok, *bad, *printed = NULL;
	size_t len;
	struct loaded l;

	snprintf(path, sizeof(path), "%s.ok", name);
	ok = read_file(path, &len);
	snprintf(path, sizeof(path), "%s.fail", name);
	bad = read_file(path, &len);
	assert_true(!ok != !bad);
	snprintf(path, sizeof(path), "%s.yaml", name);
	l = load(path);
	if (!l.err)
		printed = print(l.policy);
	if (ok && !printed)
		fail_msg("%s: refused:\n%s", path, l.messages);
	if (bad && printed)
		fail_msg("%s: not refused:\n%s", path, printed);
	assert_string_equal(ok ? printed : l.messages, ok ? ok : bad);
	free(printed);
	free(ok);
	free(bad);
	unload(&l);
}

static void golden(void **state)
{
	struct dirent *entry;
	unsigned n = 0;
	DIR *d;

	assert_int_equal(chdir(TESTS_DIR "/golden/resolve"), 0);
	d = opendir(".");
	assert_non_null(d);
	while ((entry = readdir(d))) {
		char *dot = strrchr(entry->d_name, '.');

		if (!dot || strcmp(dot, ".yaml"))
			continue;
		*dot = '\0';
		check_golden(entry->d_name);
		n++;
	}
	closedir(d);
	assert_true(n >= 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(file_is_read_whole),
		TEST(only_safe_regular_files_are_read),
		TEST(policy_comes_from_standard_input),
		TEST(name_is_the_files),
		TEST(includes_stand_where_they_stood),
		TEST(profiles_come_from_their_directory),
		TEST(include_loop_shows_its_chain),
		TEST(includes_have_bounds),
		TEST(missing_and_open_fragments_are_errors),
		TEST(unenforced_keys_are_refused_in_fragments),
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
		TEST(user_names_become_numbers),
		TEST(durations_become_times),
		TEST(durations_count_from_the_first_effect),
		TEST(rule_that_is_over_is_a_warning),
		TEST(old_clock_is_not_believed),
		TEST(default_ids_stay_with_their_rules),
		TEST(equal_default_ids_get_numbers),
		TEST(written_ids_are_unique_across_includes),
		TEST(names_without_a_resolver_are_refused),
		TEST(names_of_a_hosts_file_own_its_addresses),
		TEST(a_hosts_file_that_cannot_be_read_is_a_warning),
		TEST(what_is_resolved_of_names_prints_and_parses),
		TEST(inbound_hosts_are_resolved),
		TEST(policy_itself_is_unchanged),
		TEST(resolved_policy_prints_and_parses),
		TEST(golden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
