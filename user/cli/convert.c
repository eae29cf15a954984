// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice convert: another system's policy as one of ours, on stdout. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "convert/sortie.h"
#include "output.h"

static const char allowlist_notes[] =
	"# An allowlist: what no rule names is denied; DNS is always allowed.\n"
	"# In Kubernetes the cluster's default for sessions (Sortie's chart: DNS, HTTP and\n"
	"# HTTPS to anywhere) is added to it, because NetworkPolicies are a union. Nothing\n"
	"# is added here: add `- allow: \"any:80,443/tcp\"` if the application needs it.\n";

static const char denylist_notes[] =
	"# A denylist: what no rule names is allowed; DNS is always allowed.\n"
	"# Ports are denied as they are written, which NetworkPolicies cannot do; a rule\n"
	"# without a protocol denies TCP and UDP only. Where this differs from Kubernetes:\n"
	"#  - the cluster's default for sessions (Sortie's chart: DNS, HTTP and HTTPS to\n"
	"#    anywhere) is added there, because NetworkPolicies are a union; not here.\n"
	"#  - Sortie allows 0.0.0.0/0 there, so IPv6 is closed; here it is open but for the\n"
	"#    rules below: add `- deny: \"::/0\"` at their end to close it.\n";

static void put_header(const struct sl_sortie *sortie, const char *name)
{
	fputs("# Made by `sluice convert --from sortie` from ", stdout);
	sl_put_text(name, stdout);
	if (sortie->application) {
		fputs(",\n# application ", stdout);
		sl_put_text(sortie->application, stdout);
	}
	fputs(".\n", stdout);
	fputs(sortie->policy->default_action == SL_ALLOW ? denylist_notes : allowlist_notes,
	      stdout);
}

static int convert_sortie(const char *path)
{
	const char *name = strcmp(path, "-") ? path : "<stdin>";
	struct sl_pos pos = {.file = name};
	struct sl_sortie sortie;
	struct sl_diag diag = {};
	char *text = NULL;
	size_t len;
	int err;

	err = sl_file_read(path, SL_POLICY_BYTES_MAX, NULL, &text, &len, &diag);
	if (!err)
		err = sl_sortie_read(text, len, &pos, &sortie, &diag);
	free(text);
	sl_diag_print(&diag, stderr);
	if (err && !diag.n_errors)
		fprintf(stderr, "sluice convert: %s: %s\n", name, strerror(-err));
	sl_diag_free(&diag);
	if (err)
		return SL_EXIT_FAILED;
	put_header(&sortie, name);
	sl_policy_print(sortie.policy, stdout);
	sl_sortie_free(&sortie);
	return SL_EXIT_OK;
}

static const struct option options[] = {
	{"from", required_argument, NULL, 'f'},
	{"help", no_argument, NULL, 'h'},
	{},
};

int cmd_convert(int argc, char **argv)
{
	const char *from = NULL;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (c == 'h')
			return sl_help("convert");
		if (c != 'f')
			return sl_option_wrong("convert", c, argv);
		from = optarg;
	}
	if (!from)
		return sl_usage("convert", "from what? give --from sortie");
	if (!strcmp(from, "nwfilter") || !strcmp(from, "tinyproxy"))
		return sl_usage("convert", "--from %s is not built yet", from);
	if (strcmp(from, "sortie"))
		return sl_usage("convert", "--from is sortie, not '%s'", from);
	if (argc - optind > 1)
		return sl_usage("convert", "one FILE at a time: what is '%s'?", argv[optind + 1]);
	return sl_output_done("convert", convert_sortie(optind < argc ? argv[optind] : "-"));
}
