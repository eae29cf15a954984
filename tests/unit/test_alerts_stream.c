// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Alerts: records, streams, a file that is followed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alerts/source.h"
#include "alerts/stream.h"
#include "alerts_lab.h"

/* ---- records ---- */

static void times_are_read_and_written(void **state)
{
	static const struct {
		const char *text;
		__s64 ns;
	} good[] = {
		{"1970-01-01T00:00:00Z", 0},
		{"2026-11-26T05:08:40.123456789Z", 1795669720123456789},
		{"2026-11-26T06:08:40.5+01:00", 1795669720500000000},
		{"2026-11-26T00:08:40.1234567899-05:00", 1795669720123456789},
		{"2261-12-31T23:59:59Z", 9214646399ll * SECOND},
	};
	static const char *const bad[] = {
		"", "2026-11-26", "2026-11-26T05:08:40", "2026-11-26T05:08:40.Z",
		"2026-11-26T24:08:40Z", "1969-12-31T23:59:59Z", "2262-01-01T00:00:00Z",
		"1970-01-01T00:30:00+01:00", "2026-11-26T05:08:40Zx", "2026-13-26T05:08:40Z",
	};
	char text[SL_TIME_TEXT];
	__s64 ns;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(sl_time_parse(good[i].text, &ns));
		assert_int_equal(ns, good[i].ns);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (sl_time_parse(bad[i], &ns))
			fail_msg("\"%s\" is taken for a time", bad[i]);
	assert_string_equal(sl_time_format(1795669720000000789, text),
			    "2026-11-26T05:08:40.000000789Z");
}

static void a_long_text_is_cut_between_characters(void **state)
{
	char name[1200] = "", buf[SL_FIELD_TEXT];
	struct sl_alert_record record;
	const char *text;

	for (int i = 0; i < 300; i++)
		strcat(name, "\xe2\x82\xac");	/* three bytes: 511 is no multiple */
	assert_null(sl_alert_record_read(
		json_pack("{s:s, s:s, s:{s:s, s:s}}", "time", "2026-11-26T05:08:40Z", "event",
			  "dns", "target", "kind", "cgroup", "name", name), &record));
	text = sl_field_get(&record, SL_FIELD_TARGET_NAME, buf);
	assert_int_equal(strlen(text), 510);
	text = sl_field_get(&record, SL_FIELD_TARGET, buf);
	assert_int_equal(strlen(text), 7 + 504);
	sl_alert_record_free(&record);
}

/* ---- streams ---- */

struct seen {
	unsigned n, gaps;
	__u64 missing;
	__s64 last_ns;
};

static void count_record(void *context, struct sl_alert_record *record)
{
	struct seen *seen = context;
	char buf[SL_FIELD_TEXT];

	seen->n++;
	seen->last_ns = record->time_ns;
	if (strcmp(sl_field_get(record, SL_FIELD_EVENT, buf), "gap"))
		return;
	seen->gaps++;
	seen->missing += record->count;
}

static void feed(struct sl_stream *stream, const char *text)
{
	sl_stream_bytes(stream, text, strlen(text));
}

static void feed_seq(struct sl_stream *stream, int seq)
{
	char line[128];

	snprintf(line, sizeof(line), "{\"time\":\"2026-11-26T05:08:40Z\",\"event\":\"x\",\"seq\":%d}\n",
		 seq);
	feed(stream, line);
}

static void gaps_are_found_among_several_writers(void **state)
{
	static const int seqs[] = {
		7, 8,			/* begun in the middle */
		0, 9, 1, 10, 2,		/* a second writer */
		13,			/* 11 and 12 are missing: behind the nearest */
		3, 3,			/* once repeated */
		5,			/* 4 is missing */
		14, 0, 1,		/* a third */
	};
	struct seen seen = {};
	struct sl_stream *stream = sl_stream_new(false, count_record, &seen);

	for (size_t i = 0; i < sizeof(seqs) / sizeof(seqs[0]); i++)
		feed_seq(stream, seqs[i]);
	assert_int_equal(seen.gaps, 2);
	assert_int_equal(seen.missing, 3);
	assert_int_equal(sl_stream_stats(stream)->repeated, 1);
	assert_int_equal(seen.n, sizeof(seqs) / sizeof(seqs[0]) + 2);
	sl_stream_free(stream);
}

static void what_a_writer_says_it_lost_is_no_gap(void **state)
{
	struct seen seen = {};
	struct sl_stream *stream = sl_stream_new(false, count_record, &seen);

#define AT "\"time\":\"2026-11-26T05:08:40Z\","
	/* begun in the middle of a stream, which is known to begin there */
	feed(stream, "{\"event\":\"hello\"," AT "\"stream\":\"a\",\"next\":7}\n");
	assert_int_equal(seen.n, 0);
	feed_seq(stream, 7);
	feed(stream, "{\"event\":\"lost\"," AT "\"first\":8,\"seq\":11,\"count\":4}\n");
	feed_seq(stream, 12);
	/* without numbers: it explains as much of the next gap */
	feed(stream, "{\"event\":\"lost\"," AT "\"count\":5}\n");
	feed_seq(stream, 18);
	assert_int_equal(seen.gaps, 0);
	feed(stream, "{\"event\":\"lost\"," AT "\"count\":5}\n");
	feed_seq(stream, 25);
	assert_int_equal(seen.missing, 1);
	/* the same stream again, and then another */
	feed(stream, "{\"event\":\"hello\"," AT "\"stream\":\"a\",\"next\":30}\n");
	feed_seq(stream, 30);
	assert_int_equal(seen.missing, 5);
	feed(stream, "{\"event\":\"hello\"," AT "\"stream\":\"b\",\"next\":90}\n");
	feed_seq(stream, 90);
	/* one that skips more than it tells */
	feed(stream, "{\"event\":\"lost\"," AT "\"first\":93,\"seq\":95,\"count\":3}\n");
	assert_int_equal(seen.missing, 7);
#undef AT
	sl_stream_free(stream);
}

