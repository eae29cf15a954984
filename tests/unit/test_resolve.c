// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* user/resolve: files, includes, and the policy as a whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "read_file.h"
#include "resolve/resolve.h"
#include "resolve_lab.h"

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
	expect_errors("p.yaml:3:", "is not profile/NAME", "no profile \"none\" (profiles/none.yaml): `sluice profile list`", NULL);
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
		TEST(inbound_hosts_are_resolved),
		TEST(policy_itself_is_unchanged),
		TEST(resolved_policy_prints_and_parses),
		TEST(golden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
