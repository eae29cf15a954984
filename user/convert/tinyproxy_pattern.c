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
#define COUNT_MAX 8 /* {n} of a group */

struct scan {
	const char *text;
	size_t len, at;
	bool extended;
	unsigned depth;
	const struct sl_pos *pos;
	struct sl_diag *diag;
};

static int refuse(const struct scan *s, const char *why)
{
	return sl_error(s->diag, s->pos, "\"%.*s\" %s", SL_Q(s->text, s->len), why);
}

/* ---- branches ---- */

static void branch_free(struct tp_branch *b)
{
	free(b->items);
	memset(b, 0, sizeof(*b));
}

void tp_pattern_free(struct tp_pattern *p)
{
	for (size_t i = 0; i < p->n; i++)
		branch_free(&p->branches[i]);
	free(p->branches);
	memset(p, 0, sizeof(*p));
}

static struct tp_branch *add_branch(struct tp_pattern *p)
{
	return SL_ADD(p->branches, p->n);
}

static int add_item(struct tp_branch *b, const struct tp_item *item)
{
	struct tp_item *slot = SL_ADD(b->items, b->n);

	if (!slot)
		return -ENOMEM;
	*slot = *item;
	return 0;
}

static bool can_be_empty(const struct tp_branch *b)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->items[i].min)
			return false;
	return true;
}

/* a, then b, at the end of out. What can never match (`a^b`) is left out. */
static int add_joined(struct tp_pattern *out, const struct tp_branch *a, const struct tp_branch *b)
{
	bool drop_a = b->begins, drop_b = a->ends;
	struct tp_branch *to;
	int err = 0;

	if ((drop_a && !can_be_empty(a)) || (drop_b && !can_be_empty(b)))
		return 0;
	to = add_branch(out);
	if (!to)
		return -ENOMEM;
	to->begins = a->begins || b->begins;
	to->ends = a->ends || b->ends;
	for (size_t i = 0; i < a->n && !drop_a && !err; i++)
		err = add_item(to, &a->items[i]);
	for (size_t i = 0; i < b->n && !drop_b && !err; i++)
		err = add_item(to, &b->items[i]);
	return err;
}

/* *p becomes p followed by q. */
static int join(const struct scan *s, struct tp_pattern *p, const struct tp_pattern *q)
{
	struct tp_pattern out = {};
	int err = 0;

	if (p->n * q->n > TP_BRANCHES_MAX)
		return refuse(s, "has too many alternatives: write them in lines of their own");
	for (size_t i = 0; i < p->n; i++)
		for (size_t k = 0; k < q->n && !err; k++)
			err = add_joined(&out, &p->branches[i], &q->branches[k]);
	tp_pattern_free(p);
	*p = out;
	return err;
}

/* Moves q's branches behind p's. */
static int gather(const struct scan *s, struct tp_pattern *p, struct tp_pattern *q)
{
	if (p->n + q->n > TP_BRANCHES_MAX)
		return refuse(s, "has too many alternatives: write them in lines of their own");
	for (size_t i = 0; i < q->n; i++) {
		struct tp_branch *slot = add_branch(p);

		if (!slot)
			return -ENOMEM;
		*slot = q->branches[i];
		memset(&q->branches[i], 0, sizeof(q->branches[i]));
	}
	return 0;
}

static int one_item(struct tp_pattern *out, const struct tp_item *item)
{
	struct tp_branch *b = add_branch(out);

	return b ? add_item(b, item) : -ENOMEM;
}

/* ---- sets ---- */

static void add_folded(struct tp_set *set, unsigned char c)
{
	tp_add(set, c);
	if (c < 0x80 && isalpha(c))
		tp_add(set, c ^ 0x20);
}

static void every_byte(struct tp_set *set)
{
	memset(set, 0xff, sizeof(*set));
}

/* `[:alpha:]` at s->at, which stands behind `[:`. */
static int read_named_class(struct scan *s, struct tp_set *set)
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
		return refuse(s, "has a class without its end, which is :]");
	for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
		if (!sl_text_is(s->text + s->at, n, classes[i].name))
			continue;
		for (int c = 0; c < 128; c++)
			if (classes[i].is(c))
				add_folded(set, (unsigned char)c);
		s->at += n + 2;
		return 0;
	}
	return refuse(s, "has a class that is not read here: write its characters");
}

static int read_range(struct scan *s, struct tp_set *set)
{
	unsigned char low = (unsigned char)s->text[s->at++], high = low;

	if (s->at + 1 < s->len && s->text[s->at] == '-' && s->text[s->at + 1] != ']') {
		high = (unsigned char)s->text[s->at + 1];
		s->at += 2;
		if (high == '[' || high < low || high >= 0x80)
			return refuse(s, "has a range in a bracket that is not read here");
	}
	for (unsigned c = low; c <= high; c++)
		add_folded(set, (unsigned char)c);
	return 0;
}

