// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Rules of alerts: how their file is read, and how records become alerts.
 *
 * tests/golden/alerts/N.yaml gives N.fail (its diagnostics) if it is no file of rules; else,
 * with the records of N.jsonl, N.told: the alerts as text and as JSON. SLUICE_REGEN=1
 * rewrites the answers: read them after. What is measured exactly is the differential's
 * matter (tests/oracle/alerts_differential.py).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alerts/alert_text.h"
#include "alerts/engine.h"
#include "alerts/keys.h"
#include "alerts/source.h"
#include "alerts/stream.h"
#include "read_file.h"

#define GOLDEN TESTS_DIR "/golden/alerts/"
#define SECOND 1000000000ll

/* ---- golden files ---- */

static void put_alert(void *out, const struct sl_alert *alert)
{
	char *line = sl_alert_line(alert);

	assert_non_null(line);
	sl_alert_print(alert, out);
	fprintf(out, "    %s\n", line);
	free(line);
}

static void put_record(void *engine, struct sl_alert_record *record)
{
	sl_alert_engine_record(engine, record);
}

static void run(const struct sl_alerts_config *config, const char *events, FILE *out)
{
	struct sl_alert_memory *memory = sl_alert_memory_new(
		config->memory_entries, config->groups, config->forget_s * SECOND);
	struct sl_alert_engine *engine = sl_alert_engine_new(config, memory, put_alert, out);
	struct sl_stream *stream = sl_stream_new(false, put_record, engine);
	size_t len;
	char *text = read_file(events, &len);

	assert_non_null(text);
	sl_stream_bytes(stream, text, len);
	sl_stream_cut(stream);
	fprintf(out, "%llu lines were no records\n",
		(unsigned long long)sl_stream_stats(stream)->faulty);
	free(text);
	sl_stream_free(stream);
	sl_alert_engine_free(engine);
	sl_alert_memory_free(memory);
}

static void answer_path(const char *path, const char *suffix, char *out, size_t size)
{
	snprintf(out, size, "%.*s%s", (int)(strrchr(path, '.') - path), path, suffix);
}

static void compare(const char *path, const char *answer)
{
	size_t len;
	char *wanted;
	FILE *out;

	if (getenv("SLUICE_REGEN")) {
		out = fopen(path, "w");
		assert_non_null(out);
		fputs(answer, out);
		fclose(out);
	}
	wanted = read_file(path, &len);
	if (!wanted)
		fail_msg("there is no %s; the answer is:\n%s", path, answer);
	if (strcmp(wanted, answer))
		fail_msg("%s\nwants: %s\nfound: %s", path, wanted, answer);
	free(wanted);
}

static void check_golden(const char *path)
{
	char events[512], wanted[512], *answer = NULL, *text;
	struct sl_alerts_config config;
	struct sl_diag diag = {};
	size_t len, size;
	FILE *out = open_memstream(&answer, &size);
	int err;

	text = read_file(path, &len);
	assert_non_null(text);
	err = sl_alerts_config_parse(text, len, strrchr(path, '/') + 1, &config, &diag);
	sl_diag_print(&diag, out);
	answer_path(path, ".jsonl", events, sizeof(events));
	if (!err) {
		run(&config, events, out);
		sl_alerts_config_free(&config);
	}
	fclose(out);
	answer_path(path, err ? ".fail" : ".told", wanted, sizeof(wanted));
	compare(wanted, answer);
	sl_diag_free(&diag);
	free(answer);
	free(text);
}

static void golden_files_give_their_answers(void **state)
{
	glob_t found;

	assert_int_equal(glob(GOLDEN "*.yaml", 0, NULL, &found), 0);
	assert_true(found.gl_pathc >= 5);
	for (size_t i = 0; i < found.gl_pathc; i++)
		check_golden(found.gl_pathv[i]);
	globfree(&found);
}

static void a_file_of_rules_cut_anywhere_is_an_error_or_one(void **state)
{
	char *text, *cut;
	size_t len;

	text = read_file(SOURCE_DIR "/deploy/alerts/default.yaml", &len);
	assert_non_null(text);
	for (size_t n = 0; n < len; n++) {
		struct sl_alerts_config config;
		struct sl_diag diag = {};
		int err;

		/* Of its own size, so that reading beyond it is seen. */
		cut = malloc(n ? n : 1);
		memcpy(cut, text, n);
		err = sl_alerts_config_parse(cut, n, "t", &config, &diag);
		assert_true(err == 0 || (err == -EINVAL && diag.n_errors));
		if (!err)
			sl_alerts_config_free(&config);
		sl_diag_free(&diag);
		free(cut);
	}
	free(text);
}

