// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The compiler: what it warns of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "compile_lab.h"

static void test_unreachable(void **state)
{
	struct fixture f;

	assert_int_equal(compile_text(&f, "sluice: 1\nrules:\n"
		"- deny: 10.0.0.0/8\n  id: wide\n"
		"- allow: 10.1.0.0/16:443\n  id: hidden\n"
		"- allow: 192.0.2.1\n  id: used\n"
		"- allow: any:53/udp\n  id: any-used\n"
		"- allow: 192.0.2.1\n  id: twin\n"
		"- deny: any\n  id: all\n"
		"- allow: 203.0.113.1\n  id: after-all\n"), 0);
	assert_true(says(&f, "rule 'hidden' can never match: 'wide' in line 3"));
	assert_true(says(&f, "rule 'twin' says the same as 'used' in line 7"));
	assert_true(says(&f, "rule 'after-all' can never match: 'all' in line 13"));
	assert_false(says(&f, "rule 'used'"));
	assert_false(says(&f, "rule 'any-used'"));
	done(&f);
}

static void test_hidden_by_several(void **state)
{
	struct fixture f;

	assert_int_equal(compile_text(&f, "sluice: 1\nrules:\n"
		"- deny: 10.0.0.0/9\n- deny: 10.128.0.0/9\n- allow: 10.0.0.0/8\n  id: both\n"
		"- deny: ['0.0.0.0/0', '::/0']\n  id: everything\n- allow: any:80\n  id: base\n"), 0);
	assert_true(says(&f, "rule 'both' can never match"));
	assert_true(says(&f, "rule 'base' can never match"));
	done(&f);
}

static void test_warnings(void **state)
{
	struct fixture f;

	assert_int_equal(compile_text(&f, "sluice: 1\nrules:\n- allow: any:80/tcp\n"), 0);
	assert_true(says(&f, "the metadata service at 169.254.169.254 can be reached"));
	done(&f);
	assert_int_equal(compile_text(&f, "sluice: 1\nrules:\n- deny: '@metadata'\n"
					  "- allow: {to: any, ports: 443, uid: 13}\n  id: p\n"), 0);
	assert_false(says(&f, "metadata"));
	assert_true(says(&f, "rule 'p' is for one user only"));
	done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unreachable),
		cmocka_unit_test(test_hidden_by_several),
		cmocka_unit_test(test_warnings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
