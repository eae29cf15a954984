/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The comments of a YAML text, which the parser passes over. */
#ifndef SLUICE_CLI_COMMENTS_H
#define SLUICE_CLI_COMMENTS_H

#include <stddef.h>

struct sl_bare {
	char *text;		/* owned: the text without comments and blank lines */
	size_t len;
	size_t n_comments;
	unsigned first_line;	/* of the first comment; 0 = none */
};

/* text must be YAML that the parser has taken. 0 or -ENOMEM. */
int sl_comments_strip(const char *text, size_t len, struct sl_bare *out);

#endif
