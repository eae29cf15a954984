// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <fnmatch.h>
#include <string.h>

#include "filter.h"

static bool matches(const json_t *patterns, const char *text)
{
	const json_t *pattern;
	size_t i;

	if (!json_array_size(patterns))
		return true;
	json_array_foreach(patterns, i, pattern) if (text && !fnmatch(json_string_value(pattern),
								      text, 0)) return true;
	return false;
}

static const char *text_in(const json_t *record, const char *object, const char *key)
{
	return json_string_value(json_object_get(json_object_get(record, object), key));
}

/* The name that was asked, or that owns the address. */
static const char *name_of(const json_t *record)
{
	const char *asked = text_in(record, "question", "name");

	return asked ? asked : text_in(record, "destination", "name");
}

bool sl_filter_wants(const struct sl_filter *s, const json_t *record)
{
	return matches(s->targets, text_in(record, "target", "name")) &&
	       matches(s->verdicts, json_string_value(json_object_get(record, "verdict"))) &&
	       matches(s->rules, json_string_value(json_object_get(record, "rule"))) &&
	       (!json_array_size(s->names) || matches(s->names, name_of(record)));
}

void sl_filter_free(struct sl_filter *f)
{
	json_decref(f->targets);
	json_decref(f->verdicts);
	json_decref(f->rules);
	json_decref(f->names);
	memset(f, 0, sizeof(*f));
}
