// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Audit sinks at work: files, rotations, a new configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sink_spec.h"
#include "sinks_lab.h"

static void test_rotation_by_size(void **state)
{
	struct lab *lab = *state;
	__u64 next, lost = 0;
	struct stat st;
	char path[256];

	assert_int_equal(SET(lab, "file:%s/a,rotate=4K,keep=3,mode=0600"), 0);
	put(lab, 200);
	settle(lab, 0);
	assert_true(stats(lab, 0).rotations >= 4);
	assert_false(exists(lab, "a.4"));
	path_of(lab, "a.1", path);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size <= 4096 && st.st_size > 3900 && (st.st_mode & 0777) == 0600);
	/* the three that are kept and the one that is written end to end */
	path_of(lab, "a.3", path);
	{
		FILE *in = fopen(path, "r");
		char line[512];
		json_t *j;

		assert_non_null(fgets(line, sizeof(line), in));
		j = json_loads(line, 0, NULL);
		next = (__u64)json_integer_value(json_object_get(j, "seq"));
		json_decref(j);
		fclose(in);
	}
	next = read_file(lab, "a.3", next, &lost);
	next = read_file(lab, "a.2", next, &lost);
	next = read_file(lab, "a.1", next, &lost);
	assert_true(read_file(lab, "a", next, &lost) == sl_sinks_next(lab->sinks) && !lost);
}

static void wait_rotations(struct lab *lab, __u64 n)
{
	for (int ms = 0; stats(lab, 0).rotations < n; ms++) {
		assert_true(ms < 10000);
		usleep(1000);
	}
}

/* A clock that jumps a day forth, and back, rotates once each. */
static void test_rotation_by_time(void **state)
{
	static const int jumps[] = {0, 60, 86400, -86400, 0};
	struct lab *lab = *state;
	__u64 lost = 0, next;

	assert_int_equal(SET(lab, "file:%s/a,every=1h,keep=9"), 0);
	put(lab, 3);
	settle(lab, 0);
	for (size_t i = 0; i < sizeof(jumps) / sizeof(*jumps); i++) {
		lab->clock_s += jumps[i];
		put(lab, 3);
		settle(lab, 0);
	}
	assert_true(stats(lab, 0).rotations == 2);
	lab->clock_s += 3600;	/* without a record: the hour's end is seen all the same */
	wait_rotations(lab, 3);
	next = read_file(lab, "a.3", 0, &lost);
	next = read_file(lab, "a.2", next, &lost);
	next = read_file(lab, "a.1", next, &lost);
	assert_true(next == sl_sinks_next(lab->sinks) && !lost);
}

/* logrotate: rename and SIGUSR1; rename alone; copytruncate. */
static void test_rotation_by_others(void **state)
{
	struct lab *lab = *state;
	char from[256], to[256];
	__u64 lost = 0, next;

	path_of(lab, "a", from);
	path_of(lab, "a.old", to);
	assert_int_equal(SET(lab, "file:%s/a"), 0);
	put(lab, 5);
	settle(lab, 0);
	assert_int_equal(rename(from, to), 0);
	sl_sinks_reopen(lab->sinks);
	put(lab, 5);
	settle(lab, 0);
	next = read_file(lab, "a.old", 0, &lost);
	assert_true(next == 6);
	assert_true(read_file(lab, "a", next, &lost) == 11 && !lost);

	path_of(lab, "a.older", to);
	assert_int_equal(rename(from, to), 0);	/* and nobody tells us */
	for (int ms = 0; !exists(lab, "a"); ms++) {
		assert_true(ms < 10000);
		usleep(1000);
	}
	put(lab, 5);
	settle(lab, 0);
	assert_true(read_file(lab, "a.older", 6, &lost) == 11);
	assert_true(read_file(lab, "a", 11, &lost) == 16);

	assert_int_equal(truncate(from, 0), 0);
	put(lab, 5);
	settle(lab, 0);
	assert_true(read_file(lab, "a", 16, &lost) == 21 && !lost);	/* no hole of zeros */
}

