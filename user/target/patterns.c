// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Patterns of device names. */
#include <ctype.h>
#include <fnmatch.h>
#include <string.h>

#include "links.h"

#define PATTERN_MAX 64

int sl_link_pattern(const char *const *patterns, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!fnmatch(patterns[i], name, 0))
			return (int)i;
	return -1;
}

const char *sl_link_pattern_wrong(const char *pattern)
{
	const char *c;

	if (!*pattern)
		return "it is empty";
	if (strlen(pattern) > PATTERN_MAX)
		return "it is longer than 64 characters";
	/* what a device's name may not hold, dev_valid_name() */
	for (c = pattern; *c; c++)
		if (*c == '/' || *c == ':' || isspace((unsigned char)*c) ||
		    iscntrl((unsigned char)*c))
			return "no device's name has a /, a colon or a space";
	if (!pattern[strspn(pattern, "*?")])
		return "it would take every device, the host's own too: write a part of the name";
	return NULL;
}
