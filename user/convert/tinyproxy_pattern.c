// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * POSIX regular expressions (regex(7), and what glibc adds: \| \? \+ in basic ones), and
 * globs, into branches without alternatives: `(^|\.)a$` is `^a$` and `\.a$`.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/text.h"
#include "tinyproxy_internal.h"

#define DEPTH_MAX 16

/* ---- sets ---- */

static void add_folded(struct tp_set *set, unsigned char c)
{
	tp_add(set, c);
	if (c < 0x80 && isalpha(c))
		tp_add(set, c ^ 0x20);
}

/* `[:alpha:]` at s->at, which stands behind `[:`. */
static int read_named_class(struct tp_scan *s, struct tp_set *set)
{
	static const struct {
		const char *name;
		int (*is)(int);
	} classes[] = {{"alpha", isalpha}, {"digit", isdigit}, {"alnum", isalnum},
		       {"lower", islower}, {"upper", isupper}, {"xdigit", isxdigit},
		       {"punct", ispunct}, {"space", isspace}, {"blank", isblank}};
	size_t n = 0;

	while (s->at + n < s->len && s->text[s->at + n] != ':')
		n++;
	if (s->at + n + 1 >= s->len || s->text[s->at + n + 1] != ']')
		return tp_refuse(s, "has a class without its end, which is :]");
	for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
		if (!sl_text_is(s->text + s->at, n, classes[i].name))
			continue;
		for (int c = 0; c < 128; c++)
			if (classes[i].is(c))
				add_folded(set, (unsigned char)c);
		s->at += n + 2;
		return 0;
	}
	return tp_refuse(s, "has a class that is not read here: write its characters");
}

static int read_range(struct tp_scan *s, struct tp_set *set)
{
	unsigned char low = (unsigned char)s->text[s->at++], high = low;

	if (s->at + 1 < s->len && s->text[s->at] == '-' && s->text[s->at + 1] != ']') {
		high = (unsigned char)s->text[s->at + 1];
		s->at += 2;
		if (high == '[' || high < low || high >= 0x80)
			return tp_refuse(s, "has a range in a bracket that is not read here");
	}
	for (unsigned c = low; c <= high; c++)
		add_folded(set, (unsigned char)c);
	return 0;
}

/* A bracket; s->at stands behind the `[`. A backslash in it is itself, a `]` is one at its
 * beginning. */
static int read_bracket(struct tp_scan *s, struct tp_item *item)
{
	bool not = s->at < s->len && s->text[s->at] == '^';
	size_t first = s->at + not;
	int err = 0;

	s->at = first;
	while (!err && s->at < s->len && (s->text[s->at] != ']' || s->at == first)) {
		if (s->at + 1 < s->len && s->text[s->at] == '[' &&
		    strchr(":.=", s->text[s->at + 1])) {
			if (s->text[s->at + 1] != ':')
				return tp_refuse(s, "has [. or [=, which is not read here");
			s->at += 2;
			err = read_named_class(s, &item->set);
		} else {
			err = read_range(s, &item->set);
		}
	}
	if (err)
		return err;
	if (s->at >= s->len)
		return tp_refuse(s, "has a [ without its ]");
	s->at++;
	for (int i = 0; not &&i < 4; i++)
		item->set.bits[i] = ~item->set.bits[i];
	return 0;
}

/* ---- expressions ---- */

static int read_choice(struct tp_scan *s, struct tp_pattern *out);

static bool at_end_of_group(struct tp_scan *s)
{
	size_t at = s->at;
	bool end = s->at == s->len || (s->depth && tp_take(s, s->extended ? ")" : "\\)")) ||
		   tp_take(s, s->extended ? "|" : "\\|");

	s->at = at;
	return end;
}

/* `\c` outside of brackets, s->at behind the backslash. */
static int read_escaped(struct tp_scan *s, struct tp_item *item)
{
	unsigned char c;

	if (s->at == s->len)
		return tp_refuse(s, "ends with a backslash");
	c = (unsigned char)s->text[s->at++];
	if (isalnum(c) || strchr("<>`'", c))
		return tp_refuse(
			s, "has an escape that POSIX does not have: \\d and \\w are [0-9] and "
			   "[[:alnum:]_]; words' edges and what was matched before are not "
			   "read");
	if (!s->extended && strchr("(){}|+?", c))
		return tp_refuse(s, "has a group's part, or a repetition, in the wrong place");
	add_folded(&item->set, c);
	return 0;
}

static int read_group(struct tp_scan *s, struct tp_pattern *out)
{
	struct tp_item octet = {.min = 1, .max = 3};
	int err;

	if (++s->depth > DEPTH_MAX)
		return tp_refuse(s, "has groups in groups, too deep");
	err = read_choice(s, out);
	if (err)
		return err;
	s->depth--;
	if (!tp_take(s, s->extended ? ")" : "\\)"))
		return tp_refuse(s, "has a group without its end");
	if (tp_is_octet(out)) {
		tp_pattern_free(out);
		for (int c = '0'; c <= '9'; c++)
			tp_add(&octet.set, (unsigned char)c);
		return tp_one_item(out, &octet);
	}
	return 0;
}

