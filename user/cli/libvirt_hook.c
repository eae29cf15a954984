// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice libvirt-hook: called by deploy/libvirt/qemu-hook, which libvirt calls. */
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "libvirt/hook.h"
#include "output.h"
#include "pins.h"

/* libvirt waits for its hook without end, and holds the guest's lock. SIGALRM ends
 * us; the shim takes that for a sluice that cannot be run. */
#define SECONDS_MAX 60

/* libvirt shows what stands on stderr only if the hook fails. */
static void log_lines(const char *guest, char *text)
{
	char *rest = NULL;

	openlog("sluice-libvirt", LOG_PID, LOG_DAEMON);
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		syslog(LOG_WARNING, "%s: %s", guest, line);
	closelog();
}

static void say(const struct sl_hook_call *call, const struct sl_diag *diag)
{
	char *guest = sl_escaped(call->guest), *text = NULL;
	size_t len;
	FILE *out = diag->n ? open_memstream(&text, &len) : NULL;

	if (out) {
		sl_diag_print(diag, out);
		if (!fclose(out)) {
			fprintf(stderr, "sluice libvirt-hook: guest %s:\n%s", guest ? guest : "?",
				text);
			log_lines(guest ? guest : "?", text);
		}
	}
	free(text);
	free(guest);
}

static int run(struct sl_hook_call *call)
{
	struct sl_diag diag = {};
	int status;

	call->state = sl_pins_path();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGALRM, SIG_DFL);
	alarm(SECONDS_MAX);
	status = sl_hook_run(call, &diag);
	say(call, &diag);
	sl_diag_free(&diag);
	return status ? SL_EXIT_FAILED : SL_EXIT_OK;
}

int cmd_libvirt_hook(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"config", required_argument, NULL, 'c'},
		{"help", no_argument, NULL, 'h'},
		{},
	};
	struct sl_hook_call call = {};
	int c;

	opterr = 0;
	/* `+`: what follows the first word is libvirt's */
	while ((c = getopt_long(argc, argv, "+:h", long_options, NULL)) != -1) {
		if (c == 'h')
			return sl_help("libvirt-hook");
		if (c != 'c')
			return sl_option_wrong("libvirt-hook", c, argv);
		call.config = optarg;
	}
	if (argc - optind < 2)
		return sl_usage("libvirt-hook", "GUEST and OPERATION are needed");
	call.guest = argv[optind];
	call.op = argv[optind + 1];
	return run(&call);
}
