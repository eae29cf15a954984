// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What is said of a command, from the program's table of them. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

const struct sl_command *sl_command_find(const char *name)
{
	const struct sl_command *c;

	for (c = sl_commands; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

int sl_help(const char *command)
{
	fputs(sl_command_find(command)->usage, stdout);
	return SL_EXIT_OK;
}

int sl_usage(const char *command, const char *wrong, ...)
{
	va_list args;

	if (wrong) {
		fprintf(stderr, "sluice %s: ", command);
		va_start(args, wrong);
		vfprintf(stderr, wrong, args);
		va_end(args);
		fputs("\n", stderr);
	}
	fputs(sl_command_find(command)->usage, stderr);
	return SL_EXIT_USAGE;
}
