// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What an engine answers, under the sanitizers: read, cut off, changed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const char answer[] =
	"[{\"Id\": \"" ID "\", \"Names\": [\"/other/alias\", \"/agent-1\"], \"State\": \"running\","
	" \"Labels\": {\"tier\": \"db\", \"n\": 5}},"
	" {\"Id\": \"" OTHER "\", \"Names\": [\"/x\"], \"Labels\": {\"n\": \"a\\u0000\", \"k\\u0000\": \"\"}},"
	" {\"Id\": \"short\", \"Names\": [\"/x\"]}, 7,"
	" {\"Id\": \"" ID "\", \"Names\": []}]";

static void test_list(void **state)
{
	struct sl_engine_list list = {};
	const char *why = NULL;

	(void)state;
	assert_int_equal(sl_engine_read(answer, sizeof(answer) - 1, &list, &why), 0);
	assert_int_equal(list.n, 2); /* one whose label has a NUL takes nothing from the others */
	assert_int_equal(list.unreadable, 3);
	assert_string_equal(list.list[0].id, ID);
	assert_string_equal(list.list[0].name, "agent-1");
	assert_int_equal(json_object_size(list.list[0].labels), 1);
	assert_string_equal(json_string_value(json_object_get(list.list[0].labels, "tier")), "db");
	sl_engine_list_free(&list);
}

static void test_what_is_none(void **state)
{
	static const char *const texts[] = {"", "{}", "null", "5", "[", "{\"message\": \"no\"}"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct sl_engine_list list = {};
		const char *why = NULL;

		assert_int_equal(sl_engine_read(texts[i], strlen(texts[i]), &list, &why), -EBADMSG);
		assert_non_null(why);
		assert_null(list.list);
	}
}

/* In memory of its own size, so that the sanitizer sees a byte too far. */
static void read_copy(const char *text, size_t len)
{
	struct sl_engine_list list = {};
	const char *why = NULL;
	char *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, text, len);
	if (!sl_engine_read(copy, len, &list, &why))
		sl_engine_list_free(&list);
	free(copy);
}

static void test_cut_off_and_changed(void **state)
{
	char changed[sizeof(answer)];

	(void)state;
	for (size_t len = 0; len < sizeof(answer); len++)
		read_copy(answer, len);
	for (size_t i = 0; i < sizeof(answer) - 1; i++)
		for (int byte = 0; byte < 256; byte += 5) {
			memcpy(changed, answer, sizeof(answer));
			changed[i] = (char)byte;
			read_copy(changed, sizeof(answer) - 1);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_what_is_none),
		cmocka_unit_test(test_cut_off_and_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
