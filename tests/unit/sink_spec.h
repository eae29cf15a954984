/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A sink by its text, for the tests of sinks. After cmocka.h. */
#ifndef SLUICE_TEST_SINK_SPEC_H
#define SLUICE_TEST_SINK_SPEC_H

#include "sinks/internal.h"

static struct sl_sink_config parsed(const char *spec)
{
	struct sl_sink_config config;
	struct sl_diag diag = {};

	if (sl_sink_parse(spec, NULL, &config, &diag))
		fail_msg("%s: %s", spec, diag.entries[0].message);
	assert_int_equal(diag.n, 0);
	return config;
}

#endif
