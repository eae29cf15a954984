// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Alerts: what is remembered, and the file of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alerts/memory.h"
#include "alerts_lab.h"
#include "read_file.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_memory_is_bounded_and_forgets),
		cmocka_unit_test(the_memory_outlives_the_process),
		cmocka_unit_test(half_a_memory_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