/* A `$` is an anchor at the end of an expression; a `^` at its beginning. In the middle
 * an extended expression has anchors too, which can never match. */
static int read_anchor(struct tp_scan *s, struct tp_pattern *out, bool first, bool *found)
{
	size_t at = s->at;
	struct tp_branch *b;
	bool begins;

	*found = false;
	begins = tp_take(s, "^");
	if (!begins && !tp_take(s, "$"))
		return 0;
	if (begins ? !s->extended && !first : !s->extended && !at_end_of_group(s)) {
		s->at = at;
		return 0;
	}
	*found = true;
	b = tp_add_branch(out);
	if (!b)
		return -ENOMEM;
	b->begins = begins;
	b->ends = !begins;
	return 0;
}

static int read_atom(struct tp_scan *s, struct tp_pattern *out, bool first)
{
	struct tp_item item = {.min = 1, .max = 1};
	bool anchor;
	int err = read_anchor(s, out, first, &anchor);

	if (err || anchor)
		return err;
	if (tp_take(s, s->extended ? "(" : "\\(")) {
		err = read_group(s, out);
		return err ?: tp_repeat(s, out, true);
	}
	if (s->text[s->at] == '*' || (s->extended && strchr("+?{)", s->text[s->at])))
		return tp_refuse(s,
				 "repeats or ends nothing: it is a regular expression and no glob "
				 "(FilterType "
				 "fnmatch has those); (^|\\.)example\\.com$ is a name and what is "
				 "below it");
	if (tp_take(s, "\\"))
		err = read_escaped(s, &item);
	else if (tp_take(s, "["))
		err = read_bracket(s, &item);
	else if (tp_take(s, "."))
		tp_every_byte(&item.set);
	else
		add_folded(&item.set, (unsigned char)s->text[s->at++]);
	if (err)
		return err;
	err = tp_one_item(out, &item);
	return err ?: tp_repeat(s, out, false);
}

static int read_sequence(struct tp_scan *s, struct tp_pattern *out)
{
	bool first = true;
	int err = 0;

	if (!tp_add_branch(out))
		return -ENOMEM;
	while (!err && !at_end_of_group(s)) {
		struct tp_pattern atom = {};

		err = read_atom(s, &atom, first);
		if (!err)
			err = tp_join(s, out, &atom);
		tp_pattern_free(&atom);
		first = false;
	}
	return err;
}

static int read_choice(struct tp_scan *s, struct tp_pattern *out)
{
	int err;

	do {
		struct tp_pattern sequence = {};

		err = read_sequence(s, &sequence);
		if (!err)
			err = tp_gather(s, out, &sequence);
		tp_pattern_free(&sequence);
	} while (!err && tp_take(s, s->extended ? "|" : "\\|"));
	return err;
}

/* The whole host, as fnmatch(3) has it; tinyproxy compares globs with case. */
static int read_glob(struct tp_scan *s, struct tp_pattern *out)
{
	struct tp_branch *b = tp_add_branch(out);
	int err = b ? 0 : -ENOMEM;

	if (b)
		b->begins = b->ends = true;
	while (!err && s->at < s->len) {
		struct tp_item item = {.min = 1, .max = 1};
		unsigned char c = (unsigned char)s->text[s->at++];

		if (c == '[' || c == '\\')
			return tp_refuse(
				s, "has a bracket or a backslash, which is not read in globs");
		if (isupper(c))
			return tp_refuse(
				s, "has an upper-case letter, which tinyproxy finds in no name "
				   "that is written in lower case: write it so");
		if (c == '*')
			item = (struct tp_item){.max = TP_MORE};
		if (c == '*' || c == '?')
			tp_every_byte(&item.set);
		else
			add_folded(&item.set, c);
		err = tp_add_item(b, &item);
	}
	return err;
}

int tp_pattern_read(const char *text, size_t len, enum sl_tinyproxy_type type,
		    const struct sl_pos *pos, struct tp_pattern *out, struct sl_diag *diag)
{
	struct tp_scan s = {.text = text,
			    .len = len,
			    .pos = pos,
			    .diag = diag,
			    .extended = type == SL_TINYPROXY_EXTENDED};
	struct tp_pattern pattern = {};
	int err = type == SL_TINYPROXY_GLOB ? read_glob(&s, &pattern) : read_choice(&s, &pattern);

	if (!err && s.at < s.len)
		err = tp_refuse(&s, "has a group's end without its beginning");
	if (err)
		tp_pattern_free(&pattern);
	else
		*out = pattern;
	return err;
}
