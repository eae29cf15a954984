// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice convert: another system's policy as one of ours, on stdout. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "convert/nwfilter.h"
#include "convert/sortie.h"
#include "convert/tinyproxy.h"
#include "convert_records.h"
#include "kubernetes/kubernetes.h"
#include "output.h"
#include "policy/text.h"

static const char *shown_name(const char *path)
{
	return strcmp(path, "-") ? path : "<stdin>";
}

/* Prints what there is to say, and why a file could not be read if that was not said. */
static void report(const struct sl_diag *diag, const char *name, int err)
{
	sl_diag_print(diag, stderr);
	if (err && !diag->n_errors)
		fprintf(stderr, "sluice convert: %s: %s\n", name, strerror(-err));
}

/* ---- sortie ---- */

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

static void put_sortie_header(const struct sl_sortie *sortie, const char *name)
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

static int convert_sortie(char **paths, size_t n)
{
	const char *path = n ? paths[0] : "-", *name = shown_name(path);
	struct sl_pos pos = {.file = name};
	struct sl_sortie sortie;
	struct sl_diag diag = {};
	char *text = NULL;
	size_t len;
	int err;

	if (n > 1)
		return sl_usage("convert", "one FILE at a time: what is '%s'?", paths[1]);
	err = sl_file_read(path, SL_POLICY_BYTES_MAX, NULL, &text, &len, &diag);
	if (!err)
		err = sl_sortie_read(text, len, &pos, &sortie, &diag);
	free(text);
	report(&diag, name, err);
	sl_diag_free(&diag);
	if (err)
		return SL_EXIT_FAILED;
	put_sortie_header(&sortie, name);
	sl_policy_print(sortie.policy, stdout);
	sl_sortie_free(&sortie);
	return SL_EXIT_OK;
}

/* ---- nwfilter ---- */

static void put_attach(const struct sl_nwfilter_binding *binding, FILE *out)
{
	fputs("sluice attach --dev DEVICE -p POLICY", out);
	if (binding->mac)
		fputs(" --mac MAC", out);
	for (size_t i = 0; i < binding->n_addresses; i++) {
		fputs(" --address ", out);
		sl_put_text(binding->addresses[i], out);
	}
	putc('\n', out);
}

static void put_nwfilter_header(const struct sl_nwfilter *nwfilter, const char *name,
				const struct sl_diag *diag)
{
	fputs("# Made by `sluice convert --from nwfilter` from ", stdout);
	sl_put_text(name, stdout);
	fputs(", filter ", stdout);
	sl_put_text(nwfilter->name, stdout);
	fputs(".\n# It means what the filter meant on a device that is given:\n#   ", stdout);
	put_attach(&nwfilter->binding, stdout);
	fputs("# An id line-N is of the rule in line N. What every device is held to beyond its\n"
	      "# filter, and how libvirt's rules are read, is in docs/convert.md.\n", stdout);
	for (size_t i = 0; i < diag->n; i++) {
		fputs("# ", stdout);
		if (diag->entries[i].pos.line)
			fprintf(stdout, "Line %u: ", diag->entries[i].pos.line);
		sl_put_text(diag->entries[i].message, stdout);
		putc('\n', stdout);
	}
}

static int convert_nwfilter(char **paths, size_t n)
{
	static char *standard_input[] = {"-"};
	struct sl_nwfilter_source *sources;
	struct sl_nwfilter nwfilter;
	struct sl_diag diag = {};
	size_t n_read = 0;
	int err = 0;

	if (!n) {
		paths = standard_input;
		n = 1;
	}
	sources = calloc(n, sizeof(*sources));
	for (; sources && n_read < n && !err; n_read += !err) {
		struct sl_nwfilter_source *s = &sources[n_read];

		s->file = shown_name(paths[n_read]);
		err = sl_file_read(paths[n_read], SL_NWFILTER_BYTES_MAX, NULL, (char **)&s->text,
				   &s->len, &diag);
	}
	if (!err)
		err = sources ? sl_nwfilter_read(sources, n, &nwfilter, &diag) : -ENOMEM;
	report(&diag, shown_name(paths[n_read < n ? n_read : 0]), err);
	if (!err) {
		put_nwfilter_header(&nwfilter, sources[0].file, &diag);
		sl_policy_print(nwfilter.policy, stdout);
		fputs("sluice convert: attach it with: ", stderr);
		put_attach(&nwfilter.binding, stderr);
		sl_nwfilter_free(&nwfilter);
	}
	while (n_read)
		free((char *)sources[--n_read].text);
	free(sources);
	sl_diag_free(&diag);
	return err ? SL_EXIT_FAILED : SL_EXIT_OK;
}

