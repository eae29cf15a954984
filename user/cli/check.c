// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice check: is a policy valid, and what looks wrong with it. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

struct check {
	struct sl_resolve_options resolve;
	bool json, resolved;
};

/* n bytes as people read them; buf of 16 bytes. */
static const char *size_text(size_t n, char buf[16])
{
	if (n < 1024)
		snprintf(buf, 16, "%zu byte", n);
	else if (n < 1024 * 1024)
		snprintf(buf, 16, "%.1f KiB", (double)n / 1024);
	else
		snprintf(buf, 16, "%.1f MiB", (double)n / (1024 * 1024));
	return buf;
}

/* As a comment in front of the resolved policy, so that the output is YAML. */
static void print_ok(const char *path, const struct sl_loaded *loaded, bool comment)
{
	const struct sl_compiled *c = &loaded->compiled;
	size_t rules = loaded->policy->n_items, classes = c->n_classes - c->n_name_classes;
	size_t patterns = c->n_patterns - c->n_ask_only;
	char size[16];

	fputs(comment ? "# " : "", stdout);
	sl_put_text(strcmp(path, "-") ? path : "<stdin>", stdout);
	printf(": ok: %zu rule%s, %zu address class%s, ", rules, SL_S(rules), classes,
	       classes == 1 ? "" : "es");
	if (patterns)
		printf("%zu pattern%s of names, ", patterns, SL_S(patterns));
	if (c->n_ask_only)
		printf("%zu for search domains, ", c->n_ask_only);
	printf("%s table\n", size_text(c->table.n_words * sizeof(__u64), size));
}

static json_t *resolved_text(const struct sl_policy *policy)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	json_t *value = NULL;

	if (!out)
		return NULL;
	sl_policy_print(policy, out);
	if (!fclose(out))
		value = json_stringn(text, len);
	free(text);
	return value;
}

static json_t *counts(const struct sl_loaded *loaded, json_t *object)
{
	const struct sl_compiled *c = &loaded->compiled;

	json_object_set_new(object, "rules", sl_json_number(loaded->policy->n_items));
	json_object_set_new(object, "ranges4", sl_json_number(c->n_ranges4));
	json_object_set_new(object, "ranges6", sl_json_number(c->n_ranges6));
	json_object_set_new(object, "classes", sl_json_number(c->n_classes - c->n_name_classes));
	json_object_set_new(object, "name_classes", sl_json_number(c->n_name_classes));
	json_object_set_new(object, "patterns", sl_json_number(c->n_patterns - c->n_ask_only));
	json_object_set_new(object, "search_patterns", sl_json_number(c->n_ask_only));
	json_object_set_new(object, "table_bytes",
			    sl_json_number(c->table.n_words * sizeof(__u64)));
	return object;
}

static void print_json(const struct check *check, const char *path,
		       const struct sl_loaded *loaded, bool valid)
{
	static const char *const names[] = {"rules", "ranges4", "ranges6", "classes",
					    "name_classes", "patterns", "search_patterns",
					    "table_bytes"};
	json_t *object = json_pack("{s:o, s:b, s:o, s:o, s:o}", "file", sl_json_text(path),
				   "valid", valid,
				   "errors", sl_json_diag(&loaded->diag, SL_ERROR),
				   "warnings", sl_json_diag(&loaded->diag, SL_WARNING),
				   "not_shown", sl_json_number(loaded->diag.n_dropped));

	if (valid)
		counts(loaded, object);
	for (size_t i = 0; !valid && i < sizeof(names) / sizeof(*names); i++)
		json_object_set_new(object, names[i], json_null());
	if (check->resolved)
		json_object_set_new(object, "resolved", valid ? resolved_text(loaded->policy)
							      : json_null());
	sl_json_print(object);
}

static int check_file(const struct check *check, const char *path)
{
	struct sl_loaded loaded;
	int status = sl_load_quietly(path, &check->resolve, 1, false, &loaded);

	if (check->json) {
		print_json(check, path, &loaded, !status);
	} else {
		sl_diag_print(&loaded.diag, stderr);
		if (!status)
			print_ok(path, &loaded, check->resolved);
		if (!status && check->resolved)
			sl_policy_print(loaded.policy, stdout);
	}
	sl_loaded_free(&loaded);
	return status;
}

static const struct option options[] = {
	{"output", required_argument, NULL, 'o'},
	{"resolved", no_argument, NULL, 'r'},
	{"trust-clock", no_argument, NULL, 't'},
	{"help", no_argument, NULL, 'h'},
	{},
};

int cmd_check(int argc, char **argv)
{
	struct check check = {};
	int c, status = SL_EXIT_OK;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":o:h", options, NULL)) != -1) {
		if (c == 'h')
			return sl_help("check");
		if (c == 'r')
			check.resolved = true;
		else if (c == 't')
			check.resolve.trust_clock = true;
		else if (c != 'o')
			return sl_option_wrong("check", c, argv);
		else if (!sl_output_option(optarg, &check.json))
			return sl_usage("check", "-o is text or json, not '%s'", optarg);
	}
	if (optind == argc)
		return sl_usage("check", "which FILE?");
	if (check.resolved && !check.json && argc - optind > 1)
		return sl_usage("check", "--resolved prints one policy, not %d", argc - optind);
	for (; optind < argc; optind++)
		if (check_file(&check, argv[optind]))
			status = SL_EXIT_FAILED;
	return sl_output_done("check", status);
}
