/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Audit sinks in a folder of their own, and a clock. After cmocka.h. */
#ifndef SLUICE_TEST_SINKS_LAB_H
#define SLUICE_TEST_SINKS_LAB_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit/record.h"
#include "sink_spec.h"

struct lab {
	char folder[64];
	struct sl_sinks *sinks;
	_Atomic __s64 clock_s;
};

static inline __s64 lab_clock(void *context)
{
	return ((struct lab *)context)->clock_s * 1000000000ll;
}

static inline int setup(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));

	strcpy(lab->folder, "/tmp/sl-sinks-XXXXXX");
	if (!mkdtemp(lab->folder))
		return -1;
	lab->clock_s = 1795670400;	/* 2026-11-26 05:20:00 */
	lab->sinks = sl_sinks_new(lab_clock, lab);
	*state = lab;
	return 0;
}

static inline int teardown(void **state)
{
	struct lab *lab = *state;
	struct dirent *entry;
	DIR *dir = opendir(lab->folder);

	sl_sinks_close(lab->sinks, 1000);
	while (dir && (entry = readdir(dir)))
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(lab->folder);
	free(lab);
	return 0;
}

/* %s is the lab's folder. The number of warnings. */
static inline size_t set(struct lab *lab, size_t n, const char *const *specs)
{
	struct sl_sink_config configs[8] = {};
	struct sl_diag diag = {};
	size_t warnings;
	char spec[256];

	for (size_t i = 0; i < n; i++) {
		const char *at = strstr(specs[i], "%s");

		snprintf(spec, sizeof(spec), "%.*s%s%s", at ? (int)(at - specs[i]) : 255, specs[i],
			 at ? lab->folder : "", at ? at + 2 : "");
		configs[i] = parsed(spec);
	}
	assert_int_equal(sl_sinks_set(lab->sinks, configs, n, false, &diag), 0);
	warnings = diag.n_warnings;
	sl_diag_free(&diag);
	while (n)
		sl_sink_config_free(&configs[--n]);
	return warnings;
}

#define SET(lab, ...) set(lab, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), \
			  (const char *[]){__VA_ARGS__})

static inline void put(struct lab *lab, unsigned n)
{
	char time[40];

	while (n--)
		sl_sinks_put(lab->sinks,
			     json_pack("{s:s, s:s, s:s}", "time", sl_sinks_time(lab->sinks, time),
				       "event", "test", "padding",
				       "0123456789012345678901234567890123456789"),
			     SL_LEVEL_INFO);
}

static inline struct sl_sink_stats stats(struct lab *lab, size_t i)
{
	struct sl_sink_stats s;

	sl_sinks_stats(lab->sinks, i, &s);
	return s;
}

/* Until everything that was put is written or lost. */
static inline void settle(struct lab *lab, size_t i)
{
	struct sl_sink_stats s = stats(lab, i);

	for (int ms = 0; s.written + s.lost < sl_sinks_next(lab->sinks); ms++) {
		assert_true(ms < 10000);
		usleep(1000);
		s = stats(lab, i);
	}
}

static inline void path_of(const struct lab *lab, const char *name, char buf[256])
{
	snprintf(buf, 256, "%s/%s", lab->folder, name);
}

/* The numbers of a file's lines from first on, without a gap; the number after the last. */
static inline __u64 read_file(const struct lab *lab, const char *name, __u64 first, __u64 *lost)
{
	char path[256], *line = NULL;
	size_t size = 0;
	json_t *j;
	FILE *in;

	path_of(lab, name, path);
	in = fopen(path, "r");
	assert_non_null(in);
	while (getline(&line, &size, in) > 0) {
		__u64 seq, from;

		if (line[strspn(line, " \n")] == 0)
			continue;

		j = json_loads(line, 0, NULL);
		assert_non_null(j);
		seq = from = (__u64)json_integer_value(json_object_get(j, "seq"));
		if (!strcmp(sl_record_text(j, "event"), "lost")) {
			from = (__u64)json_integer_value(json_object_get(j, "first"));
			assert_int_equal(json_integer_value(json_object_get(j, "count")),
					 seq - from + 1);
			*lost += seq - from + 1;
		}
		assert_true(from == first);
		first = seq + 1;
		json_decref(j);
	}
	free(line);
	fclose(in);
	return first;
}

static inline bool exists(const struct lab *lab, const char *name)
{
	char path[256];

	path_of(lab, name, path);
	return !access(path, F_OK);
}

#endif