/* ---- tinyproxy ---- */

/* --config and --set, in that order. */
struct tinyproxy_words {
	const char *config;
	const char **set;	/* owned; the words are borrowed */
	size_t n_set;
};

static const char tinyproxy_notes[] =
	"# Each id line-N is of the pattern in line N. A policy is about connections, not about\n"
	"# the proxy's requests: it holds for every port and protocol, it stops whoever\n"
	"# does not use the proxy, and what else tinyproxy.conf says (Allow, ConnectPort, ...)\n"
	"# is not in it. An address is let through for a name if DNS gave it; private\n"
	"# addresses are not, unless a rule says `resolves_to: private` (docs/names.md).\n";

static int read_tinyproxy_options(const struct tinyproxy_words *words,
				  struct sl_tinyproxy_options *options, struct sl_diag *diag)
{
	struct sl_pos pos = {.file = "--set"};
	char *text;
	size_t len;
	int err = 0;

	if (words->config) {
		struct sl_pos from = {.file = shown_name(words->config), .line = 1};

		err = sl_file_read(words->config, SL_TINYPROXY_BYTES_MAX, NULL, &text, &len, diag);
		if (err)
			return err;
		err = sl_tinyproxy_conf(text, len, &from, options, diag);
		free(text);
	}
	for (size_t i = 0; i < words->n_set && !err; i++)
		err = sl_tinyproxy_conf(words->set[i], strlen(words->set[i]), &pos, options, diag);
	return err;
}

static int convert_tinyproxy_file(const char *path, const struct sl_tinyproxy_options *options,
				  struct sl_diag *diag)
{
	struct sl_pos pos = {.file = shown_name(path)};
	struct sl_policy *policy;
	char *text = NULL;
	size_t len;
	int err;

	err = sl_file_read(path, SL_TINYPROXY_BYTES_MAX, NULL, &text, &len, diag);
	if (!err)
		err = sl_tinyproxy_read(text, len, &pos, options, &policy, diag);
	free(text);
	report(diag, pos.file, err);
	if (err)
		return err;
	fputs("# Made by `sluice convert --from tinyproxy` from ", stdout);
	sl_put_text(pos.file, stdout);
	printf(",\n# FilterDefaultDeny %s.\n", options->default_deny ? "Yes" : "No");
	fputs(tinyproxy_notes, stdout);
	sl_policy_print(policy, stdout);
	sl_policy_free(policy);
	return 0;
}

static int convert_tinyproxy(char **paths, size_t n, const struct tinyproxy_words *words)
{
	struct sl_tinyproxy_options options = {};
	struct sl_diag diag = {};
	int err;

	if (n > 1)
		return sl_usage("convert", "one FILE at a time: what is '%s'?", paths[1]);
	err = read_tinyproxy_options(words, &options, &diag);
	if (err)
		report(&diag, words->config ? shown_name(words->config) : "--set", err);
	else
		err = convert_tinyproxy_file(n ? paths[0] : options.filter ? options.filter : "-",
					     &options, &diag);
	sl_tinyproxy_options_free(&options);
	sl_diag_free(&diag);
	return err ? SL_EXIT_FAILED : SL_EXIT_OK;
}

/* ---- kubernetes ---- */

static int read_objects(struct sl_kube *kube, char **paths, size_t n, struct sl_diag *diag)
{
	int err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		char *text = NULL;
		size_t len;

		err = sl_file_read(paths[i], SL_POLICY_BYTES_MAX, NULL, &text, &len, diag);
		if (!err)
			err = sl_kube_add(kube, text, len, shown_name(paths[i]));
		free(text);
	}
	return err;
}

