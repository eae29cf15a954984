// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What is said of a command, from the program's table of them. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "policy/text.h"

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

/* One line: the whole usage would push what is wrong off the screen. */
int sl_usage(const char *command, const char *wrong, ...)
{
	char *text = NULL;
	const char *said;
	va_list args;

	va_start(args, wrong);
	if (vasprintf(&text, wrong, args) < 0)
		text = NULL;
	va_end(args);
	said = text ? text : wrong;
	fprintf(stderr, "sluice %s: ", command);
	sl_put_text(said, stderr); /* it quotes arguments */
	fprintf(stderr, "%s `sluice help %s` says more\n",
		said[strlen(said) - 1] == '?' ? "" : ";", command);
	free(text);
	return SL_EXIT_USAGE;
}
