/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A whole file. After cmocka.h. */
#ifndef SLUICE_TEST_READ_FILE_H
#define SLUICE_TEST_READ_FILE_H

#include <stdio.h>
#include <stdlib.h>

/* NULL: it cannot be opened. Owned by the caller, and no longer than it is: what reads past its
 * end is seen. */
static inline char *read_file(const char *path, size_t *len)
{
	FILE *in = fopen(path, "r");
	char *text = NULL;
	size_t size = 0;

	if (!in)
		return NULL;
	*len = 0;
	do {
		size += 65536;
		text = realloc(text, size + 1);
		assert_non_null(text);
		*len += fread(text + *len, 1, size - *len, in);
	} while (*len == size);
	fclose(in);
	text = realloc(text, *len + 1);
	assert_non_null(text);
	text[*len] = 0;
	return text;
}

#endif