/* A bracket; s->at stands behind the `[`. A backslash in it is itself, a `]` is one at its
 * beginning. */
static int read_bracket(struct scan *s, struct tp_item *item)
{
	bool not = s->at < s->len && s->text[s->at] == '^';
	size_t first = s->at += not ;
	int err = 0;

	while (!err && s->at < s->len && (s->text[s->at] != ']' || s->at == first)) {
		if (s->at + 1 < s->len && s->text[s->at] == '[' &&
		    strchr(":.=", s->text[s->at + 1])) {
			if (s->text[s->at + 1] != ':')
				return refuse(s, "has [. or [=, which is not read here");
			s->at += 2;
			err = read_named_class(s, &item->set);
		} else {
			err = read_range(s, &item->set);
		}
	}
	if (err)
		return err;
	if (s->at >= s->len)
		return refuse(s, "has a [ without its ]");
	s->at++;
	for (int i = 0; not &&i < 4; i++)
		item->set.bits[i] = ~item->set.bits[i];
	return 0;
}

/* ---- repetition ---- */

struct count {
	unsigned min, max;
};

static bool take(struct scan *s, const char *word)
{
	size_t n = strlen(word);

	if (s->len - s->at < n || memcmp(s->text + s->at, word, n))
		return false;
	s->at += n;
	return true;
}

/* The number at s->at; fallback if there is none. */
static unsigned read_number(struct scan *s, unsigned fallback)
{
	unsigned n = 0, at = (unsigned)s->at;

	while (s->at < s->len && isdigit((unsigned char)s->text[s->at]) && n < 1000)
		n = n * 10 + (unsigned)(s->text[s->at++] - '0');
	return s->at == at ? fallback : n;
}

static int read_interval(struct scan *s, struct count *count)
{
	count->min = read_number(s, TP_MORE);
	count->max = count->min;
	if (take(s, ","))
		count->max = read_number(s, TP_MORE);
	if (count->min == TP_MORE || count->max < count->min || count->min > 255 ||
	    (count->max > 255 && count->max != TP_MORE) || !take(s, s->extended ? "}" : "\\}"))
		return refuse(s, "has a {...} that is no number of times");
	return 0;
}

/* Is there a repetition? 1, 0, or -EINVAL. */
static int read_count(struct scan *s, struct count *count)
{
	*count = (struct count){0, TP_MORE};
	if (take(s, "*"))
		return 1;
	count->min = 1;
	if (take(s, s->extended ? "+" : "\\+"))
		return 1;
	*count = (struct count){0, 1};
	if (take(s, s->extended ? "?" : "\\?"))
		return 1;
	if (!take(s, s->extended ? "{" : "\\{"))
		return 0;
	return read_interval(s, count) ?: 1;
}

static bool is_dot(const struct tp_item *item)
{
	struct tp_set dot = {};

	tp_add(&dot, '.');
	return item->min == 1 && item->max == 1 && !memcmp(&item->set, &dot, sizeof(dot));
}

/* `[^.]+\.`: a label of any kind, and its dot. */
static bool is_label(const struct tp_branch *b)
{
	struct tp_set others;

	every_byte(&others);
	others.bits['.' / 64] &= ~(1ull << ('.' % 64));
	return b->n == 2 && !b->begins && !b->ends && b->items[0].min == 1 &&
	       b->items[0].max == TP_MORE && is_dot(&b->items[1]) &&
	       !memcmp(&b->items[0].set, &others, sizeof(others));
}

/* Digits that cover 0 to 255: as good as [0-9]{1,3}, since no other number is part of an
 * address. Keeps the usual long alternatives from multiplying. */
