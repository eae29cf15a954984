// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Text that is not ours, for people. */
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "policy/text.h"

void sl_put_text(const char *text, FILE *out)
{
	size_t left = strlen(text);

	while (left) {
		__u32 cp;
		int n = sl_utf8_decode(text, left, &cp);
		bool escape = n < 0 || sl_utf8_hidden(cp) || cp == '\t' || cp == '\n';

		if (n < 0)
			n = 1;
		for (int i = 0; i < n; i++) {
			if (escape)
				fprintf(out, "\\x%02x", (unsigned char)text[i]);
			else
				putc(text[i], out);
		}
		text += n;
		left -= (size_t)n;
	}
}

void sl_put_place(const struct sl_pos *pos, FILE *out)
{
	sl_put_text(pos->file ? pos->file : "<stdin>", out);
	if (pos->line)
		fprintf(out, ":%u", pos->line);
}

static char *finish(FILE *out, char **text)
{
	if (!fclose(out))
		return *text;
	free(*text);
	return NULL;
}

char *sl_escaped(const char *text)
{
	char *copy = NULL;
	size_t len;
	FILE *out = open_memstream(&copy, &len);

	if (!out)
		return NULL;
	sl_put_text(text, out);
	return finish(out, &copy);
}

char *sl_place(const struct sl_pos *pos)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	sl_put_place(pos, out);
	return finish(out, &text);
}
