// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * user/policy/yaml_plain.c gives what libfyaml gives: random texts are read by both, and every
 * event, place and refusal is compared. SLUICE_SEED=N repeats a run, SLUICE_TEXTS=N makes it longer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "policy/yaml.h"
#include "random_below.h"

#define TEXT_MAX 4096

struct text {
	char bytes[TEXT_MAX + 1];
	size_t len;
};

static void add(struct text *t, const char *more)
{
	size_t n = strlen(more);

	if (t->len + n > TEXT_MAX)
		return;
	memcpy(t->bytes + t->len, more, n);
	t->len += n;
}

#define PICK(words) ((words)[below(sizeof(words) / sizeof(*(words)))])

/* ---- no structure at all ---- */

static const char *const tokens[] = {
	"a", "rules:", "- ", "allow: ", "deny: ", "10.0.0.1:443/tcp", "2001:db8::/32", "\"@x\"",
	"'q'", "[", "]", "{", "}", ", ", ",", "\n", "\n", "\n  ", "\n  - ", "\n    ", "\n- ", "\n",
	"\n    - ", " # c", "#", " ", ": ", ":", "to: ", "k: ", "any", "| ", "> ", "&a ", "*a",
	"!t ", "---\n", "...\n", "\t", "\r\n", "'", "\"", "\\", "?", "? ", "@", "x y", " x", "  ",
	"-", "null", "~", "\xc3\xa9", "%", "a: b", "[a, b]", "{a: b, c: [1, 2]}", "''", "\"\"",
	"\n\n", "\n# c\n", "\n  # c\n", "::1", "a::", "=", "(", ")", "a:b", "/", ".",
};

static void make_noise(struct text *t)
{
	unsigned int n = 1 + below(24);

	if (below(4))
		add(t, below(2) ? "sluice: 1\n" : "rules:\n");
	while (n--)
		add(t, PICK(tokens));
	if (below(8))
		add(t, "\n");
}

/* ---- as policies are ---- */

static const char *const plains[] = {
	"any", "10.0.0.1", "10.0.0.0/8:443/tcp", "2001:db8::/32", "until the move", "80-443",
	"api.example", "a, b", "x", "1", "true", "null", "profile/npm", "22,443/tcp",
};
static const char *const quoteds[] = {"\"@private\"", "'*.x'", "\"\"", "'a b: c #'", "\"[x]\""};
static const char *const keys[] = {"allow", "deny", "to", "ports", "id", "reason", "sets", "a-b"};
static const char *const ends[] = {"\n", "\n", "\n", " # why\n", "  \n", "\n\n", "\n  # x\n"};

static void indent(struct text *t, unsigned int n)
{
	while (n--)
		add(t, " ");
}

static void make_flow(struct text *t, unsigned int deep)
{
	bool list = below(2);
	unsigned int n = below(4), i;

	add(t, list ? "[" : "{");
	for (i = 0; i < n; i++) {
		if (!list) {
			add(t, PICK(keys));
			add(t, ": ");
		}
		if (deep < 3 && !below(4))
			make_flow(t, deep + 1);
		else
			add(t, below(3) ? "a.b/8:1" : PICK(quoteds));
		if (i + 1 < n)
			add(t, below(4) ? ", " : ",");
	}
	add(t, list ? "]" : "}");
}

static void make_block(struct text *t, unsigned int at, unsigned int deep, bool list);

static void make_value(struct text *t, unsigned int at, unsigned int deep, bool key)
{
	unsigned int what = below(10);

	if (key && deep < 4 && what < 3) {
		add(t, PICK(ends));
		make_block(t, what ? at + 1 + below(3) : at, deep + 1, what < 2);
		return;
	}
	if (key)
		add(t, below(4) ? " " : "   ");
	if (what < 5)
		make_flow(t, 0);
	else
		add(t, what < 8 ? PICK(plains) : PICK(quoteds));
	add(t, PICK(ends));
}

static void make_block(struct text *t, unsigned int at, unsigned int deep, bool list)
{
	unsigned int n = 1 + below(4), i;

	for (i = 0; i < n; i++) {
		indent(t, at);
		if (list)
			add(t, "- ");
		if (!list || below(2)) {
			add(t, PICK(keys));
			add(t, ":");
			make_value(t, list ? at + 2 : at, deep, true);
		} else {
			make_value(t, at, deep, false);
		}
	}
}

static void make_policy(struct text *t)
{
	make_block(t, 0, 0, false);
}