/* ---- the tables of docs/alerts.md ---- */

/* The cells of `| a | b |` in place; their number. */
static int split_row(char *line, char **cells, int max)
{
	int n = 0;
	char *at = line + 1, *bar;

	while (n < max && (bar = strstr(at, " |"))) {
		*bar = 0;
		cells[n++] = at + strspn(at, " ");
		at = bar + 2;
	}
	return n;
}

static const struct sl_key_table *table_of(const char *heading)
{
	for (size_t i = 0; sl_akey_tables[i]; i++) {
		const char *name = sl_akey_tables[i]->heading;

		if (!strncmp(heading, name, strlen(name)) && heading[strlen(name)] == '\n')
			return sl_akey_tables[i];
	}
	return NULL;
}

static void check_row(const struct sl_key_table *table, char **cells)
{
	size_t len = strlen(cells[0]);
	int key;

	assert_true(len > 2 && cells[0][0] == '`');
	key = sl_key_find(table, cells[0] + 1, len - 2);
	if (key < 0)
		fail_msg("docs/alerts.md: %s has no key %s", table->what, cells[0]);
	assert_string_equal(cells[1], table->keys[key].type);
	assert_string_equal(cells[2], table->keys[key].def);
}

static void keys_are_those_of_the_docs(void **state)
{
	FILE *in = fopen(SOURCE_DIR "/docs/alerts.md", "r");
	const struct sl_key_table *table = NULL;
	unsigned rows = 0, keys = 0;
	char line[1024], *cells[8];

	assert_non_null(in);
	while (fgets(line, sizeof(line), in)) {
		if (line[0] == '#')
			table = table_of(line + strspn(line, "# "));
		if (!table || line[0] != '|' || !strncmp(line, "|---", 4) ||
		    !strncmp(line, "| key", 5))
			continue;
		assert_int_equal(split_row(line, cells, 8), 3);
		check_row(table, cells);
		rows++;
	}
	fclose(in);
	for (size_t i = 0; sl_akey_tables[i]; i++)
		keys += sl_akey_tables[i]->n;
	assert_int_equal(rows, keys);	/* YAML refuses no key twice here: rows are distinct */
}

static void fields_are_those_of_the_docs(void **state)
{
	size_t len;
	char *text = read_file(SOURCE_DIR "/docs/alerts.md", &len), *at, *end;

	assert_non_null(text);
	at = strstr(text, "### Fields\n\n    ");
	assert_non_null(at);
	end = strstr(at, "\n\nThey are");
	assert_non_null(end);
	*end = 0;
	at = strtok(at + strlen("### Fields"), " \n");
	for (int i = 0; i < SL_FIELD_N; i++, at = strtok(NULL, " \n")) {
		assert_non_null(at);
		assert_string_equal(at, sl_field_names[i]);
	}
	assert_null(at);
	free(text);
}

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

/* ---- the memory ---- */

static void key_of(unsigned n, unsigned char key[SL_MEMORY_KEY])
{
	memset(key, 0, SL_MEMORY_KEY);
	memcpy(key, &n, sizeof(n));
}

static bool is_new(struct sl_alert_memory *memory, unsigned n, __s64 now)
{
	unsigned char key[SL_MEMORY_KEY];
	int err;
	bool new;

	key_of(n, key);
	new = sl_alert_memory_value(memory, key, now, &err);
	assert_int_equal(err, 0);
	return new;
}

static __s64 first_of(struct sl_alert_memory *memory, unsigned n, __s64 now)
{
	unsigned char key[SL_MEMORY_KEY];
	__s64 first;

	key_of(n, key);
	return sl_alert_memory_group(memory, key, now, &first) ? first : -1;
}

