// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What every command says about its options and its output. */
#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "output.h"

int sl_option_wrong(const char *command, int given, char **argv)
{
	const char *word = argv[optind - 1];

	if (given == ':')
		return sl_usage(command, "option '%s' wants a value", word);
	/* optopt is the letter of a short option, which may stand in a group. */
	if (optopt && strncmp(word, "--", 2))
		return sl_usage(command, "no option '-%c'", optopt);
	if (optopt)
		return sl_usage(command, "option '%s' takes no value", word);
	return sl_usage(command, "no option '%s', or it is short for several", word);
}

int sl_output_done(const char *command, int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	fprintf(stderr, "sluice %s: cannot write the output: %s\n", command, strerror(errno));
	return SL_EXIT_FAILED;
}

bool sl_output_option(const char *text, bool *json)
{
	*json = !strcmp(text, "json");
	return *json || !strcmp(text, "text");
}
