// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <stdlib.h>
#include <string.h>

#include "policy/text.h"
#include "series.h"

#define LABEL_MAX 200		/* bytes of a label's value */
#define LABELS 5

/* One series, known by its name and labels as they are printed. */
struct one {
	struct one *next;	/* in its bucket */
	struct one *after;	/* in its family, as added */
	__u64 hash;
	__u64 value, last;	/* last: of a folded counter, what `other` has of it */
	unsigned round;		/* when it was seen */
	bool folded;
	char text[];
};

/* What `other` of a family has counted, also of series that are gone. */
struct rest {
	char *family;		/* owned */
	__u64 total;
	bool used;		/* once there is one it stays: a counter does not vanish */
};

struct sl_series {
	size_t max, shown, folded, n;
	unsigned round;
	bool failed;
	struct one **buckets;	/* owned */
	size_t n_buckets;	/* a power of two */
	struct rest *rests;	/* owned */
	size_t n_rests;
	/* the family that is being added */
	const char *name;
	const char *const *labels;
	enum sl_series_type type;
	struct one *first, **tail;
};

struct sl_series *sl_series_new(size_t max)
{
	struct sl_series *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->max = max;
	s->n_buckets = 1024;
	s->buckets = calloc(s->n_buckets, sizeof(*s->buckets));
	if (s->buckets)
		return s;
	free(s);
	return NULL;
}

void sl_series_free(struct sl_series *s)
{
	struct one *o;

	for (size_t i = 0; s && i < s->n_buckets; i++)
		while ((o = s->buckets[i])) {
			s->buckets[i] = o->next;
			free(o);
		}
	for (size_t i = 0; s && i < s->n_rests; i++)
		free(s->rests[i].family);
	if (s) {
		free(s->rests);
		free(s->buckets);
	}
	free(s);
}

void sl_series_begin(struct sl_series *s)
{
	s->round++;
	s->shown = 0;
	s->failed = false;
}

/* ---- labels ---- */

/* The exposition's escapes; what is not UTF-8 would make the whole scrape fail, and what
 * a reader would not see as it is deceives him: both are `?`. */
static void put_code_point(FILE *out, const char *at, int len, __u32 cp)
{
	if (len < 0 || cp < 0x20 || sl_utf8_hidden(cp))
		fputc('?', out);
	else if (cp == '"' || cp == '\\')
		fprintf(out, "\\%c", (int)cp);
	else
		fwrite(at, 1, (size_t)len, out);
}

/* Of a long one the beginning, and a hash that tells it from others. */
static void put_value(FILE *out, const char *value)
{
	size_t len = strlen(value), i = 0;
	__u32 cp = 0;
	int n;

	while (i < len && i < LABEL_MAX) {
		n = sl_utf8_decode(value + i, len - i, &cp);
		put_code_point(out, value + i, n, cp);
		i += n > 0 ? (size_t)n : 1;
	}
	if (i < len)
		fprintf(out, "~%016llx", (unsigned long long)sl_hash(value));
}

/* `name{a="x",b="y"}`; without memory NULL. Owned. */
static char *sample_text(const struct sl_series *s, const char *const *values, const char *all)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	fputs(s->name, out);
	for (size_t i = 0; s->labels[i]; i++) {
		fprintf(out, "%c%s=\"", i ? ',' : '{', s->labels[i]);
		put_value(out, all ? all : values[i] ? values[i] : "");
		fputc('"', out);
	}
	fputs(s->labels[0] ? "}" : "", out);
	if (!fclose(out))
		return text;
	free(text);
	return NULL;
}

/* ---- the table ---- */

/* Failing to grow costs time only. */
static void grow(struct sl_series *s)
{
	size_t n = 2 * s->n_buckets;
	struct one **buckets = calloc(n, sizeof(*buckets)), *o;

	if (!buckets)
		return;
	for (size_t i = 0; i < s->n_buckets; i++)
		while ((o = s->buckets[i])) {
			s->buckets[i] = o->next;
			o->next = buckets[o->hash & (n - 1)];
			buckets[o->hash & (n - 1)] = o;
		}
	free(s->buckets);
	s->buckets = buckets;
	s->n_buckets = n;
}

