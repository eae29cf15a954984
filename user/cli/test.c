// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice test: the tests that stand in policies, by the policy's decision. */
#include <getopt.h>
#include <stdlib.h>

#include "ask.h"
#include "behind.h"
#include "output.h"

struct tests {
	struct sl_resolve_options resolve;
	bool json;
	size_t passed, failed;
};

static const char *word(bool deny)
{
	return deny ? "deny" : "allow";
}

static void put_decision(const struct sl_loaded *loaded, const struct sl_asked *asked)
{
	const char *rule = sl_asked_rule(loaded, asked);

	if (asked->flow->name)
		fputs(asked->connects ? "the connection " : "the question ", stdout);
	fputs(asked->answer.deny ? "is denied " : "is allowed ", stdout);
	if (rule)
		printf("by rule %s", rule);
	else if (asked->answer.reason == SL_REASON_DEFAULT)
		fputs("by default", stdout);
	else
		printf("(%s)", sl_reason_word(asked->answer.reason));
}

static void print_failure(const struct sl_loaded *loaded, const struct sl_asked *asked)
{
	const struct sl_test *test = asked->flow;

	sl_put_place(&test->pos, stdout);
	printf(":%u: expected %s, ", test->pos.column, word(test->want == SL_DENY));
	put_decision(loaded, asked);
	printf(": %s\n", test->text);
}

static void print_json(const char *path, const struct sl_loaded *loaded,
		       const struct sl_asked *asked, bool passed)
{
	const struct sl_test *test = asked->flow;
	json_t *object = json_pack("{s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:o, s:s, s:b}",
				   "file", sl_json_text(path),
				   "line", sl_json_number(test->pos.line),
				   "column", sl_json_number(test->pos.column),
				   "flow", test->text, "expected", word(test->want == SL_DENY),
				   "verdict", word(asked->answer.deny),
				   "decided", asked->connects ? "connection" : "question",
				   "rule", sl_json_text(sl_asked_rule(loaded, asked)),
				   "reason", sl_reason_word(asked->answer.reason),
				   "passed", passed);

	sl_json_print(object);
}

static void run_tests(struct tests *t, const char *path, const struct sl_loaded *loaded)
{
	const struct sl_policy *policy = loaded->policy;
	struct sl_asked asked;
	bool passed;

	for (size_t i = 0; i < policy->n_tests; i++) {
		sl_ask(loaded, &policy->tests[i], false, NULL, &asked);
		passed = asked.answer.deny == (policy->tests[i].want == SL_DENY);
		if (passed)
			t->passed++;
		else
			t->failed++;
		if (t->json)
			print_json(path, loaded, &asked, passed);
		else if (!passed)
			print_failure(loaded, &asked);
	}
}

static int test_file(struct tests *t, const char *path)
{
	struct sl_loaded loaded;
	int status = sl_behind_load(path, &t->resolve, false, &loaded);

	if (status && t->json) {
		sl_json_print(json_pack("{s:o, s:b, s:o}", "file", sl_json_text(path), "passed", 0,
					"errors", sl_json_diag(&loaded.diag, SL_ERROR)));
	} else if (status) {
		sl_diag_print(&loaded.diag, stderr);
	} else if (!loaded.policy->n_tests) {
		fputs("note: ", stderr);
		sl_put_text(path, stderr);
		fputs(" has no tests\n", stderr);
	}
	if (!status)
		run_tests(t, path, &loaded);
	sl_loaded_free(&loaded);
	return status;
}

static const struct option options[] = {
	{"output", required_argument, NULL, 'o'},
	{"dev", required_argument, NULL, 'd'},
	{"trust-clock", no_argument, NULL, 't'},
	{"help", no_argument, NULL, 'h'},
	{},
};

int cmd_test(int argc, char **argv)
{
	struct sl_environment env = {};
	const char *device = NULL;
	struct tests tests = {};
	size_t invalid = 0;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":o:h", options, NULL)) != -1) {
		if (c == 'h')
			return sl_help("test");
		if (c == 't')
			tests.resolve.trust_clock = true;
		else if (c == 'd')
			device = optarg;
		else if (c != 'o')
			return sl_option_wrong("test", c, argv);
		else if (!sl_output_option(optarg, &tests.json))
			return sl_usage("test", "-o is text or json, not '%s'", optarg);
	}
	if (optind == argc)
		return sl_usage("test", "which FILE?");
	if (device && sl_behind_read(device, &env))
		return SL_EXIT_FAILED;
	tests.resolve.env = device ? &env : NULL;
	for (; optind < argc; optind++)
		invalid += !!test_file(&tests, argv[optind]);
	if (!tests.json) {
		printf("%zu passed, %zu failed", tests.passed, tests.failed);
		if (invalid)
			printf(", %zu file%s not valid", invalid, SL_S(invalid));
		putchar('\n');
	}
	sl_environment_free(&env);
	return sl_output_done("test", tests.failed || invalid ? SL_EXIT_FAILED : SL_EXIT_OK);
}
