// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Branches of a pattern: put together, one behind the other or beside it, and repeated. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/text.h"
#include "tinyproxy_internal.h"

#define COUNT_MAX 8 /* {n} of a group */

int tp_refuse(const struct tp_scan *s, const char *why)
{
	return sl_error(s->diag, s->pos, "\"%.*s\" %s", SL_Q(s->text, s->len), why);
}

bool tp_take(struct tp_scan *s, const char *word)
{
	size_t n = strlen(word);

	if (s->len - s->at < n || memcmp(s->text + s->at, word, n))
		return false;
	s->at += n;
	return true;
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

struct tp_branch *tp_add_branch(struct tp_pattern *p)
{
	return SL_ADD(p->branches, p->n);
}

int tp_add_item(struct tp_branch *b, const struct tp_item *item)
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
	to = tp_add_branch(out);
	if (!to)
		return -ENOMEM;
	to->begins = a->begins || b->begins;
	to->ends = a->ends || b->ends;
	for (size_t i = 0; i < a->n && !drop_a && !err; i++)
		err = tp_add_item(to, &a->items[i]);
	for (size_t i = 0; i < b->n && !drop_b && !err; i++)
		err = tp_add_item(to, &b->items[i]);
	return err;
}

/* *p becomes p followed by q. */
int tp_join(const struct tp_scan *s, struct tp_pattern *p, const struct tp_pattern *q)
{
	struct tp_pattern out = {};
	int err = 0;

	if (p->n * q->n > TP_BRANCHES_MAX)
		return tp_refuse(s, "has too many alternatives: write them in lines of their own");
	for (size_t i = 0; i < p->n; i++)
		for (size_t k = 0; k < q->n && !err; k++)
			err = add_joined(&out, &p->branches[i], &q->branches[k]);
	tp_pattern_free(p);
	*p = out;
	return err;
}

/* Moves q's branches behind p's. */
int tp_gather(const struct tp_scan *s, struct tp_pattern *p, struct tp_pattern *q)
{
	if (p->n + q->n > TP_BRANCHES_MAX)
		return tp_refuse(s, "has too many alternatives: write them in lines of their own");
	for (size_t i = 0; i < q->n; i++) {
		struct tp_branch *slot = tp_add_branch(p);

		if (!slot)
			return -ENOMEM;
		*slot = q->branches[i];
		memset(&q->branches[i], 0, sizeof(q->branches[i]));
	}
	return 0;
}

int tp_one_item(struct tp_pattern *out, const struct tp_item *item)
{
	struct tp_branch *b = tp_add_branch(out);

	return b ? tp_add_item(b, item) : -ENOMEM;
}

/* ---- repetition ---- */

struct count {
	unsigned min, max;
};

/* The number at s->at; fallback if there is none. */
static unsigned read_number(struct tp_scan *s, unsigned fallback)
{
	unsigned n = 0, at = (unsigned)s->at;

	while (s->at < s->len && isdigit((unsigned char)s->text[s->at]) && n < 1000)
		n = n * 10 + (unsigned)(s->text[s->at++] - '0');
	return s->at == at ? fallback : n;
}

static int read_interval(struct tp_scan *s, struct count *count)
{
	count->min = read_number(s, TP_MORE);
	count->max = count->min;
	if (tp_take(s, ","))
		count->max = read_number(s, TP_MORE);
	if (count->min == TP_MORE || count->max < count->min || count->min > 255 ||
	    (count->max > 255 && count->max != TP_MORE) || !tp_take(s, s->extended ? "}" : "\\}"))
		return tp_refuse(s, "has a {...} that is no number of times");
	return 0;
}

/* Is there a repetition? 1, 0, or -EINVAL. */
static int read_count(struct tp_scan *s, struct count *count)
{
	*count = (struct count){0, TP_MORE};
	if (tp_take(s, "*"))
		return 1;
	count->min = 1;
	if (tp_take(s, s->extended ? "+" : "\\+"))
		return 1;
	*count = (struct count){0, 1};
	if (tp_take(s, s->extended ? "?" : "\\?"))
		return 1;
	if (!tp_take(s, s->extended ? "{" : "\\{"))
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

	tp_every_byte(&others);
	others.bits['.' / 64] &= ~(1ull << ('.' % 64));
	return b->n == 2 && !b->begins && !b->ends && b->items[0].min == 1 &&
	       b->items[0].max == TP_MORE && is_dot(&b->items[1]) &&
	       !memcmp(&b->items[0].set, &others, sizeof(others));
}

bool tp_is_octet(const struct tp_pattern *p)
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
		struct tp_branch *b = tp_add_branch(&copy), *from = &p->branches[i];

		if (!b)
			break;
		b->begins = b->ends = true;
		for (size_t k = 0; k < from->n && !err; k++)
			err = tp_add_item(b, &from->items[k]);
		for (size_t k = 0; rest[k] && !err; k++) {
			struct tp_item item = {.min = 1, .max = 1};

			tp_add(&item.set, (unsigned char)rest[k]);
			err = tp_add_item(b, &item);
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
static int repeat_group(struct tp_scan *s, struct tp_pattern *p, const struct count *count)
{
	struct tp_pattern once = *p, out = {}, power = {};
	struct tp_item more = {.min = 1, .max = TP_MORE};
	int err = 0;

	if (count->max == TP_MORE) {
		if (p->n != 1 || !is_label(&p->branches[0]) || count->min > 1)
			return tp_refuse(s, "repeats a group, which is only read of ([^.]+\\.)");
		tp_every_byte(&more.set);
		p->branches[0].items[0] = more;
		return count->min || tp_add_branch(p) ? 0 : -ENOMEM;
	}
	if (count->max > COUNT_MAX)
		return tp_refuse(s, "repeats a group more often than is read here");
	if (!tp_add_branch(&power))
		return -ENOMEM;
	memset(p, 0, sizeof(*p));
	for (unsigned i = 0; i <= count->max && !err; i++) {
		struct tp_pattern copy = {}, empty = {};

		if (i >= count->min) {
			err = tp_add_branch(&empty) ? tp_join(s, &empty, &power) : -ENOMEM;
			copy = empty;
			err = err ?: tp_gather(s, &out, &copy);
			tp_pattern_free(&copy);
		}
		if (!err && i < count->max)
			err = tp_join(s, &power, &once);
	}
	tp_pattern_free(&once);
	tp_pattern_free(&power);
	*p = out;
	return err;
}

int tp_repeat(struct tp_scan *s, struct tp_pattern *p, bool group)
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
	return found > 0 ? tp_refuse(s, "repeats what is repeated") : found;
}