static void the_memory_is_bounded_and_forgets(void **state)
{
	struct sl_alert_memory *memory = sl_alert_memory_new(100, 2, 50);

	for (unsigned i = 0; i < 100; i++)
		assert_true(is_new(memory, i, 10));
	assert_false(is_new(memory, 0, 11));
	assert_true(is_new(memory, 100, 12));	/* in the place of 1 */
	assert_false(is_new(memory, 0, 13));
	assert_true(is_new(memory, 1, 14));	/* in the place of 2 */
	assert_int_equal(sl_alert_memory_dropped(memory), 2);
	assert_false(is_new(memory, 99, 59));
	assert_true(is_new(memory, 98, 60));	/* seen at 10: forgotten */
	/* no flood of values moves a group, and no third group pushes one out */
	assert_int_equal(first_of(memory, 1, 100), 100);
	assert_int_equal(first_of(memory, 2, 101), 101);
	assert_int_equal(first_of(memory, 3, 102), -1);
	for (unsigned i = 1000; i < 2000; i++)
		is_new(memory, i, 103);
	assert_int_equal(first_of(memory, 1, 149), 100);
	assert_int_equal(first_of(memory, 3, 151), 151); /* 2 is forgotten */
	assert_int_equal(first_of(memory, 1, 250), 250); /* begins anew */
	sl_alert_memory_free(memory);
}

static void temporary(char path[64])
{
	int fd;

	strcpy(path, "/tmp/sl-alerts-test-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	unlink(path);
}

static void the_memory_outlives_the_process(void **state)
{
	struct sl_alert_memory *memory = sl_alert_memory_new(100, 10, 50), *again;
	char path[64];

	temporary(path);
	assert_int_equal(sl_alert_memory_load(memory, path), 0);	/* there is none */
	for (unsigned i = 0; i < 100; i++)
		is_new(memory, i, i);
	first_of(memory, 7, 90);
	first_of(memory, 7, 95);
	assert_int_equal(sl_alert_memory_save(memory, path), 0);
	sl_alert_memory_free(memory);
	/* with less room the latest stay */
	again = sl_alert_memory_new(10, 10, 50);
	assert_int_equal(sl_alert_memory_load(again, path), 0);
	assert_false(is_new(again, 90, 100));
	assert_true(is_new(again, 89, 100));
	assert_int_equal(first_of(again, 7, 100), 90);
	sl_alert_memory_free(again);
	unlink(path);
}

static void half_a_memory_is_none(void **state)
{
	struct sl_alert_memory *memory = sl_alert_memory_new(100, 10, 50);
	char path[64], *text;
	size_t len;
	FILE *out;

	temporary(path);
	is_new(memory, 1, 10);
	first_of(memory, 2, 10);
	assert_int_equal(sl_alert_memory_save(memory, path), 0);
	text = read_file(path, &len);
	for (size_t n = 0; n < len; n++) {
		out = fopen(path, "w");
		fwrite(text, 1, n, out);
		fclose(out);
		/* the last newline alone may be missing */
		assert_int_equal(sl_alert_memory_load(memory, path), n + 1 < len ? -EINVAL : 0);
		assert_false(is_new(memory, 1, 10));	/* untouched */
	}
	out = fopen(path, "w");
	fputs("sluice-alerts-memory 1\nv 00 5\nend 1\n", out);
	fclose(out);
	assert_int_equal(sl_alert_memory_load(memory, path), -EINVAL);
	free(text);
	unlink(path);
	sl_alert_memory_free(memory);
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
		cmocka_unit_test(golden_files_give_their_answers),
		cmocka_unit_test(a_file_of_rules_cut_anywhere_is_an_error_or_one),
		cmocka_unit_test(keys_are_those_of_the_docs),
		cmocka_unit_test(fields_are_those_of_the_docs),
		cmocka_unit_test(times_are_read_and_written),
		cmocka_unit_test(a_long_text_is_cut_between_characters),
		cmocka_unit_test(gaps_are_found_among_several_writers),
		cmocka_unit_test(what_a_writer_says_it_lost_is_no_gap),
		cmocka_unit_test(what_is_no_record_is_passed_over),
		cmocka_unit_test(a_record_of_the_future_is_of_this_moment_when_live),
		cmocka_unit_test(the_memory_is_bounded_and_forgets),
		cmocka_unit_test(the_memory_outlives_the_process),
		cmocka_unit_test(half_a_memory_is_none),
		cmocka_unit_test(a_file_is_followed_across_rotations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
