// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "corpus.h"
#include "../fuzz/tinyproxy.c"

static void tinyproxy_filters(void **state)
{
	run_corpus(TESTS_DIR "/fuzz/corpus/tinyproxy", LLVMFuzzerTestOneInput);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(tinyproxy_filters)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
