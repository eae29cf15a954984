// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What tinyproxy.conf says about its filter: `Directive value`, the last one holds. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "policy/text.h"
#include "tinyproxy.h"

struct directive {
	const char *name, *value;
	size_t name_len, value_len;
};

static bool is_word(const char *text, size_t len, const char *word)
{
	return strlen(word) == len && !strncasecmp(text, word, len);
}

static int read_switch(const struct directive *d, const struct sl_pos *pos, bool *out,
		       struct sl_diag *diag)
{
	bool on = is_word(d->value, d->value_len, "yes") || is_word(d->value, d->value_len, "on");

	if (!on && !is_word(d->value, d->value_len, "no") &&
	    !is_word(d->value, d->value_len, "off"))
		return sl_error(diag, pos, "%.*s: Yes, On, No or Off is wanted: found \"%.*s\"",
				SL_Q(d->name, d->name_len), SL_Q(d->value, d->value_len));
	*out = on;
	return 0;
}

static int read_type(const struct directive *d, const struct sl_pos *pos,
		     struct sl_tinyproxy_options *options, struct sl_diag *diag)
{
	static const char *const words[] = {
		[SL_TINYPROXY_BASIC] = "bre",
		[SL_TINYPROXY_EXTENDED] = "ere",
		[SL_TINYPROXY_GLOB] = "fnmatch",
	};

	for (int i = 0; i < 3; i++) {
		if (!is_word(d->value, d->value_len, words[i]))
			continue;
		options->type = (enum sl_tinyproxy_type)i;
		return 0;
	}
	return sl_error(diag, pos, "FilterType: bre, ere or fnmatch is wanted: found \"%.*s\"",
			SL_Q(d->value, d->value_len));
}

/* Paths stand in quotes. */
static int read_path(const struct directive *d, const struct sl_pos *pos,
		     struct sl_tinyproxy_options *options, struct sl_diag *diag)
{
	const char *value = d->value;
	size_t len = d->value_len;
	char *path;

	if (len < 3 || value[0] != '"' || value[len - 1] != '"')
		return sl_error(diag, pos, "Filter: a path in quotes is wanted: found \"%.*s\"",
				SL_Q(value, len));
	path = strndup(value + 1, len - 2);
	if (!path)
		return -ENOMEM;
	free(options->filter);
	options->filter = path;
	return 0;
}

/* Must be off: no policy can say what it does. */
static int read_refused(const struct directive *d, const struct sl_pos *pos, const char *why,
			struct sl_diag *diag)
{
	bool on = false;
	int err = read_switch(d, pos, &on, diag);

	return err || !on ? err : sl_error(diag, pos, "%.*s: %s", SL_Q(d->name, d->name_len), why);
}

static int read_directive(const struct directive *d, const struct sl_pos *pos,
			  struct sl_tinyproxy_options *options, struct sl_diag *diag)
{
	bool extended = false;
	int err;

	if (is_word(d->name, d->name_len, "Filter"))
		return read_path(d, pos, options, diag);
	if (is_word(d->name, d->name_len, "FilterType"))
		return read_type(d, pos, options, diag);
	if (is_word(d->name, d->name_len, "FilterDefaultDeny"))
		return read_switch(d, pos, &options->default_deny, diag);
	if (is_word(d->name, d->name_len, "FilterURLs"))
		return read_refused(d, pos,
				    "a policy sees names and addresses, never a URL: with "
				    "Off a pattern is matched against the host alone; write the "
				    "filter for that",
				    diag);
	if (is_word(d->name, d->name_len, "FilterCaseSensitive"))
		return read_refused(d, pos,
				    "names have no case in DNS, so a policy cannot tell: "
				    "Off",
				    diag);
	if (!is_word(d->name, d->name_len, "FilterExtended"))
		return 0;
	err = read_switch(d, pos, &extended, diag);
	if (!err)
		options->type = extended ? SL_TINYPROXY_EXTENDED : SL_TINYPROXY_BASIC;
	return err;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Cuts a line into its directive and value; false: a comment, or empty. */
static bool split(const char *line, size_t len, struct directive *out)
{
	size_t at = 0, end = len;

	while (at < end && is_blank(line[at]))
		at++;
	while (end > at && is_blank(line[end - 1]))
		end--;
	if (at == end || line[at] == '#')
		return false;
	out->name = line + at;
	while (at < end && !is_blank(line[at]))
		at++;
	out->name_len = (size_t)(line + at - out->name);
	while (at < end && is_blank(line[at]))
		at++;
	out->value = line + at;
	out->value_len = end - at;
	return true;
}

int sl_tinyproxy_conf(const char *text, size_t len, const struct sl_pos *pos,
		      struct sl_tinyproxy_options *options, struct sl_diag *diag)
{
	struct sl_pos at = *pos;
	const char *end = text + len, *next;
	int err, worst = 0;

	for (; text < end && worst != -ENOMEM; text = next) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		struct directive d;

		next = newline ? newline + 1 : end;
		err = split(text, (size_t)((newline ? newline : end) - text), &d)
			      ? read_directive(&d, &at, options, diag)
			      : 0;
		if (err)
			worst = err;
		at.line += pos->line != 0;
	}
	return worst;
}

void sl_tinyproxy_options_free(struct sl_tinyproxy_options *options)
{
	free(options->filter);
	memset(options, 0, sizeof(*options));
}
