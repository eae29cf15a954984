// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "corpus.h"
#include "../fuzz/dns.c"

static void dns_messages(void **state)
{
	run_corpus(TESTS_DIR "/fuzz/corpus/dns", LLVMFuzzerTestOneInput);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(dns_messages)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
