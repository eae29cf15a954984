// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "target/mountinfo.h"

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* The kernel writes space, tab, newline, backslash and # as \ooo. */
static void unescape(char *text)
{
	char *to = text;

	for (; *text; text++) {
		if (text[0] == '\\' && is_octal(text[1]) && is_octal(text[2]) &&
		    is_octal(text[3])) {
			*to++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 |
				       (text[3] - '0'));
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = '\0';
}

static bool has_option(const char *options, const char *name)
{
	size_t len = strlen(name);

	while (options) {
		if (!strncmp(options, name, len) && (!options[len] || options[len] == ','))
			return true;
		options = strchr(options, ',');
		if (options)
			options++;
	}
	return false;
}

int sl_mountinfo_line(char *line, struct sl_mount *out)
{
	/* id parent major:minor root point options [tag...] - type source super */
	enum { ID, PARENT, DEVICE, ROOT, POINT, OPTIONS, N_FIXED };
	char *word[N_FIXED], *tail[3], *save = NULL, *tag, *end;
	long id;

	line[strcspn(line, "\n")] = '\0';
	for (int i = 0; i < N_FIXED; i++) {
		word[i] = strtok_r(i ? NULL : line, " ", &save);
		if (!word[i])
			return -EINVAL;
	}
	do {
		tag = strtok_r(NULL, " ", &save);
		if (!tag)
			return -EINVAL;
	} while (strcmp(tag, "-"));
	for (int i = 0; i < 3; i++) {
		tail[i] = strtok_r(NULL, " ", &save);
		if (!tail[i])
			return -EINVAL;
	}
	id = strtol(word[ID], &end, 10);
	if (*end || id < 0)
		return -EINVAL;

	unescape(word[ROOT]);
	unescape(word[POINT]);
	unescape(tail[0]);
	*out = (struct sl_mount){
		.id = (int)id,
		.root = word[ROOT],
		.point = word[POINT],
		.type = tail[0],
		.readonly = has_option(word[OPTIONS], "ro") || has_option(tail[2], "ro"),
	};
	return 0;
}