/* Somebody was killed over it. */
static void test_half_a_line_stays_alone(void **state)
{
	struct lab *lab = *state;
	char path[256], text[16] = "";
	__u64 lost = 0;
	FILE *f;

	path_of(lab, "a", path);
	f = fopen(path, "w");
	fputs("{\"seq\":", f);
	fclose(f);
	SET(lab, "file:%s/a");
	put(lab, 2);
	settle(lab, 0);
	f = fopen(path, "r");
	assert_non_null(fgets(text, sizeof(text), f));
	assert_string_equal(text, "{\"seq\":\n");
	fclose(f);
	f = fopen(path, "r+");	/* a space is nothing to JSON */
	fputs("       ", f);
	fclose(f);
	assert_true(read_file(lab, "a", 0, &lost) == 3);
}

static void test_a_file_that_is_none(void **state)
{
	struct lab *lab = *state;
	char path[256], other[256];

	path_of(lab, "pipe", path);
	path_of(lab, "link", other);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(symlink("/dev/null", other), 0);
	assert_int_equal(SET(lab, "file:%s/pipe", "file:%s/link", "file:%s/none/a"), 3);
	assert_true(stats(lab, 0).failing && stats(lab, 1).failing && stats(lab, 2).failing);
	assert_non_null(strstr(stats(lab, 1).error, "symbolic links"));
	assert_non_null(strstr(stats(lab, 2).error, "No such file"));
	path_of(lab, "none", path);	/* and when it is there */
	put(lab, 3);
	assert_int_equal(mkdir(path, 0700), 0);
	settle(lab, 2);
	assert_false(stats(lab, 2).failing);
	path_of(lab, "none/a", path);
	unlink(path);
	path_of(lab, "none", path);
	/* it is made again by its open file's check only if the folder is there */
	rmdir(path);
}

static void test_reconfiguration_keeps_what_is_the_same(void **state)
{
	struct lab *lab = *state;
	__u64 lost = 0;

	SET(lab, "file:%s/a", "file:%s/b");
	put(lab, 5);
	settle(lab, 0);
	settle(lab, 1);
	SET(lab, "file:%s/c", "file:%s/a");
	put(lab, 5);
	settle(lab, 1);
	assert_true(stats(lab, 1).written == sl_sinks_next(lab->sinks));	/* since ever */
	assert_true(read_file(lab, "a", 0, &lost) == sl_sinks_next(lab->sinks));
	assert_true(read_file(lab, "b", 0, &lost) == 6);
	for (int ms = 0; stats(lab, 0).written < 6; ms++) {
		assert_true(ms < 10000);
		usleep(1000);
	}
	assert_true(read_file(lab, "c", 6, &lost) == sl_sinks_next(lab->sinks) && !lost);
}

static void test_what_is_no_record_is_a_gap(void **state)
{
	struct lab *lab = *state;
	char *big = malloc(70000);
	__u64 lost = 0;

	memset(big, 'x', 69999);
	big[69999] = 0;
	SET(lab, "file:%s/a");
	sl_sinks_put(lab->sinks, json_pack("{s:s}", "event", big), SL_LEVEL_INFO);
	sl_sinks_put(lab->sinks, json_integer(3), SL_LEVEL_INFO);
	sl_sinks_put(lab->sinks, NULL, SL_LEVEL_INFO);
	put(lab, 1);
	free(big);
	for (int ms = 0; stats(lab, 0).queued || stats(lab, 0).written < 2; ms++) {
		assert_true(ms < 10000);
		usleep(1000);
	}
	assert_true(read_file(lab, "a", 0, &lost) == 5 && lost == 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rotation_by_size, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rotation_by_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rotation_by_others, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_a_line_stays_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_file_that_is_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reconfiguration_keeps_what_is_the_same, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_what_is_no_record_is_a_gap, setup, teardown),
	};

	return cmocka_run_group_tests_name("sinks hub", tests, NULL, NULL);
}