static struct one *find(const struct sl_series *s, const char *text, __u64 hash)
{
	struct one *o = s->buckets[hash & (s->n_buckets - 1)];

	while (o && (o->hash != hash || strcmp(o->text, text)))
		o = o->next;
	return o;
}

static struct one *insert(struct sl_series *s, const char *text, __u64 hash)
{
	size_t size = strlen(text) + 1;
	struct one *o = calloc(1, sizeof(*o) + size);

	if (!o)
		return NULL;
	if (s->n >= s->n_buckets)
		grow(s);
	memcpy(o->text, text, size);
	o->hash = hash;
	o->next = s->buckets[hash & (s->n_buckets - 1)];
	s->buckets[hash & (s->n_buckets - 1)] = o;
	s->n++;
	return o;
}

void sl_series_end(struct sl_series *s)
{
	for (size_t i = 0; i < s->n_buckets; i++)
		for (struct one **at = &s->buckets[i], *o; (o = *at);) {
			if (o->round == s->round) {
				at = &o->next;
				continue;
			}
			*at = o->next;
			s->n--;
			s->folded -= o->folded;
			free(o);
		}
}

/* ---- a family ---- */

static struct rest *rest_of(struct sl_series *s)
{
	struct rest *r;

	for (size_t i = 0; i < s->n_rests; i++)
		if (!strcmp(s->rests[i].family, s->name))
			return &s->rests[i];
	r = SL_ADD(s->rests, s->n_rests);
	if (!r)
		return NULL;
	r->family = strdup(s->name);
	if (r->family)
		return r;
	s->n_rests--;
	return NULL;
}

void sl_series_family(struct sl_series *s, FILE *out, const char *name, enum sl_series_type type,
		      const char *help, const char *const *labels)
{
	s->name = name;
	s->type = type;
	s->labels = labels;
	s->first = NULL;
	s->tail = &s->first;
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
		type == SL_COUNTER ? "counter" : "gauge");
}

/* Once folded a series stays so: it must not be counted in two places. */
static struct one *take(struct sl_series *s, const char *text)
{
	__u64 hash = sl_hash(text);
	struct one *o = find(s, text, hash);
	bool full = !o && s->n - s->folded >= s->max;

	if (!o)
		o = insert(s, text, hash);
	if (!o)
		return NULL;
	if (full) {
		o->folded = true;
		s->folded++;
	}
	if (o->round != s->round) {
		o->round = s->round;
		o->value = 0;
		o->after = NULL;
		*s->tail = o;
		s->tail = &o->after;
	}
	return o;
}

void sl_series_add(struct sl_series *s, const char *const *values, __u64 value)
{
	char *text = sample_text(s, values, NULL);
	struct one *o = text ? take(s, text) : NULL;

	free(text);
	if (!o)
		s->failed = true;
	else
		o->value += value;
}

static void put_line(struct sl_series *s, FILE *out, const char *text, __u64 value)
{
	fprintf(out, "%s %llu\n", text, (unsigned long long)value);
	s->shown++;
}

/* A counter that was folded adds what it has counted since; one that began anew (its
 * target is another) counts from nothing. */
static void fold(struct rest *rest, struct one *o)
{
	rest->total += o->value >= o->last ? o->value - o->last : o->value;
	rest->used = true;
	o->last = o->value;
}

void sl_series_print(struct sl_series *s, FILE *out)
{
	struct rest *rest = NULL;
	char *text;

	for (struct one *o = s->first; o; o = o->after) {
		if (!o->folded) {
			put_line(s, out, o->text, o->value);
		} else if (s->type == SL_COUNTER) {
			rest = rest_of(s);
			if (rest)
				fold(rest, o);
			else
				s->failed = true;
		}
	}
	for (size_t i = 0; i < s->n_rests; i++)
		if (s->rests[i].used && !strcmp(s->rests[i].family, s->name))
			rest = &s->rests[i];
	if (!rest)
		return;
	text = sample_text(s, NULL, "other");
	if (text)
		put_line(s, out, text, rest->total);
	free(text);
}

size_t sl_series_shown(const struct sl_series *s)
{
	return s->shown;
}

size_t sl_series_folded(const struct sl_series *s)
{
	return s->folded;
}

bool sl_series_failed(const struct sl_series *s)
{
	return s->failed;
}
