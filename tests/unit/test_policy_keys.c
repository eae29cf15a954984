// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* user/policy: the keys are those of docs/policy.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "policy/keys.h"

/* Cells of a table's row, trimmed; returns how many. */
static int split_row(char *line, char **cells, int max)
{
	int n = 0;

	line[strcspn(line, "\n") - 1] = 0;
	for (char *cell = strtok(line + 1, "|"); cell && n < max; cell = strtok(NULL, "|")) {
		size_t len;

		cell += strspn(cell, " ");
		len = strlen(cell);
		while (len && strchr(" \n", cell[len - 1]))
			cell[--len] = 0;
		if (len || n)
			cells[n++] = cell;
	}
	return n;
}

/* A default of one word in backticks is the word. */
static const char *bare(char *cell)
{
	size_t len = strlen(cell);

	if (len > 2 && cell[0] == '`' && strchr(cell + 1, '`') == cell + len - 1) {
		cell[len - 1] = 0;
		return cell + 1;
	}
	return cell;
}

static void check_part(const struct sl_key *key, const char *since)
{
	char want[128];

	if (!key->later && !sl_key_is_later(key))
		snprintf(want, sizeof(want), "%s", key->part);
	else if (key->later)
		snprintf(want, sizeof(want), "%s (`%s` not enforced yet)", key->part, key->later);
	else
		snprintf(want, sizeof(want), "%s (not enforced yet)", key->part);
	if (strcmp(since, want))
		fail_msg("docs/policy.md, key %s: since \"%s\", keys.c says \"%s\"", key->name,
			 since, want);
}

static const struct sl_key *documented(const struct sl_key_table *table, const char *name,
				       unsigned *seen)
{
	int index = sl_key_find(table, name, strlen(name));

	if (index < 0)
		fail_msg("docs/policy.md: %s has no key %s in keys.c", table->what, name);
	*seen |= 1u << index;
	return &table->keys[index];
}

/* One row: `a`, or `a`, `b`, or `uid: {container: N}`. */
static void check_row(const struct sl_key_table *table, char **cells, int n, unsigned *seen)
{
	char *save, *name = strtok_r(cells[0], "`, ", &save);
	const char *def = bare(cells[2]);
	unsigned container;

	while (name) {
		const struct sl_key *key;

		if (!strcmp(name, "uid:")) {
			key = documented(&sl_keys_uid, "container", &container);
			name = NULL;
		} else {
			key = documented(table, name, seen);
			name = strtok_r(NULL, "`, ", &save);
		}
		if (strcmp(def, key->def))
			fail_msg("docs/policy.md, key %s: default \"%s\", keys.c says \"%s\"",
				 key->name, def, key->def);
		if (n > 3)
			check_part(key, cells[3]);
	}
}

static const struct sl_key_table *table_of(const char *heading)
{
	for (size_t i = 0; sl_key_tables[i]; i++) {
		const char *name = sl_key_tables[i]->heading;

		if (name && !strncmp(heading, name, strlen(name)) &&
		    heading[strlen(name)] == '\n')
			return sl_key_tables[i];
	}
	return NULL;
}

static void keys_are_those_of_the_docs(void **state)
{
	FILE *in = fopen(SOURCE_DIR "/docs/policy.md", "r");
	const struct sl_key_table *table = NULL;
	unsigned seen[16] = {0}, rows = 0;
	char line[1024];

	(void)state;
	assert_non_null(in);
	while (fgets(line, sizeof(line), in)) {
		char *cells[8];
		int n;

		if (line[0] == '#')
			table = table_of(line + strspn(line, "# "));
		if (!table || line[0] != '|' || !strncmp(line, "|---", 4) ||
		    !strncmp(line, "| key", 5))
			continue;
		n = split_row(line, cells, 8);
		assert_true(n >= 3);
		for (size_t i = 0; sl_key_tables[i]; i++) {
			if (sl_key_tables[i] == table)
				check_row(table, cells, n, &seen[i]);
		}
		rows++;
	}
	fclose(in);
	assert_true(rows > 30);
	for (size_t i = 0; sl_key_tables[i]; i++) {
		if (sl_key_tables[i]->heading && seen[i] != (1u << sl_key_tables[i]->n) - 1)
			fail_msg("keys.c: a key of %s is not in docs/policy.md",
				 sl_key_tables[i]->what);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_those_of_the_docs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
