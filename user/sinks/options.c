// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "options.h"
#include "policy/text.h"
#include "policy/yaml.h"

/* ---- the two ways of writing ---- */

static int one(char *word, const struct sl_pos *pos, sl_option_set set, void *context,
	       struct sl_diag *diag)
{
	char *equals = strchr(word, '=');

	if (!equals)
		return sl_error(diag, pos, "'%.80s': KEY=VALUE is wanted", word);
	*equals = 0;
	return set(context, word, equals + 1, pos, diag);
}

int sl_options_text(const char *text, const struct sl_pos *pos, sl_option_set set, void *context,
		    struct sl_diag *diag)
{
	char *copy = strdup(text), *rest = copy, *word;
	int err = copy ? 0 : -ENOMEM;

	while (!err && rest && *rest) {
		word = strsep(&rest, ",");
		err = one(word, pos, set, context, diag);
	}
	free(copy);
	return err;
}

char *sl_options_scalar(const struct sl_yaml *yaml)
{
	if (yaml->type != SL_YAML_SCALAR)
		return NULL;
	return sl_yaml_is_null(yaml) ? strdup("") : strndup(yaml->scalar, yaml->scalar_len);
}

static int pair(struct sl_yaml *yaml, sl_option_set set, void *context, struct sl_diag *diag)
{
	struct sl_pos pos = yaml->pos;
	char *key = sl_options_scalar(yaml), *value, found[128];
	int err;

	sl_yaml_next(yaml);
	value = sl_options_scalar(yaml);
	if (key && yaml->type != SL_YAML_SCALAR)
		err = sl_error(diag, &yaml->pos, "%.80s: one value is wanted: found %s", key,
			       sl_yaml_describe(yaml, found, sizeof(found)));
	else
		err = key && value ? set(context, key, value, &pos, diag) : -ENOMEM;
	sl_yaml_skip(yaml);
	free(key);
	free(value);
	return err;
}

int sl_options_yaml(struct sl_yaml *yaml, sl_option_set set, void *context, struct sl_diag *diag)
{
	int err = 0, wrong;

	for (sl_yaml_next(yaml); yaml->type != SL_YAML_MAP_END && yaml->type != SL_YAML_END;
	     sl_yaml_next(yaml)) {
		if (yaml->type != SL_YAML_SCALAR) {
			err = sl_error(diag, &yaml->pos, "a key is a word, not a list or mapping");
			sl_yaml_skip(yaml);
			sl_yaml_next(yaml);
			sl_yaml_skip(yaml);
			continue;
		}
		wrong = pair(yaml, set, context, diag);
		err = err ? err : wrong;
	}
	return yaml->error ? yaml->error : err;
}

/* ---- values ---- */

static bool wrong(const struct sl_option *o, const char *want)
{
	sl_error(o->diag, o->pos, "%s: '%.80s': %s is wanted", o->key, o->value, want);
	return false;
}

bool sl_option_number(const struct sl_option *o, unsigned min, unsigned max, unsigned *out)
{
	char want[64];
	__u64 n;

	if (sl_text_number(o->value, strlen(o->value), max, &n) && n >= min) {
		*out = (unsigned)n;
		return true;
	}
	snprintf(want, sizeof(want), "a number, %u to %u,", min, max);
	return wrong(o, want);
}

/* NUMBER UNIT; NULL: no number. */
static const char *split(const char *text, __u64 *number)
{
	size_t digits = strspn(text, "0123456789");

	return sl_text_number(text, digits, 1ull << 40, number) ? text + digits : NULL;
}

bool sl_option_bytes(const struct sl_option *o, __u64 min, __u64 *out)
{
	static const struct {
		const char *name;
		__u64 bytes;
	} units[] = {{"", 1}, {"B", 1}, {"K", 1 << 10}, {"KiB", 1 << 10}, {"kB", 1000},
		     {"M", 1 << 20}, {"MiB", 1 << 20}, {"MB", 1000000}, {"G", 1 << 30},
		     {"GiB", 1 << 30}, {"GB", 1000000000}};
	__u64 n;
	const char *unit = split(o->value, &n);

	for (size_t i = 0; unit && i < sizeof(units) / sizeof(*units); i++)
		if (!strcmp(unit, units[i].name) && n <= (1ull << 50) / units[i].bytes &&
		    n * units[i].bytes >= min) {
			*out = n * units[i].bytes;
			return true;
		}
	return wrong(o, min > 1 ? "a size as 10M, at least 4K," : "a size as 10M");
}

bool sl_option_seconds(const struct sl_option *o, unsigned min, unsigned *out)
{
	static const struct {
		const char *name;
		unsigned seconds;
	} units[] = {{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {"w", 604800}};
	__u64 n;
	const char *unit = split(o->value, &n);

	for (size_t i = 0; unit && i < sizeof(units) / sizeof(*units); i++)
		if (!strcmp(unit, units[i].name) && n <= 31536000u / units[i].seconds &&
		    n * units[i].seconds >= min) {
			*out = (unsigned)n * units[i].seconds;
			return true;
		}
	return wrong(o, "a time as 30m, 1h or 1d");
}

bool sl_option_mode(const struct sl_option *o, mode_t *out)
{
	size_t len = strlen(o->value);

	if (len < 3 || len > 4 || strspn(o->value, "01234567") != len)
		return wrong(o, "permissions as 0640");
	*out = (mode_t)strtoul(o->value, NULL, 8) & 0777;
	return true;
}

bool sl_option_path(const struct sl_option *o, char **out)
{
	char *copy;

	if (o->value[0] != '/')
		return wrong(o, "an absolute path");
	copy = strdup(o->value);
	if (!copy)
		return wrong(o, "memory");
	free(*out);
	*out = copy;
	return true;
}

static bool is_numeric(const char *host)
{
	unsigned char bytes[16];

	return inet_pton(strchr(host, ':') ? AF_INET6 : AF_INET, host, bytes) == 1;
}

/* Host and port apart, in place; NULL: not so written. */
static char *split_port(char *text)
{
	char *close = text[0] == '[' ? strchr(text, ']') : NULL, *colon;

	if (text[0] == '[') {
		if (!close || (close[1] && close[1] != ':'))
			return NULL;
		colon = close[1] ? close + 1 : NULL;
		*close = 0;
		memmove(text, text + 1, strlen(text));
	} else {
		colon = strchr(text, ':');
	}
	if (!colon)
		return text + strlen(text);
	*colon = 0;
	return colon + 1;
}

bool sl_option_address(const struct sl_option *o, unsigned port, char **host, unsigned *out)
{
	char *copy = strdup(o->value), *tail = copy ? split_port(copy) : NULL;
	__u64 n = port;

	if (!tail || !is_numeric(copy) ||
	    (*tail ? !sl_text_number(tail, strlen(tail), 65535, &n) : false) || !n) {
		free(copy);
		return wrong(o, "a numeric address and port as 192.0.2.1:514 or [2001:db8::1]:514");
	}
	free(*host);
	*host = copy;
	*out = (unsigned)n;
	return true;
}
