// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * JSON as Go writes it, under the sanitizers: what jansson does not take is read as something else, and
 * all beside it as it is; what is no JSON stays none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/json.h"

/* Of a copy of its very length, so that reading past the end is seen. */
static json_t *read_copy(const char *text, size_t len)
{
	char *copy = malloc(len ? len : 1);
	json_t *json;

	assert_non_null(copy);
	memcpy(copy, text, len);
	json = sl_json_read(copy, len, NULL);
	free(copy);
	return json;
}

static void what_jansson_does_not_take(void **state)
{
	static const struct {
		const char *text, *want; /* NULL: none */
	} cases[] = {
		{"[\"a\\u0000b\", \"\\u0000\"]", "[\"a\\ufffdb\",\"\\ufffd\"]"},
		{"{\"a\\u0000\": 1, \"b\": 2}", "{\"a\\ufffd\":1,\"b\":2}"},
		{"{\"a\\u0000\": 1, \"a\\ufffd\": 2}", "{\"a\\ufffd\":2}"},
		{"[\"\\\\u0000\"]", "[\"\\\\u0000\"]"}, /* a backslash, and five letters */
		{"[\"\\\\\\u0000\"]", "[\"\\\\\\ufffd\"]"},
		{"[\"\\ud800\", \"\\udc00x\", \"\\ud800\\ud800\", \"\\ud83d\\ude00\"]",
		 "[\"\\ufffd\",\"\\ufffdx\",\"\\ufffd\\ufffd\",\"\\uD83D\\uDE00\"]"},
		{"[9223372036854775807, -9223372036854775807, 0, 7]",
		 "[9223372036854775807,-9223372036854775807,0,7]"},
		{"[100000000000000000000, 5]", "[1e20,5]"},
		{"[-123456789012345678901, 9223372036854775808, {\"a\": 18446744073709551616}]",
		 "[-1.2345678901234567e20,9.22337203685477e18,{\"a\":1.844674407370955e19}]"},
		{"[100000000000000000000, 1.5, 2e3, \"100000000000000000000\", 12]",
		 "[1e20,1.5,2000.0,\"100000000000000000000\",12]"},
		/* a key twice, as it came */
		{"{\"a\": 1, \"a\": 2}", NULL},
		{"{\"a\": 1", NULL}, {"{\"a\": \"\\u0000\"", NULL}, {"[\"\\u000", NULL}, {"[\"\\", NULL}, {"", NULL},
		{"[100000000000000000000", NULL}, {"\\u0000", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *json = read_copy(cases[i].text, strlen(cases[i].text));
		json_t *want = cases[i].want ? json_loads(cases[i].want, 0, NULL) : NULL;

		if (!json != !want || !(json ? json_equal(json, want) : true))
			fail_msg("%s: %s", cases[i].text, json ? json_dumps(json, 0) : "none");
		json_decref(json);
		json_decref(want);
	}
}

/* [0, [[[...]]], 5]: what is at the sides stays. */
static void what_lies_too_deep(void **state)
{
	static const size_t depths[] = {1, 998, 999, 1000, 1001, 2046, 2047, 2048, 2500, 9000};

	(void)state;
	for (size_t i = 0; i < sizeof(depths) / sizeof(*depths); i++) {
		size_t n = depths[i];
		char *text = calloc(1, 2 * n + 64);
		json_t *json;

		strcpy(text, "{\"a\":");
		memset(text + strlen(text), '[', n);
		strcat(text, "\"]\\\"[\"");
		memset(text + strlen(text), ']', n);
		strcat(text, ",\"b\":5}");
		json = read_copy(text, strlen(text));
		if (!json || json_integer_value(json_object_get(json, "b")) != 5 ||
		    !json_is_array(json_object_get(json, "a")))
			fail_msg("depth %zu", n);
		json_decref(json);
		text[strlen(text) - 1] = ']';
		assert_null(read_copy(text, strlen(text)));
		free(text);
	}
}

/* A number of a million digits is none, and nothing beside it changes. */
static void a_number_that_is_none(void **state)
{
	const size_t n = 1000000;
	char *text = malloc(n + 3);
	json_t *json;

	(void)state;
	memset(text, '9', n + 3);
	text[0] = '[';
	memcpy(text + n, ",8]", 3);
	json = read_copy(text, n + 3);
	assert_int_equal(json_integer_value(json_array_get(json, 1)), 8);
	json_decref(json);
	free(text);
}

/* Whatever comes: no more than jansson would take, where it takes it. */
static void made_by_chance(void **state)
{
	static const char *const parts[] = {
		"{", "}", "[", "]", ",", ":", "\"", "\\", "\\u0000", "\\ud800", "\\udc00", "u0000", "\"a\"", "\"a\":",
		"99999999999999999999", "9223372036854775807", "-", ".", "e", "0", "1", "true", "null", " ", "\n",
		"\"\\u0000\":", "[100000000000000000000]", "\x80", "\xc3\xa9",
	};
	unsigned seed = 7;
	size_t read = 0, more = 0;

	(void)state;
	for (unsigned round = 0; round < 200000; round++) {
		char text[256] = "[";
		json_t *json, *plain;

		for (unsigned n = (seed = seed * 1103515245 + 12345) >> 16 & 7; n; n--) {
			seed = seed * 1103515245 + 12345;
			strcat(text, parts[(seed >> 16) % (sizeof(parts) / sizeof(*parts))]);
		}
		strcat(text, "]");
		json = read_copy(text, strlen(text));
		plain = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
		if (plain && !json_equal(plain, json))
			fail_msg("%s", text);
		read += json != NULL;
		more += json && !plain;
		json_decref(json);
		json_decref(plain);
	}
	assert_true(read > 1000 && more > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_jansson_does_not_take),
		cmocka_unit_test(what_lies_too_deep),
		cmocka_unit_test(a_number_that_is_none),
		cmocka_unit_test(made_by_chance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
