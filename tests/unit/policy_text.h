/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the tests of user/policy share. After cmocka.h. */
#ifndef SLUICE_TEST_POLICY_TEXT_H
#define SLUICE_TEST_POLICY_TEXT_H

#include <stdio.h>

#include "policy/policy.h"

#define GOLDEN TESTS_DIR "/golden/policy/"

static inline char *printed(const struct sl_policy *policy)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	assert_int_equal(sl_policy_print(policy, out), 0);
	fclose(out);
	return text;
}

static inline char *diagnostics(const struct sl_diag *diag)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	sl_diag_print(diag, out);
	fclose(out);
	return text;
}

#endif
