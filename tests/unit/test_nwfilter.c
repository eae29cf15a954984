// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Network filters under the sanitizers: texts cut off and changed at random, and the
 * arithmetic of sets of flows. What is converted and refused: tests/system.
 */
#include <errno.h>
#include <glob.h>
#include <libxml/parser.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "convert/nwfilter_internal.h"
#include "read_file.h"

/* Converts a copy of its very length, so that reading past the end is seen. */
static int convert(const char *text, size_t len)
{
	char *copy = malloc(len ? len : 1);
	struct sl_nwfilter_source source = {copy, len, "test"};
	struct sl_nwfilter nwfilter;
	struct sl_diag diag = {};
	int err;

	assert_non_null(copy);
	memcpy(copy, text, len);
	err = sl_nwfilter_read(&source, 1, &nwfilter, &diag);
	if (err) {
		assert_int_equal(err, -EINVAL);
		assert_true(diag.n_errors > 0);
	} else {
		assert_int_equal(diag.n_errors, 0);
		sl_nwfilter_free(&nwfilter);
	}
	sl_diag_free(&diag);
	free(copy);
	return err;
}

static void for_each_golden(void (*fn)(const char *text, size_t len))
{
	glob_t files;

	assert_int_equal(glob(TESTS_DIR "/golden/nwfilter/*.xml", 0, NULL, &files), 0);
	assert_true(files.gl_pathc >= 8);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		size_t len;
		char *text = read_file(files.gl_pathv[i], &len);

		assert_non_null(text);
		fn(text, len);
		free(text);
	}
	globfree(&files);
}

static void cut(const char *text, size_t len)
{
	size_t whole = len;

	while (whole && text[whole - 1] == '\n')
		whole--;
	for (size_t n = 0; n < whole; n++)
		assert_int_equal(convert(text, n), -EINVAL);
}

static void a_text_cut_off_anywhere_is_refused(void **state)
{
	(void)state;
	for_each_golden(cut);
}

static uint32_t seed = 20261126;

static uint32_t random_number(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

/* Characters that mean something, so that more than the XML parser is reached. */
static void change(const char *text, size_t len)
{
	static const char letters[] = "<>='\"/&;$ \n-0123456789aeinotu.:,";
	char *copy = malloc(len);

	assert_non_null(copy);
	for (int round = 0; round < 400; round++) {
		memcpy(copy, text, len);
		for (uint32_t n = 1 + random_number(3); n; n--)
			copy[random_number((uint32_t)len)] =
				random_number(8) ? letters[random_number(sizeof(letters) - 1)] :
						   (char)random_number(256);
		convert(copy, len);
	}
	free(copy);
}

static void a_text_changed_at_random_is_converted_or_refused(void **state)
{
	(void)state;
	for_each_golden(change);
}

/* ---- sets of flows ---- */

static const int protocols[] = {1, 6, 17};

static struct nw_range some_ports(void)
{
	__u16 low = (__u16)random_number(4);

	return (struct nw_range){low, (__u16)(low + random_number(4))};
}

static struct nw_box some_box(void)
{
	struct nw_box box = nw_box_all(4);

	if (random_number(3))
		nw_box_only(&box, protocols[random_number(3)]);
	if (random_number(3)) {
		box.low = random_number(4);
		box.high = box.low + random_number(4);
	}
	if (random_number(2))
		box.local = some_ports();
	if (!random_number(3))
		box.remote = some_ports();
	if (!random_number(3)) {
		nw_box_only(&box, 1);
		box.icmp_type = (int)random_number(3);
		box.icmp_code = (int)random_number(3) - 1;
	}
	return box;
}

/* One flow, as a box. */
static struct nw_box some_flow(void)
{
	struct nw_box flow = nw_box_all(4);

	nw_box_only(&flow, protocols[random_number(3)]);
	flow.low = flow.high = random_number(9);
	flow.local.low = flow.local.high = (__u16)random_number(9);
	flow.remote.low = flow.remote.high = (__u16)random_number(9);
	flow.icmp_type = (int)random_number(3);
	flow.icmp_code = (int)random_number(2);
	return flow;
}

static void what_is_left_of_a_box_is_in_one_piece(void **state)
{
	struct nw_box pieces[NW_PIECES], box, less, flow;
	int done = 0, in;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		int n;

		box = some_box();
		less = some_box();
		n = nw_box_subtract(&box, &less, pieces);
		if (n < 0)
			continue;
		done++;
		for (int i = 0; i < 20; i++) {
			flow = some_flow();
			in = 0;
			for (int p = 0; p < n; p++)
				in += nw_box_covers(&pieces[p], &flow);
			assert_int_equal(in, nw_box_covers(&box, &flow) &&
						     !nw_box_covers(&less, &flow));
		}
	}
	assert_true(done > 10000);
}

static void boxes_that_share_a_flow_are_not_disjoint(void **state)
{
	int shared = 0;

	(void)state;
	for (int round = 0; round < 100000; round++) {
		struct nw_box a = some_box(), b = some_box(), flow = some_flow();

		if (nw_box_covers(&a, &flow) && nw_box_covers(&b, &flow)) {
			assert_false(nw_box_disjoint(&a, &b));
			shared++;
		}
		if (nw_box_covers(&a, &b) && nw_box_covers(&b, &flow))
			assert_true(nw_box_covers(&a, &flow));
	}
	assert_true(shared > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_cut_off_anywhere_is_refused),
		cmocka_unit_test(a_text_changed_at_random_is_converted_or_refused),
		cmocka_unit_test(what_is_left_of_a_box_is_in_one_piece),
		cmocka_unit_test(boxes_that_share_a_flow_are_not_disjoint),
	};
	int failed = cmocka_run_group_tests_name("nwfilter", tests, NULL, NULL);

	xmlCleanupParser();
	return failed;
}