static bool is_octet(const struct tp_pattern *p)
{
	struct tp_pattern copy = {};
	struct tp_hosts found = {};
	struct tp_item digits = {.min = 1, .max = 1};
	bool full = p->n > 1;
	int err = 0;

	for (int c = '0'; c <= '9'; c++)
		tp_add(&digits.set, (unsigned char)c);
	for (size_t i = 0; i < p->n && full; i++) {
		full = !p->branches[i].begins && !p->branches[i].ends;
		for (size_t k = 0; k < p->branches[i].n && full; k++)
			for (int w = 0; w < 4; w++)
				full &= !(p->branches[i].items[k].set.bits[w] &
					  ~digits.set.bits[w]);
	}
	/* The addresses N.0.0.0, by the reader of addresses. */
	for (size_t i = 0; i < p->n && full && !err; i++) {
		static const char rest[] = ".0.0.0";
		struct tp_branch *b = add_branch(&copy), *from = &p->branches[i];

		if (!b)
			break;
		b->begins = b->ends = true;
		for (size_t k = 0; k < from->n && !err; k++)
			err = add_item(b, &from->items[k]);
		for (size_t k = 0; rest[k] && !err; k++) {
			struct tp_item item = {.min = 1, .max = 1};

			tp_add(&item.set, (unsigned char)rest[k]);
			err = add_item(b, &item);
		}
		if (!err)
			err = tp_ipv4_find(b, &found);
		if (err == -ENOENT)
			err = 0;
	}
	if (full && !err) {
		struct tp_set seen = {};

		for (size_t i = 0; i < found.n; i++)
			tp_add(&seen, found.hosts[i].cidr.addr[0]);
		for (int w = 0; w < 4; w++)
			full &= seen.bits[w] == ~0ull;
	}
	tp_pattern_free(&copy);
	tp_hosts_free(&found);
	return full && !err;
}

/* Group: `?`, {n} of few, and labels. */
static int repeat_group(struct scan *s, struct tp_pattern *p, const struct count *count)
{
	struct tp_pattern once = *p, out = {}, power = {};
	struct tp_item more = {.min = 1, .max = TP_MORE};
	int err = 0;

	if (count->max == TP_MORE) {
		if (p->n != 1 || !is_label(&p->branches[0]) || count->min > 1)
			return refuse(s, "repeats a group, which is only read of ([^.]+\\.)");
		every_byte(&more.set);
		p->branches[0].items[0] = more;
		return count->min || add_branch(p) ? 0 : -ENOMEM;
	}
	if (count->max > COUNT_MAX)
		return refuse(s, "repeats a group more often than is read here");
	if (!add_branch(&power))
		return -ENOMEM;
	memset(p, 0, sizeof(*p));
	for (unsigned i = 0; i <= count->max && !err; i++) {
		struct tp_pattern copy = {}, empty = {};

		if (i >= count->min) {
			err = add_branch(&empty) ? join(s, &empty, &power) : -ENOMEM;
			copy = empty;
			err = err ?: gather(s, &out, &copy);
			tp_pattern_free(&copy);
		}
		if (!err && i < count->max)
			err = join(s, &power, &once);
	}
	tp_pattern_free(&once);
	tp_pattern_free(&power);
	*p = out;
	return err;
}

static int repeat(struct scan *s, struct tp_pattern *p, bool group)
{
	struct count count, again;
	int found = read_count(s, &count);
	struct tp_item *item;

	if (found <= 0)
		return found;
	item = p->n == 1 && p->branches[0].n == 1 && !p->branches[0].begins && !p->branches[0].ends
		       ? &p->branches[0].items[0]
		       : NULL;
	if (item && item->min == 1 && item->max == 1) {
		item->min = (__u16)count.min;
		item->max = (__u16)count.max;
	} else if (group) {
		found = repeat_group(s, p, &count);
		if (found < 0)
			return found;
	}
	found = read_count(s, &again);
	return found > 0 ? refuse(s, "repeats what is repeated") : found;
}

/* ---- expressions ---- */

static int read_choice(struct scan *s, struct tp_pattern *out);

static bool at_end_of_group(struct scan *s)
{
	size_t at = s->at;
	bool end = s->at == s->len || (s->depth && take(s, s->extended ? ")" : "\\)")) ||
		   take(s, s->extended ? "|" : "\\|");

	s->at = at;
	return end;
}

/* `\c` outside of brackets, s->at behind the backslash. */
static int read_escaped(struct scan *s, struct tp_item *item)
{
	unsigned char c;

	if (s->at == s->len)
		return refuse(s, "ends with a backslash");
	c = (unsigned char)s->text[s->at++];
	if (isalnum(c) || strchr("<>`'", c))
		return refuse(s,
			      "has an escape that POSIX does not have: \\d and \\w are [0-9] and "
			      "[[:alnum:]_]; words' edges and what was matched before are not "
			      "read");
	if (!s->extended && strchr("(){}|+?", c))
		return refuse(s, "has a group's part, or a repetition, in the wrong place");
	add_folded(&item->set, c);
	return 0;
}

static int read_group(struct scan *s, struct tp_pattern *out)
{
	struct tp_item octet = {.min = 1, .max = 3};
	int err;

	if (++s->depth > DEPTH_MAX)
		return refuse(s, "has groups in groups, too deep");
	err = read_choice(s, out);
	if (err)
		return err;
	s->depth--;
	if (!take(s, s->extended ? ")" : "\\)"))
		return refuse(s, "has a group without its end");
	if (is_octet(out)) {
		tp_pattern_free(out);
		for (int c = '0'; c <= '9'; c++)
			tp_add(&octet.set, (unsigned char)c);
		return one_item(out, &octet);
	}
	return 0;
}

