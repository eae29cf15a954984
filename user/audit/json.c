// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <stdlib.h>

#include "json.h"
#include "policy/text.h"

char *sl_escaped(const char *text)
{
	char *copy = NULL;
	size_t len;
	FILE *out = open_memstream(&copy, &len);

	if (!out)
		return NULL;
	sl_put_text(text, out);
	if (!fclose(out))
		return copy;
	free(copy);
	return NULL;
}

json_t *sl_json_text(const char *text)
{
	json_t *value = text ? json_string(text) : json_null();
	char *escaped;

	if (value)
		return value;
	escaped = sl_escaped(text);
	value = escaped ? json_string(escaped) : NULL;
	free(escaped);
	return value;
}

json_t *sl_json_number(__u64 number)
{
	return json_integer((json_int_t)number);
}

json_t *sl_json_position(const struct sl_pos *pos)
{
	return json_pack("{s:o, s:o, s:o}", "file", sl_json_text(pos->file),
			 "line", sl_json_number(pos->line),
			 "column", sl_json_number(pos->column));
}

json_t *sl_json_diag(const struct sl_diag *diag, enum sl_severity severity)
{
	json_t *list = json_array(), *entry;

	for (size_t i = 0; i < diag->n; i++) {
		if (diag->entries[i].severity != severity)
			continue;
		entry = sl_json_position(&diag->entries[i].pos);
		json_object_set_new(entry, "message", sl_json_text(diag->entries[i].message));
		json_array_append_new(list, entry);
	}
	return list;
}