/* A byte or two that do not belong there. */
static void spoil(struct text *t)
{
	static const char odd[] = " \n\t:-#,[]{}'\"|>&*!?%@~x1\r";
	unsigned int n = 1 + below(2);

	while (n-- && t->len)
		t->bytes[below((unsigned int)t->len)] = odd[below(sizeof(odd) - 1)];
}

/* ---- compared ---- */

static bool is_same(const struct sl_yaml *a, const struct sl_yaml *b)
{
	return a->type == b->type && a->depth == b->depth && a->pos.line == b->pos.line &&
	       a->pos.column == b->pos.column &&
	       (a->type != SL_YAML_SCALAR ||
		(a->plain == b->plain && a->scalar_len == b->scalar_len &&
		 !memcmp(a->scalar, b->scalar, a->scalar_len)));
}

/* libfyaml may refuse a text a few events before the place where it goes wrong. */
static bool both_refuse(struct sl_yaml *a, const struct sl_yaml *b)
{
	while (a->type != SL_YAML_END)
		sl_yaml_next(a);
	return a->error == b->error;
}

/* True if the text was read to its end without libfyaml. */
static bool compare(const struct text *t, bool *valid)
{
	struct sl_diag ours = {}, theirs = {};
	char *exact = malloc(t->len ? t->len : 1);	/* the sanitizer sees who reads past it */
	struct sl_yaml a, b;
	bool same;

	assert_non_null(exact);
	memcpy(exact, t->bytes, t->len);
	sl_yaml_open(&a, exact, t->len, "t", &ours);
	sl_yaml_open_stream(&b, exact, t->len, "t", &theirs);
	b.many = false;
	do {
		sl_yaml_next(&a);
		sl_yaml_next(&b);
		same = b.error ? both_refuse(&a, &b) : is_same(&a, &b);
	} while (same && b.type != SL_YAML_END);
	same = same && ours.n_errors == theirs.n_errors;
	if (!same)
		print_message("seed %llu: line %u column %u type %d, libfyaml: %u, %u, %d:\n%.*s\n",
			      (unsigned long long)state, a.pos.line, a.pos.column, a.type,
			      b.pos.line, b.pos.column, b.type, (int)t->len, t->bytes);
	assert_true(same);
	*valid = !b.error;
	same = a.plain_text.on;
	sl_yaml_close(&a);
	sl_yaml_close(&b);
	sl_diag_free(&ours);
	sl_diag_free(&theirs);
	free(exact);
	return same;
}

static unsigned long from_env(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 0) : otherwise;
}

static void test_events_are_libfyamls(void **unused)
{
	unsigned long n = from_env("SLUICE_TEXTS", 6000), seed, i, plain = 0, whole = 0;
	bool valid;

	(void)unused;
	seed = from_env("SLUICE_SEED", (unsigned long)time(NULL));
	print_message("SLUICE_SEED=%lu\n", seed);
	state = seed * 2654435761u + 1;
	for (i = 0; i < n; i++) {
		struct text t = {};

		if (i % 3)
			make_policy(&t);
		else
			make_noise(&t);
		if (i % 3 == 2)
			spoil(&t);
		plain += compare(&t, &valid) && i % 3 == 1;
		whole += valid && i % 3 == 1;
	}
	/* else nothing was tested */
	assert_true(plain > n / 9);
	print_message("%lu of %lu valid policies without libfyaml\n", plain, whole);
}

static bool reads_alone(const char *text)
{
	struct text t = {};
	bool valid;

	add(&t, text);
	return compare(&t, &valid) && valid;
}

static void test_policies_need_no_libfyaml(void **unused)
{
	(void)unused;
	assert_true(reads_alone("# a policy\nsluice: 1\ndns: {resolvers: [192.0.2.53]}\n"
				"sets:\n  feed: {file: feed.txt}\nrules:\n  - deny: \"@metadata\"\n"
				"  - allow: {to: 10.1.2.0/24, ports: [5432-5440]}\n    id: db\n"
				"    reason: until the move # yes\n  - allow:\n      to: any\n"
				"      ports:\n      - 443\n  - allow: 2001:db8::/32\n"));
	assert_false(reads_alone("sluice: 1\nrules:\n  - allow: >\n      any\n"));
	assert_false(reads_alone("sluice: 1\nname: two\n  lines\n"));
	assert_false(reads_alone("sluice: 1\n"
				 "name: a\\b\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_events_are_libfyamls),
		cmocka_unit_test(test_policies_need_no_libfyaml),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