/* A `$` is an anchor at the end of an expression; a `^` at its beginning. In the middle
 * an extended expression has anchors too, which can never match. */
static int read_anchor(struct scan *s, struct tp_pattern *out, bool first, bool *found)
{
	size_t at = s->at;
	struct tp_branch *b;
	bool begins;

	*found = false;
	begins = take(s, "^");
	if (!begins && !take(s, "$"))
		return 0;
	if (begins ? !s->extended && !first : !s->extended && !at_end_of_group(s)) {
		s->at = at;
		return 0;
	}
	*found = true;
	b = add_branch(out);
	if (!b)
		return -ENOMEM;
	b->begins = begins;
	b->ends = !begins;
	return 0;
}

static int read_atom(struct scan *s, struct tp_pattern *out, bool first)
{
	struct tp_item item = {.min = 1, .max = 1};
	bool anchor;
	int err = read_anchor(s, out, first, &anchor);

	if (err || anchor)
		return err;
	if (take(s, s->extended ? "(" : "\\(")) {
		err = read_group(s, out);
		return err ?: repeat(s, out, true);
	}
	if (s->text[s->at] == '*' || (s->extended && strchr("+?{)", s->text[s->at])))
		return refuse(s, "repeats or ends nothing: it is a regular expression and no glob "
				 "(FilterType "
				 "fnmatch has those); (^|\\.)example\\.com$ is a name and what is "
				 "below it");
	if (take(s, "\\"))
		err = read_escaped(s, &item);
	else if (take(s, "["))
		err = read_bracket(s, &item);
	else if (take(s, "."))
		every_byte(&item.set);
	else
		add_folded(&item.set, (unsigned char)s->text[s->at++]);
	if (err)
		return err;
	err = one_item(out, &item);
	return err ?: repeat(s, out, false);
}

static int read_sequence(struct scan *s, struct tp_pattern *out)
{
	bool first = true;
	int err = 0;

	if (!add_branch(out))
		return -ENOMEM;
	while (!err && !at_end_of_group(s)) {
		struct tp_pattern atom = {};

		err = read_atom(s, &atom, first);
		if (!err)
			err = join(s, out, &atom);
		tp_pattern_free(&atom);
		first = false;
	}
	return err;
}

static int read_choice(struct scan *s, struct tp_pattern *out)
{
	int err;

	do {
		struct tp_pattern sequence = {};

		err = read_sequence(s, &sequence);
		if (!err)
			err = gather(s, out, &sequence);
		tp_pattern_free(&sequence);
	} while (!err && take(s, s->extended ? "|" : "\\|"));
	return err;
}

/* The whole host, as fnmatch(3) has it; tinyproxy compares globs with case. */
static int read_glob(struct scan *s, struct tp_pattern *out)
{
	struct tp_branch *b = add_branch(out);
	int err = b ? 0 : -ENOMEM;

	if (b)
		b->begins = b->ends = true;
	while (!err && s->at < s->len) {
		struct tp_item item = {.min = 1, .max = 1};
		unsigned char c = (unsigned char)s->text[s->at++];

		if (c == '[' || c == '\\')
			return refuse(s,
				      "has a bracket or a backslash, which is not read in globs");
		if (isupper(c))
			return refuse(s,
				      "has an upper-case letter, which tinyproxy finds in no name "
				      "that is written in lower case: write it so");
		if (c == '*')
			item = (struct tp_item){.max = TP_MORE};
		if (c == '*' || c == '?')
			every_byte(&item.set);
		else
			add_folded(&item.set, c);
		err = add_item(b, &item);
	}
	return err;
}

int tp_pattern_read(const char *text, size_t len, enum sl_tinyproxy_type type,
		    const struct sl_pos *pos, struct tp_pattern *out, struct sl_diag *diag)
{
	struct scan s = {.text = text,
			 .len = len,
			 .pos = pos,
			 .diag = diag,
			 .extended = type == SL_TINYPROXY_EXTENDED};
	struct tp_pattern pattern = {};
	int err = type == SL_TINYPROXY_GLOB ? read_glob(&s, &pattern) : read_choice(&s, &pattern);

	if (!err && s.at < s.len)
		err = refuse(&s, "has a group's end without its beginning");
	if (err)
		tp_pattern_free(&pattern);
	else
		*out = pattern;
	return err;
}
