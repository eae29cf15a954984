// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "yaml_plain.h"

#include <string.h>

#include "yaml.h"

#define KEY_BYTES_MAX 256	/* YAML has no longer ones than 1024 */

#define WORD 1
#define PLAIN 2	/* means nothing to YAML in a text without quotes, but at its beginning */

static const unsigned char kinds[256] = {
	['a' ... 'z'] = WORD | PLAIN, ['A' ... 'Z'] = WORD | PLAIN, ['0' ... '9'] = WORD | PLAIN,
	['_'] = WORD | PLAIN, ['.'] = PLAIN, ['/'] = PLAIN, ['-'] = PLAIN, ['+'] = PLAIN,
};

static bool is_word(char c)
{
	return kinds[(unsigned char)c] & WORD;
}

static bool is_plain(char c)
{
	return kinds[(unsigned char)c] & PLAIN;
}

static void give(struct sl_yaml *yaml, enum sl_yaml_type type, const char *at)
{
	yaml->type = type;
	yaml->pos.line = yaml->plain_text.number;
	yaml->pos.column = (unsigned)(at - yaml->plain_text.line) + 1;
}

static void give_text(struct sl_yaml *yaml, const char *text, size_t len, bool plain)
{
	give(yaml, SL_YAML_SCALAR, plain ? text : text - 1);
	yaml->scalar = text;
	yaml->scalar_len = len;
	yaml->plain = plain;
}

static bool push(struct sl_yaml *yaml, const char *at, bool list, bool flow)
{
	struct sl_plain *s = &yaml->plain_text;

	if (s->depth == SL_PLAIN_DEPTH)
		return false;
	s->level[s->depth++] = (struct sl_plain_level){(unsigned)(at - s->line), list, flow};
	yaml->depth++;
	give(yaml, list ? SL_YAML_LIST : SL_YAML_MAP, at);
	return true;
}

static void pop(struct sl_yaml *yaml, const char *at)
{
	struct sl_plain *s = &yaml->plain_text;

	s->depth--;
	yaml->depth--;
	give(yaml, s->level[s->depth].list ? SL_YAML_LIST_END : SL_YAML_MAP_END, at);
}

static const char *skip_spaces(const char *at)
{
	while (*at == ' ')
		at++;
	return at;
}

/* The end of the line, if nothing but a comment is left of it, which a space must stand
 * before; else NULL. */
static const char *line_end(const struct sl_plain *s, const char *at)
{
	const char *next = skip_spaces(at);

	if (*next == '#' && (next > at || next == s->line))
		next = memchr(next, '\n', s->end - next);
	return *next == '\n' ? next : NULL;
}

/* On to the next line that holds something; at its first byte, or the text's end. */
static void next_line(struct sl_plain *s)
{
	const char *end = s->at;

	do {
		s->line = end + 1;
		s->number++;
		s->at = s->line;
		if (s->line == s->end)
			return;
		end = line_end(s, s->line);
	} while (end);
	s->at = skip_spaces(s->line);
}

/* A value ends here, and its line; what comes is no part of it, and not deeper. */
static bool value_ends(const struct sl_plain *s, const char *at)
{
	struct sl_plain ahead = *s;

	ahead.at = line_end(s, at);
	if (!ahead.at)
		return false;
	next_line(&ahead);
	if (ahead.line != s->end && (*ahead.at == '\t' || *ahead.at == '\r'))
		return false;	/* the line may be blank, or deeper than it looks */
	return ahead.at - ahead.line <= (ptrdiff_t)s->level[s->depth - 1].indent;
}

/* The same for what stands in a flow collection. */
static bool item_ends(const char *at)
{
	at = skip_spaces(at);
	return *at == ',' || *at == ']' || *at == '}';
}

/* Behind a key's last byte, if one begins here; else NULL. */
static const char *key_end(const char *at)
{
	const char *end = at;

	while (is_word(*end) || (end > at && (*end == '-' || *end == '.')))
		end++;
	if (end == at || end - at > KEY_BYTES_MAX || *end != ':' || (end[1] != ' ' && end[1] != '\n'))
		return NULL;
	return end;
}

static bool is_dash(const char *at)
{
	return at[0] == '-' && at[1] == ' ';
}

/* Behind a text without quotes, or at if none begins here. Outside flow collections
 * it may have commas and single spaces. */
static const char *plain_end(const char *at, bool flow)
{
	const char *c = at;

	if (!is_word(*c) && *c != '/' && *c != '.')
		return at;
	for (;; c++) {
		if (is_plain(*c) || (*c == ',' && !flow))
			continue;
		if (*c == ':' && (is_plain(c[1]) || c[1] == ':'))
			continue;
		if (*c != ' ' || flow || !(is_plain(c[1])))
			return c;
	}
}

