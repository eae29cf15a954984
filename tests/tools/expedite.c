// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * expedite: asks for expedited grace periods as sluiced does, and does not stop asking until its
 * standard input says so. For each line there: `begin`, `end`, `open`, `close`, `allow`, `forbid`;
 * answers each with a line, what it found: 0 or -errno.
 */
#include <stdio.h>
#include <string.h>

#include "kernel/expedite.h"

static int obey(const char *word)
{
	if (!strcmp(word, "open"))
		return sl_expedite_open();
	if (!strcmp(word, "begin"))
		sl_expedite_begin();
	else if (!strcmp(word, "end"))
		sl_expedite_end();
	else if (!strcmp(word, "close"))
		sl_expedite_close();
	else
		sl_expedite_allow(!strcmp(word, "allow"));
	return 0;
}

int main(void)
{
	char word[32];

	while (scanf("%31s", word) == 1) {
		printf("%d\n", obey(word));
		fflush(stdout);
	}
	return 0;
}
