// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* user/policy: texts that are cut, changed, large; files of sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "policy/address.h"
#include "policy/policy.h"
#include "policy_text.h"
#include "read_file.h"

/* ---- hostile and large texts ---- */

static int parse_quietly(const char *text, size_t len, size_t *n_items)
{
	struct sl_policy *policy = NULL;
	struct sl_diag diag = {0};
	int err = sl_policy_parse(text, len, "t", SL_PARSE_POLICY, &policy, &diag);

	assert_true(err == 0 || err == -EINVAL);
	assert_int_equal(err == 0, policy != NULL);
	assert_int_equal(err == 0, diag.n_errors == 0);
	assert_true(diag.n <= 100);
	if (n_items)
		*n_items = policy ? policy->n_items : 0;
	sl_policy_free(policy);
	sl_diag_free(&diag);
	return err;
}

static void a_policy_cut_anywhere_is_an_error_or_a_policy(void **state)
{
	static const char *const names[] = {"doc-sample", "json", "rule-options", "match-lists",
					    "hosts", "tests", "strings-quoted", "names",
					    "names-idna", "dns-names", "tests-names"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[256];
		size_t len;
		char *text;

		snprintf(path, sizeof(path), GOLDEN "%s.in", names[i]);
		text = read_file(path, &len);
		assert_non_null(text);
		for (size_t n = 0; n <= len; n++) {
			/* Of its own size, so that reading beyond it is seen. */
			char *cut = malloc(n ? n : 1);

			assert_non_null(cut);
			memcpy(cut, text, n);
			parse_quietly(cut, n, NULL);
			free(cut);
		}
		free(text);
	}
}

static void every_byte_changed_is_an_error_or_a_policy(void **state)
{
	static const char bytes[] = "\0\t\n\r \"'#&*-:?@[]{}|!%~\xff";
	size_t len;
	char *text = read_file(GOLDEN "doc-sample.in", &len);

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < len; i++) {
		char was = text[i];

		for (size_t b = 0; b < sizeof(bytes) - 1; b++) {
			text[i] = bytes[b];
			parse_quietly(text, len, NULL);
		}
		text[i] = was;
	}
	free(text);
}

static double seconds_since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

/* n times a line made by format from three numbers, between head and tail. */
static char *repeated(const char *head, const char *format, size_t n, const char *tail,
		      size_t *len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, len);

	assert_non_null(out);
	fputs(head, out);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	for (size_t i = 0; i < n; i++)
		fprintf(out, format, (unsigned)(i >> 16 & 255), (unsigned)(i >> 8 & 255),
			(unsigned)(i & 255));
#pragma GCC diagnostic pop
	fputs(tail, out);
	fclose(out);
	return text;
}

/* Bytes are checked eight at a time, newlines among them. */
static void hidden_bytes_are_found_beside_newlines(void **state)
{
	static const char text[] = "sluice: 1\n#a\n#a\n#a\n#aa\n\n#a\n\n\n#a\n\n\n\n#a\n#\n#a\n#a\n";

	(void)state;
	for (size_t at = 0; text[at]; at++) {
		for (char byte = 1; text[at] != '\n' && byte < 0x7f; byte++) {
			char copy[sizeof(text)];
			struct sl_policy *policy = NULL;
			struct sl_diag diag = {0};
			bool wanted = byte >= ' ' || byte == '\t';

			if (byte == '\n' || byte == '\r' || (wanted && text[at] != 'a'))
				continue;
			memcpy(copy, text, sizeof(text));
			copy[at] = byte;
			assert_int_equal(sl_policy_parse(copy, strlen(copy), "p", SL_PARSE_POLICY,
							 &policy, &diag), wanted ? 0 : -EINVAL);
			sl_policy_free(policy);
			sl_diag_free(&diag);
		}
	}
}

/* Generous bounds: the build under test is sanitized, the machine is shared. */
static void large_policies_take_linear_time(void **state)
{
	struct timespec start;
	size_t len, n;
	char *text = repeated("sluice: 1\nrules:\n", "  - allow: 10.%u.%u.%u:443/tcp\n", 350000,
			      "", &len);

	(void)state;
	assert_true(len > 10 << 20);
	clock_gettime(CLOCK_MONOTONIC, &start);
	assert_int_equal(parse_quietly(text, len, &n), 0);
	assert_int_equal(n, 350000);
	assert_true(seconds_since(&start) < 20);
	free(text);

	text = repeated("{\"sluice\": 1, \"rules\": [", "{\"allow\": \"10.%u.%u.%u:443\"}, ", 100000,
			"{\"deny\": \"any\"}]}", &len);
	clock_gettime(CLOCK_MONOTONIC, &start);
	assert_int_equal(parse_quietly(text, len, &n), 0);
	assert_int_equal(n, 100001);
	assert_true(seconds_since(&start) < 10);
	free(text);

	text = repeated("sluice: 1\nrules:\n", "  - allow: 10.%u.%u.%u:0\n", 100000, "", &len);
	assert_int_equal(parse_quietly(text, len, &n), -EINVAL);
	free(text);
}