/* pod: NAMESPACE/NAME, which is cut in two. */
static int convert_objects(char **paths, size_t n, char *pod, struct sl_diag *diag)
{
	struct sl_kube *kube = sl_kube_new(diag);
	char *name = strchr(pod, '/');
	struct sl_policy *policy;
	int err = kube ? read_objects(kube, paths, n, diag) : -ENOMEM;

	*name++ = '\0';
	if (!err)
		err = sl_kube_policy(kube, pod, name, &policy);
	report(diag, shown_name(paths[0]), err);
	if (!err) {
		fputs("# Made by `sluice convert --from kubernetes` for pod ", stdout);
		sl_put_text(pod, stdout);
		putc('/', stdout);
		sl_put_text(name, stdout);
		fputs(".\n# It holds for the addresses, labels and endpoints that the objects had: a\n"
		      "# pod that comes or goes wants it made again (docs/kubernetes.md).\n", stdout);
		sl_policy_print(policy, stdout);
		sl_policy_free(policy);
	}
	sl_kube_free(kube);
	return err;
}

static int convert_kubernetes(char **paths, size_t n, const char *pod)
{
	static char *standard_input[] = {"-"};
	struct sl_diag diag = {};
	const char *slash = pod ? strchr(pod, '/') : NULL;
	char *copy;
	int err;

	if (!slash || slash == pod || !slash[1] || strchr(slash + 1, '/'))
		return sl_usage("convert", "which pod? give --pod NAMESPACE/NAME");
	copy = strdup(pod);
	err = copy ? convert_objects(n ? paths : standard_input, n ? n : 1, copy, &diag) : -ENOMEM;
	free(copy);
	sl_diag_free(&diag);
	return err ? SL_EXIT_FAILED : SL_EXIT_OK;
}

static const struct option options[] = {
	{"from", required_argument, NULL, 'f'},
	{"config", required_argument, NULL, 'c'},
	{"set", required_argument, NULL, 's'},
	{"pod", required_argument, NULL, 'p'},
	{"policy", required_argument, NULL, 'P'},
	{"help", no_argument, NULL, 'h'},
	{},
};

static int convert(const char *from, char **paths, size_t n, const struct tinyproxy_words *words,
		   const char *pod, const char *policy)
{
	if (strcmp(from, "tinyproxy") && (words->config || words->n_set))
		return sl_usage("convert", "--config and --set are for --from tinyproxy");
	if (strcmp(from, "kubernetes") && pod)
		return sl_usage("convert", "--pod is for --from kubernetes");
	if (strcmp(from, "records") && policy)
		return sl_usage("convert", "--policy is for --from records");
	if (!strcmp(from, "records"))
		return sl_convert_records(paths, n, policy);
	if (!strcmp(from, "kubernetes"))
		return convert_kubernetes(paths, n, pod);
	if (!strcmp(from, "tinyproxy"))
		return convert_tinyproxy(paths, n, words);
	if (!strcmp(from, "nwfilter"))
		return convert_nwfilter(paths, n);
	if (!strcmp(from, "sortie"))
		return convert_sortie(paths, n);
	return sl_usage("convert", "--from is kubernetes, nwfilter, records, sortie or tinyproxy, not "
			"'%s'", from);
}

int cmd_convert(int argc, char **argv)
{
	struct tinyproxy_words words = {};
	const char *from = NULL, *pod = NULL, *policy = NULL, **slot;
	int c, status;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (c == 'f') {
			from = optarg;
		} else if (c == 'p') {
			pod = optarg;
		} else if (c == 'P') {
			policy = optarg;
		} else if (c == 'c') {
			words.config = optarg;
		} else if (c == 's' && (slot = SL_ADD(words.set, words.n_set))) {
			*slot = optarg;
		} else {
			free(words.set);
			return c == 'h' ? sl_help("convert") : sl_option_wrong("convert", c, argv);
		}
	}
	if (!from)
		status = sl_usage("convert", "from what? give --from kubernetes, --from nwfilter, "
				  "--from records, --from sortie or --from tinyproxy");
	else
		status = convert(from, argv + optind, (size_t)(argc - optind), &words, pod,
				 policy);
	free(words.set);
	return status == SL_EXIT_USAGE ? status : sl_output_done("convert", status);
}
