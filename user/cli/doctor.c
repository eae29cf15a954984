// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice doctor: tries every feature of the table and tells. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/libbpf.h>
#include <jansson.h>

#include "cli.h"
#include "doctor.h"
#include "output.h"

static const char *const health_names[] = {
	[SL_OK] = "ok",
	[SL_DEGRADED] = "degraded",
	[SL_MISSING] = "missing",
	[SL_UNKNOWN] = "unknown",
};

/* Without privileges the kernel's EPERM says nothing about a feature that asks
 * for some; these ask for none. */
static bool is_about_privilege(const struct sl_doctor *d, const struct sl_feature *f, int err)
{
	if (d->privileged || (err != -EPERM && err != -EACCES))
		return false;
	return f->try != sl_try_capability && f->try != sl_try_seccomp && f->try != sl_try_ping &&
	       f->try != sl_try_yama && f->try != sl_try_userns;
}

static void examine(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	struct sl_finding found = {};
	int err = f->try(d, f, &found);

	if (err) {
		found.error = -err;
		found.health = is_about_privilege(d, f, err) ? SL_UNKNOWN : SL_MISSING;
	}
	*out = found;
}

static void examine_all(struct sl_finding *findings, size_t n)
{
	struct sl_doctor d = {.privileged = true, .cgroup_fd = -1};
	struct sl_diag diag = {};

	libbpf_set_print(NULL);
	d.has_identity = !sl_identity_resolve(NULL, false, &d.identity, &diag);
	sl_diag_free(&diag);
	for (size_t i = 0; i < n; i++)
		examine(&d, &sl_features[i], &findings[i]);
	if (d.cgroup_fd >= 0) {
		sl_cgroup_remove(&d.scratch);
		sl_cgroup_close(&d.scratch);
	}
	if (d.has_cgroup2)
		sl_cgroup2_free(&d.cgroup2);
	if (d.has_identity)
		sl_identity_free(&d.identity);
}

/* The first feature that keeps `run` from working, or NULL. */
static const struct sl_feature *first_missing(const struct sl_finding *findings, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (sl_features[i].required && findings[i].health >= SL_MISSING)
			return &sl_features[i];
	return NULL;
}

/* ---- text ---- */

static const char *hint_of(const struct sl_feature *f, const struct sl_finding *found)
{
	return found->health == SL_UNKNOWN ? "only root can find out: sudo sluice doctor" : f->hint;
}

static void print_feature(const struct sl_feature *f, const struct sl_finding *found)
{
	printf("%-9s %-24s %s\n", health_names[found->health], f->name,
	       found->detail[0] ? found->detail : f->needed_for);
	if (found->health == SL_OK || found->health == SL_UNKNOWN)
		return;
	if (found->error)
		printf("%34s error:   %s\n", "", strerror(found->error));
	if (found->detail[0])
		printf("%34s for:     %s\n", "", f->needed_for);
	printf("%34s without: %s\n", "", f->without);
	printf("%34s hint:    %s\n", "", hint_of(f, found));
}

static void print_group(const char *title, bool required, const struct sl_finding *findings,
			size_t n)
{
	printf("%s\n", title);
	for (size_t i = 0; i < n; i++)
		if (sl_features[i].required == required)
			print_feature(&sl_features[i], &findings[i]);
	puts("");
}

static void print_text(const struct sl_finding *findings, size_t n, const struct sl_feature *bad)
{
	print_group("`sluice run` needs:", true, findings, n);
	print_group("Sluice can use:", false, findings, n);
	if (!bad)
		puts("`sluice run` can work here");
	else
		printf("`sluice run` cannot work here: %s: %s: %s\n",
		       health_names[findings[bad - sl_features].health], bad->name,
		       hint_of(bad, &findings[bad - sl_features]));
}

/* ---- JSON ---- */

static json_t *optional_text(const char *text)
{
	return text && text[0] ? json_string(text) : json_null();
}

static json_t *feature_json(const struct sl_feature *f, const struct sl_finding *found)
{
	return json_pack("{s:s, s:s, s:b, s:s, s:s, s:o, s:o, s:o, s:s}", "name", f->name, "status",
			 health_names[found->health], "required", f->required, "needed_for",
			 f->needed_for, "without", f->without, "detail",
			 optional_text(found->detail), "errno",
			 found->error ? json_integer(found->error) : json_null(), "error",
			 optional_text(found->error ? strerror(found->error) : NULL), "hint",
			 hint_of(f, found));
}

static int print_json(const struct sl_finding *findings, size_t n, const struct sl_feature *bad)
{
	json_t *features = json_array(), *root;
	int err;

	for (size_t i = 0; i < n; i++)
		json_array_append_new(features, feature_json(&sl_features[i], &findings[i]));
	root = json_pack("{s:b, s:o, s:o}", "ok", !bad, "first_missing",
			 optional_text(bad ? bad->name : NULL), "features", features);
	err = root ? json_dumpf(root, stdout, JSON_INDENT(2)) : -1;
	puts("");
	json_decref(root);
	return err ? -ENOMEM : 0;
}

int cmd_doctor(int argc, char **argv)
{
	static const struct option options[] = {
		{"output", required_argument, NULL, 'o'},
		{"help", no_argument, NULL, 'h'},
		{},
	};
	const struct sl_feature *bad;
	struct sl_finding *findings;
	size_t n = sl_n_features;
	bool json = false;
	int c, err = 0;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":o:h", options, NULL)) != -1) {
		if (c == 'h')
			return sl_help("doctor");
		if (c != 'o')
			return sl_option_wrong("doctor", c, argv);
		if (!sl_output_option(optarg, &json))
			return sl_usage("doctor", "-o is text or json, not '%s'", optarg);
	}
	if (optind < argc)
		return sl_usage("doctor", "unexpected '%s'", argv[optind]);
	findings = calloc(n, sizeof(*findings));
	if (!findings) {
		fprintf(stderr, "sluice doctor: %s\n", strerror(ENOMEM));
		return SL_EXIT_FAILED;
	}
	examine_all(findings, n);
	bad = first_missing(findings, n);
	if (json)
		err = print_json(findings, n, bad);
	else
		print_text(findings, n, bad);
	free(findings);
	return sl_output_done("doctor", bad || err ? SL_EXIT_FAILED : SL_EXIT_OK);
}
