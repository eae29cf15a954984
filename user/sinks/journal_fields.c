// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A record as fields of journald's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL):
 * `{"target": {"name": "vnet0"}}` is SLUICE_TARGET_NAME=vnet0. What is null is left out:
 * the journal has no null.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define NAME_MAX_LEN 64		/* journald ignores longer ones */
#define DEPTH_MAX 4

/* Always with the length (64 bits, little-endian): any byte may stand in a value. */
static void put_field(FILE *out, const char *name, const char *value)
{
	size_t len = strlen(value);

	fputs(name, out);
	fputc('\n', out);
	for (int i = 0; i < 8; i++)
		fputc((int)((unsigned long long)len >> 8 * i & 0xff), out);
	fwrite(value, 1, len, out);
	fputc('\n', out);
}

/* A-Z, 0-9 and `_`; false: too long. */
static bool extend(char name[NAME_MAX_LEN + 1], const char *prefix, const char *key)
{
	int n = snprintf(name, NAME_MAX_LEN + 1, "%s_%s", prefix, key);

	if (n < 0 || n > NAME_MAX_LEN)
		return false;
	for (; *name; name++)
		*name = isalnum((unsigned char)*name) ? (char)toupper((unsigned char)*name) : '_';
	return true;
}

static void put_value(FILE *out, const char *name, const json_t *value)
{
	char number[32];

	if (json_is_string(value))
		put_field(out, name, json_string_value(value));
	else if (json_is_boolean(value))
		put_field(out, name, json_is_true(value) ? "yes" : "no");
	else if (json_is_integer(value)) {
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
		put_field(out, name, number);
	} else if (json_is_real(value)) {
		snprintf(number, sizeof(number), "%.6f", json_real_value(value));
		put_field(out, name, number);
	}
}

static void put_object(FILE *out, const char *prefix, const json_t *object, int depth)
{
	char name[NAME_MAX_LEN + 1], *list;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value) {
		if (!extend(name, prefix, key))
			continue;
		if (json_is_object(value) && depth < DEPTH_MAX) {
			put_object(out, name, value, depth + 1);
		} else if (json_is_array(value)) {
			list = json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII);
			if (list)
				put_field(out, name, list);
			free(list);
		} else {
			put_value(out, name, value);
		}
	}
}

void sl_journal_fields(FILE *out, const json_t *record, const char *message,
		       enum sl_sink_level level)
{
	char priority[4];

	put_field(out, "MESSAGE", message);
	snprintf(priority, sizeof(priority), "%d", level);
	put_field(out, "PRIORITY", priority);
	put_field(out, "SYSLOG_IDENTIFIER", "sluice");
	put_object(out, "SLUICE", record, 0);
}
