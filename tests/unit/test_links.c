// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* user/target/patterns.c: which devices a pattern takes. The monitor itself is
 * tested with real devices (tests/system/test_links.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "target/links.h"

static void test_first_match(void **state)
{
	static const char *const patterns[] = {"vnet1?", "vnet*", "tap[0-9]", "vnet12"};

	(void)state;
	assert_int_equal(sl_link_pattern(patterns, 4, "vnet12"), 0);
	assert_int_equal(sl_link_pattern(patterns, 4, "vnet1"), 1);
	assert_int_equal(sl_link_pattern(patterns, 4, "vnet"), 1);
	assert_int_equal(sl_link_pattern(patterns, 4, "tap3"), 2);
	assert_int_equal(sl_link_pattern(patterns, 4, "tap33"), -1);
	assert_int_equal(sl_link_pattern(patterns, 4, "xvnet0"), -1);
	assert_int_equal(sl_link_pattern(patterns, 0, "vnet0"), -1);
}

static void test_wrong_patterns(void **state)
{
	static const char *const wrong[] = {"", "*", "?", "**?*", "vnet/0", "vnet 0", "eth0:1",
					    "vnet\n*", "vnet\x01*"};
	static const char *const right[] = {"vnet*", "vnet0", "*-tap", "[vt]*", "veth????"};
	char longer[80];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_non_null(sl_link_pattern_wrong(wrong[i]));
	for (size_t i = 0; i < sizeof(right) / sizeof(*right); i++)
		assert_null(sl_link_pattern_wrong(right[i]));
	for (size_t i = 0; i < sizeof(longer); i++)
		longer[i] = i + 1 < sizeof(longer) ? 'v' : 0;
	assert_non_null(sl_link_pattern_wrong(longer));
	longer[64] = 0;
	assert_null(sl_link_pattern_wrong(longer));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_match),
		cmocka_unit_test(test_wrong_patterns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
