// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* `sluice run`: its options. */
#include <getopt.h>
#include <string.h>

#include "output.h"
#include "run.h"

enum { OPT_AUDIT = 256, OPT_LOG, OPT_USER, OPT_WAIT, OPT_LEAVE, OPT_KEEP, OPT_TRUST, OPT_HELP };

static const struct option long_options[] = {
	{"policy", required_argument, NULL, 'p'},
	{"audit", no_argument, NULL, OPT_AUDIT},
	{"log", required_argument, NULL, OPT_LOG},
	{"verbose", no_argument, NULL, 'v'},
	{"quiet", no_argument, NULL, 'q'},
	{"user", required_argument, NULL, OPT_USER},
	{"wait", no_argument, NULL, OPT_WAIT},
	{"leave", no_argument, NULL, OPT_LEAVE},
	{"keep-privileges", no_argument, NULL, OPT_KEEP},
	{"trust-clock", no_argument, NULL, OPT_TRUST},
	{"help", no_argument, NULL, OPT_HELP},
	{},
};

static bool set_option(struct sl_run_options *o, int option)
{
	switch (option) {
	case 'p':
		o->policy = optarg;
		return true;
	case 'v':
		o->verbose = true;
		return true;
	case 'q':
		o->quiet = true;
		return true;
	case OPT_AUDIT:
		o->audit = true;
		return true;
	case OPT_LOG:
		o->log = optarg;
		return true;
	case OPT_USER:
		o->user = optarg;
		return true;
	case OPT_WAIT:
		o->wait = true;
		return true;
	case OPT_LEAVE:
		o->leave = true;
		return true;
	case OPT_KEEP:
		o->keep_privileges = true;
		return true;
	case OPT_TRUST:
		o->trust_clock = true;
		return true;
	}
	return false;
}

int cmd_run(int argc, char **argv)
{
	struct sl_run_options o = {};
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "+:p:vqh", long_options, NULL)) != -1) {
		if (option == OPT_HELP || option == 'h')
			return sl_help("run");
		if (option == 'p' && o.policy)
			return sl_usage("run", "-p %s: -p %s was given before; put one policy together "
					"with `include`", optarg, o.policy);
		if (!set_option(&o, option))
			return sl_option_wrong("run", option, argv);
	}
	if (optind == argc)
		return sl_usage("run", "no command to run");
	if (o.wait && o.leave)
		return sl_usage("run", "--wait and --leave exclude each other");
	o.command = argv + optind;
	return sl_run_is_by_daemon(&o) ? sl_run_by_daemon(&o) : sl_session(&o);
}