static void what_is_no_record_is_passed_over(void **state)
{
	static const char *const bad[] = {
		"\n", "{\n", "[]\n", "{\"time\":\"2026-11-26T05:08:40Z\"}\n",
		"{\"event\":\"x\",\"time\":5}\n", "\xff\xfe\n",
		"{\"event\":\"x\",\"event\":\"y\",\"time\":\"2026-11-26T05:08:40Z\"}\n",
		"{\"event\":\"a\\u0000b\",\"time\":\"2026-11-26T05:08:40Z\"}\n",
		"{\"event\":\"x\",\"time\":\"2026-11-26T05:08:40Z\",\"count\":0}\n",
		"{\"event\":\"x\",\"time\":\"2026-11-26T05:08:40Z\",\"count\":-1}\n",
	};
	struct seen seen = {};
	struct sl_stream *stream = sl_stream_new(false, count_record, &seen);
	char *deep = malloc(60000);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		feed(stream, bad[i]);
	memset(deep, '[', 59999);
	deep[59999] = 0;
	feed(stream, deep);
	feed(stream, "\n");
	free(deep);
	assert_int_equal(sl_stream_stats(stream)->faulty, sizeof(bad) / sizeof(bad[0]));
	for (int i = 0; i < 70000; i++)
		feed(stream, " ");
	feed(stream, "\n");
	assert_int_equal(sl_stream_stats(stream)->faulty, sizeof(bad) / sizeof(bad[0]) + 1);
	assert_int_equal(seen.n, 0);
	/* and goes on, in parts, with the line end of another system, and without one */
	feed(stream, "{\"event\":\"x\",\"time\":\"2026-");
	feed(stream, "11-26T05:08:40Z\"}\r\n{\"event\":\"x\",\"time\":\"2026-11-26T05:08:41Z\"}");
	assert_int_equal(seen.n, 1);
	sl_stream_cut(stream);
	assert_int_equal(seen.n, 2);
	sl_stream_free(stream);
}

static void a_record_of_the_future_is_of_this_moment_when_live(void **state)
{
	struct seen seen = {};
	struct sl_stream *stream = sl_stream_new(true, count_record, &seen);

	feed(stream, "{\"event\":\"x\",\"time\":\"2250-11-26T05:08:40Z\"}\n");
	assert_int_equal(seen.n, 1);
	assert_int_equal(sl_stream_stats(stream)->ahead, 1);
	assert_true(seen.last_ns < 8000000000 * SECOND);
	sl_stream_free(stream);
}

/* ---- a file that is followed ---- */

static void append(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

#define LINE "{\"event\":\"x\",\"time\":\"2026-11-26T05:08:40Z\"}\n"

static unsigned read_all(struct sl_source *source, struct sl_stream *stream, __s64 now_ms,
			 struct seen *seen)
{
	int more;

	do {
		more = sl_source_read(source, stream, now_ms);
		assert_true(more >= 0);
	} while (more);
	return seen->n;
}

static void a_file_is_followed_across_rotations(void **state)
{
	struct seen seen = {};
	struct sl_stream *stream = sl_stream_new(true, count_record, &seen);
	struct sl_source *source;
	char path[64], old[80];

	temporary(path);
	snprintf(old, sizeof(old), "%s.1", path);
	append(path, LINE);
	assert_int_equal(sl_source_follow(path, false, &source), 0);
	assert_int_equal(read_all(source, stream, 0, &seen), 0);	/* from its end */
	append(path, LINE LINE);
	assert_int_equal(read_all(source, stream, 1, &seen), 2);
	/* renamed: what is written to the old one before the new one is there counts */
	assert_int_equal(rename(path, old), 0);
	append(old, LINE);
	assert_int_equal(read_all(source, stream, 2, &seen), 3);
	append(path, LINE);
	append(old, LINE);
	assert_int_equal(read_all(source, stream, 3, &seen), 5);
	/* and after, for a while */
	append(old, LINE);
	assert_int_equal(read_all(source, stream, 9000, &seen), 6);
	append(old, LINE);
	assert_int_equal(read_all(source, stream, 11000, &seen), 7);
	append(old, LINE);
	assert_int_equal(read_all(source, stream, 11001, &seen), 7);
	/* copied away and emptied */
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(read_all(source, stream, 12000, &seen), 7);
	append(path, LINE);
	assert_int_equal(read_all(source, stream, 12001, &seen), 8);
	/* gone, and there again */
	unlink(path);
	assert_int_equal(read_all(source, stream, 13000, &seen), 8);
	append(path, LINE LINE);
	assert_int_equal(read_all(source, stream, 13001, &seen), 10);
	assert_int_equal(sl_source_stats(source)->rotations, 2);
	assert_int_equal(sl_source_stats(source)->truncations, 1);
	assert_int_equal(sl_stream_stats(stream)->faulty, 0);
	sl_source_free(source);
	sl_stream_free(stream);
	unlink(path);
	unlink(old);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_are_read_and_written),
		cmocka_unit_test(a_long_text_is_cut_between_characters),
		cmocka_unit_test(gaps_are_found_among_several_writers),
		cmocka_unit_test(what_a_writer_says_it_lost_is_no_gap),
		cmocka_unit_test(what_is_no_record_is_passed_over),
		cmocka_unit_test(a_record_of_the_future_is_of_this_moment_when_live),
		cmocka_unit_test(a_file_is_followed_across_rotations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
