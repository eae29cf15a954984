/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the tests of user/resolve share: an environment, an empty directory for each test, what is
 * loaded there. After cmocka.h. */
#ifndef SLUICE_TEST_RESOLVE_LAB_H
#define SLUICE_TEST_RESOLVE_LAB_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "resolve/resolve.h"

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

static inline int setup(void **state)
{
	strcpy(dir, "/tmp/sl-resolve-XXXXXX");
	umask(022);
	return !mkdtemp(dir) || chdir(dir);
}

static inline int teardown(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return chdir("/") || system(command);
}

static inline void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

/* A policy or fragment; rules is what stands beneath `rules:`. */
static inline void write_rules(const char *path, const char *sets, const char *rules)
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

static inline struct loaded load_with(const char *path, const struct sl_resolve_options *with)
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

static inline struct loaded load(const char *path)
{
	return load_with(path, &options);
}

static inline void unload(struct loaded *l)
{
	if (l->policy)
		sl_policy_free(l->policy);
	sl_diag_free(&l->diag);
	free(l->messages);
}

static inline char *print(const struct sl_policy *policy)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_int_equal(sl_policy_print(policy, out), 0);
	fclose(out);
	return text;
}

/* Loads p.yaml and expects every message given (up to NULL) in the errors. */
static inline void expect_errors(const char *first, ...)
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

static inline struct loaded load_ok(const char *path)
{
	struct loaded l = load(path);

	if (l.err)
		fail_msg("%s: %d\n%s", path, l.err, l.messages);
	return l;
}

static inline const struct sl_rule *rule(const struct loaded *l, size_t i)
{
	assert_true(i < l->policy->n_items);
	assert_non_null(l->policy->items[i].rule);
	return l->policy->items[i].rule;
}

/* The host's text, as the printer would write it. */
static inline void expect_match(const struct loaded *l, size_t i, const char *want)
{
	char *text = sl_match_canonical(&rule(l, i)->matches[0]);

	assert_string_equal(text, want);
	free(text);
}

/* Prints, loads that again and prints: the same text. */
static inline void expect_stable(const char *text)
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