static void too_large_or_too_deep_is_refused(void **state)
{
	size_t len = 10 << 20;
	char *text = malloc(len);

	(void)state;
	assert_non_null(text);
	memset(text, '[', len);
	assert_int_equal(parse_quietly(text, len, NULL), -EINVAL);
	memset(text, 'a', len);
	assert_int_equal(parse_quietly(text, len, NULL), -EINVAL);
	memset(text, '\n', len);
	assert_int_equal(parse_quietly(text, len, NULL), -EINVAL);
	free(text);
	len = (size_t)SL_POLICY_BYTES_MAX + 1;
	text = calloc(1, len);
	assert_non_null(text);
	assert_int_equal(parse_quietly(text, len, NULL), -EINVAL);
	free(text);
}

/* ---- set files ---- */

static void set_files_hold_a_million_lines(void **state)
{
	struct sl_diag diag = {0};
	struct sl_set set = {0};
	struct timespec start;
	size_t len;
	char *text = repeated("", "10.%u.%u.%u\n", 1000000, "", &len);

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &start);
	assert_int_equal(sl_set_parse(text, len, "feed.txt", &set, &diag), 0);
	assert_true(seconds_since(&start) < 10);
	assert_int_equal(set.n_cidrs, 1000000);
	assert_int_equal(diag.n, 0);
	free(text);
	free(set.cidrs);
	sl_diag_free(&diag);
}

static void set_files_take_comments_and_append(void **state)
{
	static const char text[] = "\xef\xbb\xbf# feed\r\n\r\n 192.0.2.1 ; one\r\n\t2001:db8::/32#two\n"
				   "10.1.2.3/8";
	struct sl_diag diag = {0};
	struct sl_set set = {0};
	char buf[SL_CIDR_TEXT];

	(void)state;
	assert_int_equal(sl_set_parse("0.0.0.0/0", 9, "a", &set, &diag), 0);
	assert_int_equal(sl_set_parse(text, sizeof(text) - 1, "b", &set, &diag), 0);
	assert_int_equal(set.n_cidrs, 4);
	assert_string_equal(sl_cidr_format(&set.cidrs[0], buf), "0.0.0.0/0");
	assert_string_equal(sl_cidr_format(&set.cidrs[1], buf), "192.0.2.1");
	assert_string_equal(sl_cidr_format(&set.cidrs[2], buf), "2001:db8::/32");
	assert_string_equal(sl_cidr_format(&set.cidrs[3], buf), "10.0.0.0/8");
	assert_int_equal(diag.n_warnings, 1);
	free(set.cidrs);
	sl_diag_free(&diag);
}

static void set_files_name_each_wrong_line(void **state)
{
	static const char text[] = "192.0.2.1\n300.0.0.1\nexample.com\n  ::ffff:10.0.0.0/104\n"
				   "10.0.0.0/33\n010.0.0.1 # octal\n";
	static const char want[] =
		"s.txt:2:1: error: \"300.0.0.1\" is not an IPv4 address: it wants four numbers "
		"from 0 to 255, as 192.0.2.1\n"
		"s.txt:3:1: error: \"example.com\" is a name, and a set holds addresses: it is "
		"known when the policy is loaded, a name's addresses are not; write the name in "
		"the rule itself\n"
		"s.txt:4:3: error: \"::ffff:10.0.0.0/104\" is an IPv4 address inside an IPv6 "
		"address and is judged as IPv4; write 10.0.0.0/8\n"
		"s.txt:5:1: error: \"10.0.0.0/33\": the prefix length of an IPv4 address is a "
		"number from 0 to 32\n"
		"s.txt:6:1: error: \"010.0.0.1\": a number with a leading zero is read as octal "
		"by some programs; write 10.0.0.1\n";
	struct sl_diag diag = {0};
	struct sl_set set = {0};
	char *got;

	(void)state;
	assert_int_equal(sl_set_parse(text, sizeof(text) - 1, "s.txt", &set, &diag), -EINVAL);
	assert_int_equal(set.n_cidrs, 0);
	got = diagnostics(&diag);
	assert_string_equal(got, want);
	free(got);
	sl_diag_free(&diag);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_policy_cut_anywhere_is_an_error_or_a_policy),
		cmocka_unit_test(every_byte_changed_is_an_error_or_a_policy),
		cmocka_unit_test(hidden_bytes_are_found_beside_newlines),
		cmocka_unit_test(large_policies_take_linear_time),
		cmocka_unit_test(too_large_or_too_deep_is_refused),
		cmocka_unit_test(set_files_hold_a_million_lines),
		cmocka_unit_test(set_files_take_comments_and_append),
		cmocka_unit_test(set_files_name_each_wrong_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
