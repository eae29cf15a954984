// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "container.h"

static const char *label_of(const struct sl_container *c, const char *key)
{
	return json_string_value(json_object_get(c->labels, key));
}

bool sl_container_has_name(const struct sl_container *c, const char *pattern)
{
	return !fnmatch(pattern, c->name, 0);
}

bool sl_container_has_label(const struct sl_container *c, const char *label)
{
	const char *equals = strchr(label, '='), *value;
	char *key = strndup(label, equals ? (size_t)(equals - label) : strlen(label));

	value = key ? label_of(c, key) : NULL;
	free(key);
	return value && (!equals || !fnmatch(equals + 1, value, 0));
}

const char *sl_container_choice(const struct sl_container *c)
{
	return label_of(c, SL_CONTAINER_CHOICE);
}
