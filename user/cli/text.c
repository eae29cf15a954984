// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Text that is not ours, for people. */
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "policy/text.h"

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
