// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A `#` begins a comment at the start of a line or after a blank, unless it
 * stands inside a scalar (YAML 1.2, 6.6): libfyaml says where the scalars are.
 */
#include "comments.h"

#include <errno.h>
#include <libfyaml.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct strip {
	const char *text;
	struct sl_bare bare;
	size_t at;		/* what is before it has been copied */
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Takes back the blanks at the end of the line. */
static void trim_line(struct sl_bare *bare)
{
	while (bare->len && is_blank(bare->text[bare->len - 1]))
		bare->len--;
}

static void put(struct sl_bare *bare, char c)
{
	if (c == '\n') {
		trim_line(bare);
		if (!bare->len || bare->text[bare->len - 1] == '\n')
			return;
	}
	bare->text[bare->len++] = c;
}

static bool begins_comment(const struct strip *s, size_t i)
{
	if (s->text[i] != '#')
		return false;
	return !i || is_blank(s->text[i - 1]) || s->text[i - 1] == '\n';
}

static void count(struct strip *s, size_t i)
{
	if (s->bare.n_comments++)
		return;
	s->bare.first_line = 1;
	while (i)
		s->bare.first_line += s->text[--i] == '\n';
}

/* What stands between scalars, up to end. */
static void copy_between(struct strip *s, size_t end)
{
	while (s->at < end) {
		if (begins_comment(s, s->at)) {
			count(s, s->at);
			while (s->at < end && s->text[s->at] != '\n')
				s->at++;
		} else {
			put(&s->bare, s->text[s->at++]);
		}
	}
}

static void copy_scalar(struct strip *s, struct fy_event *event, size_t len)
{
	const struct fy_mark *start = fy_event_start_mark(event);
	const struct fy_mark *end = fy_event_end_mark(event);
	size_t n;

	if (!start || !end || start->input_pos < s->at || end->input_pos > len ||
	    end->input_pos < start->input_pos)
		return;
	copy_between(s, start->input_pos);
	n = end->input_pos - s->at;
	memcpy(s->bare.text + s->bare.len, s->text + s->at, n);
	s->bare.len += n;
	s->at += n;
}

int sl_comments_strip(const char *text, size_t len, struct sl_bare *out)
{
	struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_JSON_NONE};
	struct fy_parser *parser = fy_parser_create(&cfg);
	struct strip s = {.text = text, .bare.text = malloc(len + 1)};
	struct fy_event *event;

	if (!parser || !s.bare.text || fy_parser_set_string(parser, text, len)) {
		free(s.bare.text);
		if (parser)
			fy_parser_destroy(parser);
		return -ENOMEM;
	}
	while ((event = fy_parser_parse(parser))) {
		if (event->type == FYET_SCALAR)
			copy_scalar(&s, event, len);
		fy_parser_event_free(parser, event);
	}
	fy_parser_destroy(parser);
	copy_between(&s, len);
	s.bare.text[s.bare.len] = '\0';
	*out = s.bare;
	return 0;
}