/* The closing quote of a text that has neither that nor a backslash in it; else NULL. */
static const char *quoted_end(const char *at)
{
	const char *c = at + 1;

	while (*c != *at && *c >= ' ' && *c < 0x7f && *c != '\\')
		c++;
	return *c == *at && c[1] != *at ? c : NULL;
}

/* Behind the flow collection that begins here, if it ends in this line; else NULL. */
static const char *flow_end(const char *at)
{
	unsigned open = 0;

	for (; *at != '\n'; at++) {
		if (*at == '"' || *at == '\'') {
			at = quoted_end(at);
			if (!at)
				return NULL;
		} else if (*at == '[' || *at == '{') {
			open++;
		} else if ((*at == ']' || *at == '}') && !--open) {
			return at + 1;
		}
	}
	return NULL;
}

/* Is a flow collection that begins here an entry of another, or a value there? */
static bool is_inner_flow(const char *at)
{
	const char *end = *at == '[' || *at == '{' ? flow_end(at) : NULL;

	return end && item_ends(end);
}

static bool begin_flow(struct sl_yaml *yaml)
{
	struct sl_plain *s = &yaml->plain_text;
	const char *at = s->at++;

	s->mode = SL_PLAIN_FLOW;
	s->first = true;
	return push(yaml, at, *at == '[', true);
}

/* A text in the place of a value: behind it, and given; NULL: none of ours. */
static const char *text(struct sl_yaml *yaml, bool flow)
{
	struct sl_plain *s = &yaml->plain_text;
	bool quoted = *s->at == '"' || *s->at == '\'';
	const char *end = quoted ? quoted_end(s->at) : plain_end(s->at, flow);

	if (!end || end == s->at)
		return NULL;
	if (flow ? !item_ends(end + quoted) : !value_ends(s, end + quoted))
		return NULL;
	give_text(yaml, s->at + quoted, end - s->at - quoted, !quoted);
	return end + quoted;
}

/* The rest of the line is a value. */
static bool inline_value(struct sl_yaml *yaml)
{
	struct sl_plain *s = &yaml->plain_text;
	const char *end;

	if (*s->at == '[' || *s->at == '{') {
		end = flow_end(s->at);
		return end && value_ends(s, end) && begin_flow(yaml);
	}
	end = text(yaml, false);
	if (!end)
		return false;
	s->at = line_end(s, end);
	next_line(s);
	s->mode = SL_PLAIN_LINE;
	return true;
}

static bool key(struct sl_yaml *yaml)
{
	struct sl_plain *s = &yaml->plain_text;
	const char *end = key_end(s->at);

	if (!end)
		return false;
	give_text(yaml, s->at, end - s->at, true);
	s->at = end;
	s->mode = SL_PLAIN_VALUE;
	return true;
}

/* An entry of a flow list, or the value of a pair, at its first byte. */
static bool flow_entry(struct sl_yaml *yaml)
{
	struct sl_plain *s = &yaml->plain_text;
	const char *end;

	if (is_inner_flow(s->at))
		return begin_flow(yaml);
	end = text(yaml, true);
	s->at = end ? end : s->at;
	return end;
}

static bool end_flow(struct sl_yaml *yaml)
{
	struct sl_plain *s = &yaml->plain_text;
	bool outermost = s->depth < 2 || !s->level[s->depth - 2].flow;

	pop(yaml, s->at++);
	s->first = false;
	if (!outermost)
		return true;
	s->at = line_end(s, s->at);
	next_line(s);
	s->mode = SL_PLAIN_LINE;
	return true;
}

static bool in_flow(struct sl_yaml *yaml)
{
	struct sl_plain *s = &yaml->plain_text;
	const struct sl_plain_level *in = &s->level[s->depth - 1];
	bool first = s->first;

	s->at = skip_spaces(s->at);
	if (*s->at == (in->list ? ']' : '}'))
		return end_flow(yaml);
	if (!first && *s->at != ',')
		return false;
	if (!first)
		s->at = skip_spaces(s->at + 1);
	s->first = false;
	return in->list ? flow_entry(yaml) : key(yaml);
}

static bool flow_value(struct sl_yaml *yaml)
{
	yaml->plain_text.mode = SL_PLAIN_FLOW;
	return flow_entry(yaml);
}

/* Behind "key:". */
static bool value(struct sl_yaml *yaml)
{
	struct sl_plain *s = &yaml->plain_text;
	const struct sl_plain_level *in = &s->level[s->depth - 1];
	const char *end = line_end(s, s->at + 1);
	unsigned indent;

	if (in->flow || !end) {
		s->at = skip_spaces(s->at + 1);
		return in->flow ? flow_value(yaml) : inline_value(yaml);
	}
	s->at = end;
	next_line(s);
	s->mode = SL_PLAIN_LINE;
	indent = (unsigned)(s->at - s->line);
	if (s->line == s->end || indent < in->indent)
		return false;
	if (is_dash(s->at))
		return push(yaml, s->at, true, false);
	return indent > in->indent && key_end(s->at) && push(yaml, s->at, false, false);
}

