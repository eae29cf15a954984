// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What libfyaml refuses, in words that say what to write instead. */
#include <errno.h>
#include <libfyaml.h>
#include <string.h>

#include "text.h"
#include "yaml.h"

/* Offset of libfyaml's line (from 1) and column (from 1, in characters). */
static size_t offset_of(const struct sl_yaml *yaml, int line, int column)
{
	const char *at = yaml->text, *end = yaml->text + yaml->len;

	while (--line > 0) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));

		if (!newline)
			return yaml->len;
		at = newline + 1;
	}
	while (at < end && *at != '\n' && --column > 0) {
		do {
			at++;
		} while (at < end && (*at & 0xc0) == 0x80);
	}
	return (size_t)(at - yaml->text);
}

/* Reports a value that YAML does not read as text; offset is where it begins. */
static void wants_quotes(struct sl_yaml *yaml, size_t offset)
{
	struct sl_pos pos = sl_yaml_locate(yaml, offset);
	const char *value = yaml->text + offset;
	size_t len = 0, left = yaml->len - offset;

	while (len < left && !strchr(" \t\r\n]}\"'", value[len]))
		len++;
	while (len > 1 && value[len - 1] == ',')
		len--;
	sl_error(yaml->diag, &pos, "a value that begins with %c stands in quotes: \"%.*s\"",
		 value[0], SL_Q(value, len));
}

void sl_yaml_report_alias(struct sl_yaml *yaml, size_t offset)
{
	wants_quotes(yaml, offset);
	sl_yaml_stop(yaml, -EINVAL);
}

static const struct {
	const char *theirs;	/* part of libfyaml's message */
	const char *ours;
} messages[] = {
	{"extra closing bracket", "a ] without its ["},
	{"extra closing brace", "a } without its {"},
	{"without a closing bracket", "a list that begins with [ does not end with ]"},
	{"missing comma in flow sequence", "a list that begins with [ does not end with ], or a "
					   "comma is missing"},
	{"without a closing brace", "a mapping that begins with { does not end with }"},
	{"missing comma in flow mapping", "a mapping that begins with { does not end with }, or "
					  "a comma is missing"},
	{"extra comma", "a comma with nothing before it"},
	{"without closing quote", "the text that begins here has no closing quote"},
	{"trailing content after", "text after a closing quote: put the whole value into quotes"},
	{"nested block mapping on the same line",
	 "a colon and a space inside a value: put the value into quotes"},
	{"multiline plain key", "the next line is indented deeper than this one but this one "
				"already has its value; check the indentation"},
	{"invalid value after mapping", "a key and a colon are wanted here: `key: value`"},
	{"did not find expected key", "a key is wanted here; check the indentation"},
	{"did not find expected '-'", "a `-` is wanted here: each entry of a list begins with "
				      "one; check the indentation"},
	{"block sequence on the same line", "a list begins on the line after its key, or is "
					    "written [like, this]"},
	{"mapping in plain multiline", "a key where the text before it still goes on; check the "
				       "indentation"},
	{"invalid escape", "an escape that YAML does not have: write \\\\ for a backslash, or use "
			   "single quotes"},
	{"invalid UTF8 escape", "a \\u escape that is no character"},
	{"nsupported directive", "a line that begins with % is a directive in YAML: policies "
				 "have none"},
	{"missing document start", "something follows the end of the policy; check the "
				   "indentation"},
};

static const char *translate(const char *theirs)
{
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		if (strstr(theirs, messages[i].theirs))
			return messages[i].ours;
	}
	return NULL;
}

static void report(struct sl_yaml *yaml, const struct fy_diag_error *error)
{
	const char *message = error->msg ? error->msg : "not readable";
	size_t offset = offset_of(yaml, error->line, error->column);
	struct sl_pos pos = sl_yaml_locate(yaml, offset);
	const char *ours = translate(message);

	if (strstr(message, " tab ") || !strncmp(message, "tab ", 4))
		sl_error(yaml->diag, &pos, "a tab in the indentation: indent with spaces");
	else if (offset && strstr(message, "invalid alias"))
		wants_quotes(yaml, offset < yaml->len && yaml->text[offset] == '*' ? offset
										   : offset - 1);
	else if (offset < yaml->len && strstr(message, "plain scalar cannot start"))
		wants_quotes(yaml, offset);
	else if (ours)
		sl_error(yaml->diag, &pos, "%s", ours);
	else
		sl_error(yaml->diag, &pos, "not YAML: %s", message);
}

void sl_yaml_report(struct sl_yaml *yaml)
{
	struct fy_diag_error *error;
	void *iter = NULL;

	/* A warning of libfyaml means that it passed something over, so it counts. */
	error = fy_diag_errors_iterate(yaml->parser_diag, &iter);
	if (error) {
		report(yaml, error);
		sl_yaml_stop(yaml, -EINVAL);
	} else if (fy_parser_get_stream_error(yaml->parser)) {
		sl_error(yaml->diag, &yaml->pos, "not readable as YAML after this");
		sl_yaml_stop(yaml, -EINVAL);
	}
}
