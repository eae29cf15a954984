/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The committed corpus of a fuzzer (tests/fuzz), under the sanitizers: each file as it is,
 * cut at each of its bytes, and with each byte another. `make fuzz` goes on from there. */
#ifndef SLUICE_TESTS_CORPUS_H
#define SLUICE_TESTS_CORPUS_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BYTES_MAX 4096

typedef int fuzz_fn(const uint8_t *data, size_t size);

/* In memory of its own, so that a byte too many is seen. */
static void run(fuzz_fn *fuzz, const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	assert_non_null(copy);
	memcpy(copy, data, size);
	assert_int_equal(fuzz(copy, size), 0);
	free(copy);
}

static void run_all(fuzz_fn *fuzz, uint8_t *data, size_t size)
{
	static const uint8_t others[] = {0, 1, 63, 64, 0xc0, 0xff, '*', '[', '\\', '(', '{', '.'};

	for (size_t n = 0; n <= size; n++)
		run(fuzz, data, n);
	for (size_t i = 0; i < size; i++) {
		uint8_t was = data[i];

		for (size_t k = 0; k < sizeof(others); k++) {
			data[i] = others[k];
			run(fuzz, data, size);
		}
		data[i] = was;
	}
}

static void run_corpus(const char *path, fuzz_fn *fuzz)
{
	static uint8_t data[BYTES_MAX];
	struct dirent *entry;
	DIR *dir = opendir(path);
	char file[512];
	unsigned n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		FILE *in;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		in = fopen(file, "re");
		assert_non_null(in);
		run_all(fuzz, data, fread(data, 1, sizeof(data), in));
		fclose(in);
		n++;
	}
	closedir(dir);
	assert_in_range(n, 3, 10000);
}

#endif
