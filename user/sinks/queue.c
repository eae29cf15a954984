// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Lines that are shared, and the bounded queues of them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

struct sl_line *sl_line_new(const char *bytes, size_t len, __u64 seq, enum sl_sink_level level)
{
	struct sl_line *line = malloc(sizeof(*line) + len);

	if (!line)
		return NULL;
	*line = (struct sl_line){.users = 1, .level = level, .first = seq, .seq = seq, .len = len};
	memcpy(line->bytes, bytes, len);
	return line;
}

struct sl_line *sl_line_gap(__u64 first, __u64 last)
{
	struct sl_line *line = calloc(1, sizeof(*line));

	if (line)
		*line = (struct sl_line){.users = 1, .gap = true, .level = SL_LEVEL_ERROR,
					 .first = first, .seq = last};
	return line;
}

struct sl_line *sl_line_hold(struct sl_line *line)
{
	atomic_fetch_add(&line->users, 1);
	return line;
}

void sl_line_drop(struct sl_line *line)
{
	if (line && atomic_fetch_sub(&line->users, 1) == 1)
		free(line);
}

int sl_queue_init(struct sl_queue *q, unsigned cap)
{
	*q = (struct sl_queue){.lines = calloc(cap, sizeof(*q->lines)), .cap = cap};
	return q->lines ? 0 : -ENOMEM;
}

void sl_queue_free(struct sl_queue *q)
{
	sl_queue_pop(q, q->n);
	free(q->lines);
	q->lines = NULL;
}

struct sl_line **sl_queue_at(struct sl_queue *q, unsigned i)
{
	return &q->lines[(q->head + i) % q->cap];
}

static void append(struct sl_queue *q, struct sl_line *line)
{
	*sl_queue_at(q, q->n++) = line;
}

/* The gap in front of what comes now; without memory it goes on growing. */
static bool end_gap(struct sl_queue *q)
{
	struct sl_line *gap = sl_line_gap(q->first, q->last);

	if (!gap)
		return false;
	append(q, gap);
	q->losing = false;
	return true;
}

__u64 sl_queue_push(struct sl_queue *q, struct sl_line *line)
{
	/* two places: the gap and the line */
	bool room = q->losing ? q->n + 2 <= q->cap - q->cap / 4 : q->n < q->cap;

	if (room && q->losing)
		room = end_gap(q);
	if (room) {
		append(q, sl_line_hold(line));
		return 0;
	}
	if (!q->losing)
		q->first = line->first;
	q->losing = true;
	q->last = line->seq;
	return line->seq - line->first + 1;
}

void sl_queue_pop(struct sl_queue *q, unsigned n)
{
	for (; n; n--, q->n--) {
		sl_line_drop(*sl_queue_at(q, 0));
		q->head = (q->head + 1) % q->cap;
	}
}

void sl_queue_settle(struct sl_queue *q)
{
	if (q->losing && !q->n)
		end_gap(q);
}

__u64 sl_queue_records(const struct sl_queue *q)
{
	__u64 n = 0;

	for (unsigned i = 0; i < q->n; i++)
		n += !q->lines[(q->head + i) % q->cap]->gap;
	return n;
}
