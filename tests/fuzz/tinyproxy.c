// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Any bytes as a filter of tinyproxy; the first says how it is meant. What is converted is a
 * policy: it prints, and parses again to the same text.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/tinyproxy.h"

static void require(int holds)
{
	if (!holds)
		abort();
}

static char *print(const struct sl_policy *policy)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	require(out && !sl_policy_print(policy, out) && !fclose(out));
	return text;
}

/* With tests only, or no rules at all, a policy is as good as any. */
static void check(const struct sl_policy *policy)
{
	struct sl_policy *again = NULL;
	struct sl_diag diag = {};
	char *first = print(policy), *second;

	require(!sl_policy_parse(first, strlen(first), "printed", SL_PARSE_POLICY, &again, &diag));
	second = print(again);
	require(!strcmp(first, second));
	sl_policy_free(again);
	sl_diag_free(&diag);
	free(first);
	free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sl_tinyproxy_options options = {};
	struct sl_pos pos = {.file = "filter"};
	struct sl_policy *policy = NULL;
	struct sl_diag diag = {};
	int err;

	if (!size)
		return 0;
	options.type = (enum sl_tinyproxy_type)(data[0] % 3);
	options.default_deny = data[0] & 4;
	err = sl_tinyproxy_read((const char *)data + 1, size - 1, &pos, &options, &policy, &diag);
	require(err == 0 || (err == -EINVAL && diag.n_errors));
	if (!err)
		check(policy);
	sl_policy_free(policy);
	sl_diag_free(&diag);
	return 0;
}
