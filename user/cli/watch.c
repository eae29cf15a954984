// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice watch: its options. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "watch.h"

enum { OPT_DEV = 256, OPT_ADDRESS, OPT_VLAN, OPT_LOG, OPT_AUDIT, OPT_TRUST, OPT_BUFFER,
       OPT_SINK, OPT_METRICS };

static const struct option long_options[] = {
	{"dev", required_argument, NULL, OPT_DEV},
	{"policy", required_argument, NULL, 'p'},
	{"address", required_argument, NULL, OPT_ADDRESS},
	{"vlan", required_argument, NULL, OPT_VLAN},
	{"log", required_argument, NULL, OPT_LOG},
	{"sink", required_argument, NULL, OPT_SINK},
	{"metrics", required_argument, NULL, OPT_METRICS},
	{"audit", no_argument, NULL, OPT_AUDIT},
	{"trust-clock", no_argument, NULL, OPT_TRUST},
	{"receive-buffer", required_argument, NULL, OPT_BUFFER},
	{"verbose", no_argument, NULL, 'v'},
	{"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},
	{},
};

static int add_pattern(struct sl_watch_options *o, const char *pattern)
{
	const char *wrong = sl_link_pattern_wrong(pattern), **added;

	if (wrong)
		return sl_usage("watch", "--dev '%s': %s", pattern, wrong);
	added = SL_ADD(o->patterns, o->n_patterns);
	if (!added)
		return SL_EXIT_FAILED;
	*added = pattern;
	return 0;
}

static int set_buffer(struct sl_watch_options *o, const char *text)
{
	__u64 bytes;

	if (!sl_text_number(text, strlen(text), 1u << 30, &bytes) || !bytes)
		return sl_usage("watch", "--receive-buffer '%s': bytes, 1 to 1073741824", text);
	o->receive_buffer = (unsigned)bytes;
	return 0;
}

/* 0, or the exit status. */
static int set_option(struct sl_watch_options *o, int c, char **argv, struct sl_diag *diag)
{
	switch (c) {
	case OPT_DEV:
		return add_pattern(o, optarg);
	case 'p':
		if (o->attach.policy)
			return sl_usage("watch", "-p %s: -p %s was given before; put one policy together "
					"with `include`", optarg, o->attach.policy);
		o->attach.policy = optarg;
		return 0;
	case OPT_ADDRESS:
		sl_binding_address(&o->attach.binding, optarg, diag);
		return 0;
	case OPT_VLAN:
		sl_binding_vlan(&o->attach.binding, optarg, diag);
		return 0;
	case OPT_LOG:
		o->log = optarg;
		return 0;
	case OPT_SINK:
		return sl_watch_add_sink(o, optarg, diag);
	case OPT_METRICS:
		return sl_watch_set_metrics(o, optarg, diag);
	case OPT_AUDIT:
		o->attach.audit = true;
		return 0;
	case OPT_TRUST:
		o->attach.trust_clock = true;
		return 0;
	case OPT_BUFFER:
		return set_buffer(o, optarg);
	case 'v':
		o->verbose = true;
		return 0;
	case 'o':
		if (sl_output_option(optarg, &o->json))
			return 0;
		return sl_usage("watch", "-o is text or json, not '%s'", optarg);
	}
	return sl_option_wrong("watch", c, argv);
}

int cmd_watch(int argc, char **argv)
{
	struct sl_watch_options o = {};
	struct sl_diag diag = {};
	int c, status = 0;

	opterr = 0;
	while (!status && (c = getopt_long(argc, argv, ":p:vo:h", long_options, NULL)) != -1) {
		if (c == 'h')
			return sl_help("watch");
		status = set_option(&o, c, argv, &diag);
	}
	if (!status && optind < argc)
		status = sl_usage("watch", "what is '%s'? (write --dev before each pattern, and "
				  "quote it)", argv[optind]);
	if (!status && (!o.n_patterns || !o.attach.policy))
		status = sl_usage("watch", "--dev and -p are needed");
	if (!status && diag.n_errors)
		status = SL_EXIT_USAGE;
	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	if (!status)
		status = sl_watch_run(&o);
	sl_watch_free_audit_options(&o);
	free(o.patterns);
	return status;
}
