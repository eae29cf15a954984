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
#include <cmocka.h>

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alerts/alert_text.h"
#include "alerts/engine.h"
#include "alerts/keys.h"
#include "alerts/stream.h"
#include "alerts_lab.h"
#include "read_file.h"

#define GOLDEN TESTS_DIR "/golden/alerts/"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_files_give_their_answers),
		cmocka_unit_test(a_file_of_rules_cut_anywhere_is_an_error_or_one),
		cmocka_unit_test(keys_are_those_of_the_docs),
		cmocka_unit_test(fields_are_those_of_the_docs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
