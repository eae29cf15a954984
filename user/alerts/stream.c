// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define AHEAD_NS (60 * 1000000000ll)

struct sl_stream {
	sl_record_fn out;
	void *context;
	bool live;
	char *name;		/* owned: the stream that a socket said it is, or NULL */
	__u64 told_lost;	/* records that a `lost` without a number has told */
	/* The next number of each writer, the one that wrote last first. */
	__u64 next[SL_STREAMS_MAX];
	size_t n_next;
	struct sl_stream_stats stats;
	size_t n;
	bool too_long;
	char line[SL_LINE_MAX];
};

struct sl_stream *sl_stream_new(bool live, sl_record_fn out, void *context)
{
	struct sl_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->live = live;
	s->out = out;
	s->context = context;
	return s;
}

void sl_stream_free(struct sl_stream *s)
{
	if (s)
		free(s->name);
	free(s);
}

const struct sl_stream_stats *sl_stream_stats(const struct sl_stream *s)
{
	return &s->stats;
}

static void faulty(struct sl_stream *s, const char *why)
{
	s->stats.faulty++;
	s->stats.fault_line = s->stats.lines;
	snprintf(s->stats.fault, sizeof(s->stats.fault), "%s", why);
}

/* ---- sequence numbers ---- */

static void to_front(struct sl_stream *s, size_t at, __u64 next)
{
	memmove(s->next + 1, s->next, at * sizeof(*s->next));
	s->next[0] = next;
}

static void new_writer(struct sl_stream *s, __u64 next)
{
	if (s->n_next < SL_STREAMS_MAX)
		s->n_next++;
	to_front(s, s->n_next - 1, next);
}

/* The writer that the number continues after a gap: the nearest below; -1: none is. */
static int nearest_below(const struct sl_stream *s, __u64 seq)
{
	int found = -1;

	for (size_t i = 0; i < s->n_next; i++)
		if (s->next[i] < seq && (found < 0 || s->next[i] > s->next[found]))
			found = (int)i;
	return found;
}

static void gap(struct sl_stream *s, const struct sl_alert_record *record, __u64 missing)
{
	struct sl_alert_record told;

	missing -= missing < s->told_lost ? missing : s->told_lost;
	if (!missing)
		return;
	s->stats.gaps++;
	s->stats.missing += missing;
	if (sl_alert_record_gap(record->time_ns, missing, &told))
		return;
	s->out(s->context, &told);
	sl_alert_record_free(&told);
}

static void follow(struct sl_stream *s, const struct sl_alert_record *record)
{
	__u64 first = record->first, next = record->seq + 1;
	int at;

	for (size_t i = 0; i < s->n_next; i++) {
		if (s->next[i] == first) {
			to_front(s, i, next);
			return;
		}
	}
	if (!first || !s->n_next) {
		new_writer(s, next);
		return;
	}
	at = nearest_below(s, first);
	if (at < 0) {
		s->stats.repeated++;
		return;
	}
	gap(s, record, first - s->next[at]);
	to_front(s, (size_t)at, next);
}

/* What a socket says before its first record (docs/sinks.md): which stream it is, and the
 * number that comes first. Of another stream than before nothing can be missing yet. */
static bool is_hello(struct sl_stream *s, const json_t *json)
{
	const char *event = json_string_value(json_object_get(json, "event"));
	const char *name = json_string_value(json_object_get(json, "stream"));
	const json_t *next = json_object_get(json, "next");

	if (!event || strcmp(event, "hello"))
		return false;
	if (name && json_is_integer(next) && json_integer_value(next) >= 0 &&
	    (!s->name || strcmp(s->name, name))) {
		free(s->name);
		s->name = strdup(name);
		new_writer(s, (__u64)json_integer_value(next));
	}
	return true;
}

/* ---- lines ---- */

static __s64 wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

/* One record of a wrong clock must not end every alert and all that is remembered. */
static void bound_time(struct sl_stream *s, struct sl_alert_record *record)
{
	__s64 now;

	if (!s->live)
		return;
	now = wall_ns();
	if (record->time_ns <= now + AHEAD_NS)
		return;
	record->time_ns = now;
	s->stats.ahead++;
}

static void line(struct sl_stream *s, const char *text, size_t n)
{
	struct sl_alert_record record;
	json_error_t error;
	const char *wrong;
	json_t *json;

	s->stats.lines++;
	if (n && text[n - 1] == '\r')
		n--;
	if (!n)
		return;
	json = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
	if (!json) {
		faulty(s, error.text);
		return;
	}
	if (is_hello(s, json)) {
		json_decref(json);
		return;
	}
	wrong = sl_alert_record_read(json, &record);
	if (wrong) {
		faulty(s, wrong);
		return;
	}
	s->stats.records++;
	bound_time(s, &record);
	if (record.has_seq) {
		follow(s, &record);
		s->told_lost = 0;
	} else if (record.is_lost) {
		s->told_lost += record.count;
	}
	s->out(s->context, &record);
	sl_alert_record_free(&record);
}

static void end_line(struct sl_stream *s)
{
	if (s->too_long) {
		s->stats.lines++;
		faulty(s, "longer than 65536 bytes");
	} else {
		line(s, s->line, s->n);
	}
	s->n = 0;
	s->too_long = false;
}

static void part(struct sl_stream *s, const char *bytes, size_t n)
{
	if (n > SL_LINE_MAX - s->n) {
		s->too_long = true;
		return;
	}
	memcpy(s->line + s->n, bytes, n);
	s->n += n;
}

void sl_stream_bytes(struct sl_stream *s, const char *bytes, size_t n)
{
	const char *newline;

	while (n) {
		newline = memchr(bytes, '\n', n);
		if (!newline) {
			part(s, bytes, n);
			return;
		}
		part(s, bytes, (size_t)(newline - bytes));
		end_line(s);
		n -= (size_t)(newline - bytes) + 1;
		bytes = newline + 1;
	}
}

void sl_stream_cut(struct sl_stream *s)
{
	if (s->n || s->too_long)
		end_line(s);
}

int sl_stream_file(struct sl_stream *stream, const char *path)
{
	bool is_stdin = !strcmp(path, "-");
	int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	static char buffer[65536];
	ssize_t n = 0;
	int err;

	if (fd < 0)
		return -errno;
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		sl_stream_bytes(stream, buffer, (size_t)n);
	err = n < 0 ? -errno : 0;
	sl_stream_cut(stream);
	if (!is_stdin)
		close(fd);
	return err;
}
