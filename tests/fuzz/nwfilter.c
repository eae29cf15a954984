// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Any bytes as a network filter: refused with an error, or a policy that parses. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "convert/nwfilter.h"

static void must_parse(const struct sl_policy *policy)
{
	struct sl_policy *parsed;
	struct sl_diag diag = {};
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out || sl_policy_print(policy, out) || fclose(out))
		abort();
	if (sl_policy_parse(text, len, "policy", SL_PARSE_POLICY, &parsed, &diag)) {
		fputs(text, stderr);
		sl_diag_print(&diag, stderr);
		abort();
	}
	sl_policy_free(parsed);
	sl_diag_free(&diag);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sl_nwfilter_source source = {(const char *)data, size, "filter"};
	struct sl_nwfilter nwfilter;
	struct sl_diag diag = {};

	if (!sl_nwfilter_read(&source, 1, &nwfilter, &diag)) {
		must_parse(nwfilter.policy);
		sl_nwfilter_free(&nwfilter);
	} else if (!diag.n_errors) {
		abort();
	}
	sl_diag_free(&diag);
	return 0;
}