/* Behind "- ". */
static bool entry(struct sl_yaml *yaml)
{
	struct sl_plain *s = &yaml->plain_text;

	s->at = skip_spaces(s->at + 1);
	if (key_end(s->at)) {
		s->mode = SL_PLAIN_KEY;
		return push(yaml, s->at, false, false);
	}
	if (is_dash(s->at))
		return push(yaml, s->at, true, false);
	return inline_value(yaml);
}

/* At the first byte of a line, or the end. */
static bool line(struct sl_yaml *yaml)
{
	struct sl_plain *s = &yaml->plain_text;
	const struct sl_plain_level *in = s->depth ? &s->level[s->depth - 1] : NULL;
	bool over = s->line == s->end;
	unsigned indent = (unsigned)(s->at - s->line);

	if (!in && !s->begun)
		return !over && !indent && key_end(s->at) && push(yaml, s->at, false, false);
	if (!in) {	/* the mapping is closed: by the text's end alone */
		give(yaml, SL_YAML_END, s->at);
		return over;
	}
	if (over || indent < in->indent) {
		pop(yaml, s->at);
		return true;
	}
	if (indent > in->indent)
		return false;
	if (!in->list)
		return key(yaml);
	if (is_dash(s->at))
		return entry(yaml);
	if (!key_end(s->at))
		return false;
	pop(yaml, key_end(s->at));	/* a list as deep as its key ends at the next key */
	return true;
}

void sl_plain_open(struct sl_yaml *yaml)
{
	struct sl_plain *s = &yaml->plain_text;

	if (yaml->len < 2 || yaml->text[yaml->len - 1] != '\n')
		return;
	s->on = true;
	s->text = yaml->text;
	s->end = yaml->text + yaml->len;
	s->at = s->text - 1;
	next_line(s);
}

bool sl_plain_next(struct sl_yaml *yaml)
{
	static bool (*const read[])(struct sl_yaml *yaml) = {
		[SL_PLAIN_LINE] = line, [SL_PLAIN_KEY] = key, [SL_PLAIN_VALUE] = value,
		[SL_PLAIN_FLOW] = in_flow,
	};
	struct sl_plain *s = &yaml->plain_text;

	if (!read[s->mode](yaml))
		return false;
	s->begun = true;
	s->n_events += yaml->type != SL_YAML_END;
	return true;
}

/* ---- a pair in one step ---- */

/* The next line if it begins with something that is no part of the mapping; else NULL. */
static const char *line_behind(const struct sl_plain *s, const char *end)
{
	const char *next = end + 1, *at;

	if (*end != '\n')
		return NULL;
	if (next == s->end)
		return next;
	at = skip_spaces(next);
	/* blank or a comment: the line that counts is further on */
	if (*at == '\n' || *at == '#' || *at == '\t' || *at == '\r')
		return NULL;
	return at - next < (ptrdiff_t)s->level[s->depth - 1].indent ? next : NULL;
}

bool sl_plain_peek_pair(const struct sl_yaml *yaml, struct sl_plain_pair *pair)
{
	const struct sl_plain *s = &yaml->plain_text;
	const char *end, *at;
	bool quoted;

	if (!s->on || s->mode != SL_PLAIN_KEY || yaml->type != SL_YAML_MAP)
		return false;
	pair->key = s->at;
	end = key_end(s->at);
	if (!end)
		return false;
	pair->key_len = (size_t)(end - s->at);
	at = skip_spaces(end + 1);
	quoted = *at == '"' || *at == '\'';
	end = quoted ? quoted_end(at) : plain_end(at, false);
	if (!end || end == at)
		return false;
	pair->text = at + quoted;
	pair->text_len = (size_t)(end - pair->text);
	pair->text_pos = (struct sl_pos){yaml->pos.file, s->number, (unsigned)(at - s->line) + 1};
	pair->next_line = line_behind(s, end + quoted);
	return pair->next_line;
}

void sl_plain_take_pair(struct sl_yaml *yaml, const struct sl_plain_pair *pair)
{
	struct sl_plain *s = &yaml->plain_text;

	s->line = pair->next_line;
	s->number++;
	s->at = s->line == s->end ? s->line : skip_spaces(s->line);
	s->mode = SL_PLAIN_LINE;
	s->n_events += 3;	/* the key, the text, the end */
	pop(yaml, s->at);
}
