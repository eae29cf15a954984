// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice rules: --sets, the built-in sets, and what they are here and now. */
#include <getopt.h>
#include <string.h>

#include "behind.h"
#include "hits.h"
#include "output.h"
#include "policy/parser.h"
#include "sluice_sets.h"

struct set_row {
	const char *name;
	const char *text;		/* contents, the same everywhere; or NULL */
	const char *meaning;		/* of a set that a resolution fills */
	const struct sl_cidr *cidrs;
	size_t n;
};

static void print_text(const struct set_row *row)
{
	char buf[SL_CIDR_TEXT];

	printf("@%-12s", row->name);
	if (row->text)
		printf(" %s", row->text);
	for (size_t i = 0; i < row->n; i++)
		printf(" %s", sl_cidr_format(&row->cidrs[i], buf));
	if (!row->text && !row->n)
		fputs(" (nothing)", stdout);
	if (row->meaning)
		printf("   here and now: %s", row->meaning);
	putchar('\n');
}

static json_t *words_list(const char *text)
{
	json_t *list = json_array();
	size_t len;

	for (; *text; text += len + strspn(text + len, " ")) {
		len = strcspn(text, " ");
		json_array_append_new(list, json_stringn(text, len));
	}
	return list;
}

static json_t *cidrs_list(const struct set_row *row)
{
	json_t *list = json_array();
	char buf[SL_CIDR_TEXT];

	for (size_t i = 0; i < row->n; i++)
		json_array_append_new(list, json_string(sl_cidr_format(&row->cidrs[i], buf)));
	return list;
}

static void print_row(const struct set_row *row, bool json)
{
	if (!json) {
		print_text(row);
		return;
	}
	sl_json_print(json_pack("{s:s, s:o, s:b, s:o}", "set", row->name,
				"addresses", row->text ? words_list(row->text) : cidrs_list(row),
				"resolved", !row->text, "meaning", sl_json_text(row->meaning)));
}

static void print_static(bool json)
{
	static const struct set_row rows[] = {
#define X(set, contents) {.name = #set, .text = contents},
		SL_STATIC_SETS(X)
#undef X
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		print_row(&rows[i], json);
}

static void print_resolved(const struct sl_environment *env, const char *device, bool json)
{
	const struct sl_cidr *gateway = env->gateway, *subnet = env->subnet;
	const struct sl_cidr *host = env->host, *resolvers = env->resolvers;
	static const char behind[] = "as the device sees it (docs/devices.md)";
	const struct set_row rows[] = {
#define Y(set, text) {.name = #set, .meaning = device ? behind : text, .cidrs = set, .n = env->n_##set},
		SL_RESOLVED_SETS(Y)
#undef Y
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		print_row(&rows[i], json);
}

static int read_here(struct sl_environment *env)
{
	int err = sl_environment_read(-1, NULL, env);

	if (err)
		fprintf(stderr, "sluice rules: cannot read routes, addresses and name servers of "
			"this machine: %s\n", strerror(-err));
	return err ? SL_EXIT_FAILED : 0;
}

static int print_sets(const char *device, bool json)
{
	struct sl_environment env;

	int status = device ? sl_behind_read(device, &env) : read_here(&env);

	/* without rights to read the network, still those that are the same everywhere */
	if (!status || !device)
		print_static(json);
	if (status)
		return status;
	print_resolved(&env, device, json);
	sl_environment_free(&env);
	return SL_EXIT_OK;
}

static const struct option options[] = {
	{"sets", no_argument, NULL, 's'},
	{"dev", required_argument, NULL, 'd'},
	{"cgroup", required_argument, NULL, 'c'},
	{"unused", required_argument, NULL, 'u'},
	{"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},
	{},
};

int cmd_rules(int argc, char **argv)
{
	const char *device = NULL, *cgroup = NULL;
	bool json = false, sets = false;
	__s64 unused_s = 0;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":o:h", options, NULL)) != -1) {
		if (c == 'h')
			return sl_help("rules");
		if (c == 's')
			sets = true;
		else if (c == 'd')
			device = optarg;
		else if (c == 'c')
			cgroup = optarg;
		else if (c == 'u' && sl_duration_parse(optarg, strlen(optarg), &unused_s))
			continue;
		else if (c == 'u')
			return sl_usage("rules", "--unused '%s': a duration, as 30d or 12h", optarg);
		else if (c != 'o')
			return sl_option_wrong("rules", c, argv);
		else if (!sl_output_option(optarg, &json))
			return sl_usage("rules", "-o is text or json, not '%s'", optarg);
	}
	if (optind < argc)
		return sl_usage("rules", "what is '%s'?", argv[optind]);
	if (!sets && !device && !cgroup)
		return sl_usage("rules", "--sets or --dev DEVICE or --cgroup PATH is needed");
	if (cgroup && (sets || device))
		return sl_usage("rules", "--cgroup stands alone, not with --sets or --dev");
	if (sets && unused_s)
		return sl_usage("rules", "--unused goes with --dev and --cgroup");
	return sl_output_done("rules", sets ? print_sets(device, json) :
				       sl_hits_show(device ? device : cgroup, !device, unused_s,
						    json));
}
