// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluiced: its options. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"

static const char usage[] =
	"usage: sluiced [-c FILE] [--socket PATH] [--state PATH] [--trust-clock] [--unconfined]\n"
	"       sluiced --check [-c FILE]\n"
	"\n"
	"Gives every target its policy, as FILE says, follows what changes, mends what\n"
	"others undo, and answers `sluice`. It runs in the foreground. Its end opens\n"
	"nothing: the kernel goes on enforcing.\n"
	"\n"
	"  -c, --config FILE     " SL_CONFIG_PATH "\n"
	"      --check           read FILE and every policy that it names, say what is\n"
	"                        wrong, and change nothing\n"
	"      --socket PATH     " SL_DAEMON_SOCKET ", or $SLUICE_SOCKET\n"
	"      --state PATH      of the pins: " SL_STATE_PATH ", or $SLUICE_STATE\n"
	"      --trust-clock     take `expires` although the clock may be wrong\n"
	"      --unconfined      keep all capabilities and system calls (for debugging)\n"
	"      --version\n"
	"\n"
	"Exits 0 when a signal ends it, and if --check finds nothing wrong; else 1, 2 for wrong\n"
	"usage.\n"
	"\n"
	"example: sluiced --check -c /etc/sluice/sluiced.yaml\n";

enum { OPT_CHECK = 256, OPT_SOCKET, OPT_STATE, OPT_TRUST, OPT_UNCONFINED, OPT_VERSION };

static const struct option long_options[] = {
	{"config", required_argument, NULL, 'c'},
	{"check", no_argument, NULL, OPT_CHECK},
	{"socket", required_argument, NULL, OPT_SOCKET},
	{"state", required_argument, NULL, OPT_STATE},
	{"trust-clock", no_argument, NULL, OPT_TRUST},
	{"unconfined", no_argument, NULL, OPT_UNCONFINED},
	{"version", no_argument, NULL, OPT_VERSION},
	{"help", no_argument, NULL, 'h'},
	{},
};

static const char *from_environment(const char *name, const char *otherwise)
{
	const char *text = secure_getenv(name);

	return text && *text ? text : otherwise;
}

/* -1: go on; else the exit status. */
static int set_option(struct sl_daemon_options *o, int c, bool *check)
{
	switch (c) {
	case 'c':
		o->config = optarg;
		return -1;
	case OPT_CHECK:
		*check = true;
		return -1;
	case OPT_SOCKET:
		o->socket = optarg;
		return -1;
	case OPT_STATE:
		o->state = optarg;
		return -1;
	case OPT_TRUST:
		o->trust_clock = true;
		return -1;
	case OPT_UNCONFINED:
		o->unconfined = true;
		return -1;
	case OPT_VERSION:
		puts("sluiced " SLUICE_VERSION);
		return 0;
	case 'h':
		fputs(usage, stdout);
		return 0;
	}
	fputs("sluiced: `sluiced --help` lists the options\n", stderr); /* getopt said what is wrong */
	return 2;
}

int main(int argc, char **argv)
{
	struct sl_daemon_options options = {
		.config = SL_CONFIG_PATH,
		.socket = from_environment("SLUICE_SOCKET", SL_DAEMON_SOCKET),
		.state = from_environment("SLUICE_STATE", SL_STATE_PATH),
	};
	bool check = false;
	int c, status;

	while ((c = getopt_long(argc, argv, "c:h", long_options, NULL)) != -1) {
		status = set_option(&options, c, &check);
		if (status >= 0)
			return status;
	}
	if (optind < argc) {
		fprintf(stderr, "sluiced: what is '%s'? `sluiced --help` lists the options\n", argv[optind]);
		return 2;
	}
	return check ? sl_daemon_check(&options) : sl_daemon_run(&options);
}
