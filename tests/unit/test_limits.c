// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * limits, device and fragments: what each spelling is worth, and the same from the
 * text to the words of the table. The errors are golden files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "compile/compile.h"
#include "resolve/resolve.h"

struct fixture {
	struct sl_policy *parsed, *resolved;
	struct sl_compiled compiled;
	struct sl_diag diag;
};

static void parse(struct fixture *f, const char *text)
{
	memset(f, 0, sizeof(*f));
	if (sl_policy_parse(text, strlen(text), "p.yaml", SL_PARSE_POLICY, &f->parsed, &f->diag)) {
		sl_diag_print(&f->diag, stderr);
		fail_msg("does not parse:\n%s", text);
	}
}

static void compile(struct fixture *f, const char *text)
{
	static const struct sl_environment nothing;
	struct sl_resolve_options resolve = {.env = &nothing, .now_s = 1700000000};
	struct sl_compile_options options = {.generation = 1};

	parse(f, text);
	assert_int_equal(sl_resolve(f->parsed, NULL, &resolve, &f->resolved, &f->diag), 0);
	assert_int_equal(sl_compile(f->resolved, &options, &f->compiled, &f->diag), 0);
}

static void done(struct fixture *f)
{
	if (f->resolved)
		sl_compiled_free(&f->compiled);
	sl_policy_free(f->resolved);
	sl_policy_free(f->parsed);
	sl_diag_free(&f->diag);
}

static void rates_and_sizes_are_worth_what_they_say(void **state)
{
	static const struct {
		const char *rate;
		__u64 average;
	} rates[] = {
		{"1kB/s", 1000}, {"1000B/s", 1000}, {"8000bit/s", 1000}, {"8kbit/s", 1000},
		{"1KiB/s", 1024}, {"500kB/s", 500000}, {"10MB/s", 10000000},
		{"10MiB/s", 10485760}, {"8Mbit/s", 1000000}, {"1Gbit/s", 125000000},
		{"1GB/s", 1000000000}, {"1GiB/s", 1073741824}, {"1Tbit/s", 125000000000},
		{"1TB/s", 1000000000000}, {"1", 1000}, {"10240", 10240000},
		{"1000000000", 1000000000000}, {"\"10240\"", 10240000}, {"8008bit/s", 1001},
	};
	static const struct {
		const char *burst;
		__u64 bytes;
	} bursts[] = {
		{"2048B", 2048}, {"2KiB", 2048}, {"2", 2048}, {"512", 524288}, {"3kB", 3000},
		{"20MiB", 20971520}, {"1MB", 1000000}, {"1GiB", 1073741824}, {"1TiB", 1099511627776},
	};
	struct fixture f;
	char text[128];

	for (size_t i = 0; i < sizeof(rates) / sizeof(*rates); i++) {
		snprintf(text, sizeof(text), "sluice: 1\nlimits: {bandwidth: {in: %s}}\n",
			 rates[i].rate);
		parse(&f, text);
		assert_true(f.parsed->limits.in.average == rates[i].average);
		assert_true(f.parsed->limits.in.peak == 0);
		assert_true(f.parsed->limits.in.burst ==
			    sl_bandwidth_default_burst(rates[i].average));
		assert_true(f.parsed->limits.out.average == 0 && f.parsed->limits.out.burst == 0);
		done(&f);
	}
	for (size_t i = 0; i < sizeof(bursts) / sizeof(*bursts); i++) {
		snprintf(text, sizeof(text),
			 "sluice: 1\nlimits: {bandwidth: {out: 1GB/s, burst: %s}}\n",
			 bursts[i].burst);
		parse(&f, text);
		assert_true(f.parsed->limits.out.burst == bursts[i].bytes);
		assert_true(f.parsed->limits.in.average == 0 && f.parsed->limits.in.burst == 0);
		done(&f);
	}
}

/* The default burst holds the largest frame and stays within its own bounds. */
static void default_bursts_are_within_bounds(void **state)
{
	static const __u64 rates[] = {SL_RATE_MIN, 65536, 1310720, 1310730, 10485760, SL_RATE_MAX};

	for (size_t i = 0; i < sizeof(rates) / sizeof(*rates); i++) {
		__u64 burst = sl_bandwidth_default_burst(rates[i]);

		assert_true(burst >= 128 << 10 && burst >= rates[i] / 10);
		assert_true(burst <= rates[i] * SL_BURST_SECONDS_MAX);
	}
	assert_true(sl_bandwidth_default_burst(10000000) == 3000000);
}

/* Never more in a period than what is written, and not a thousandth less. */
static void connections_are_a_bucket_of_one_period(void **state)
{
	static const struct {
		const char *text;
		__u64 period_ns;
		__u32 burst;
	} cases[] = {
		{"1/s", 1000000000, 1}, {"3/s", 1000000000, 3}, {"50/s", 1000000000, 50},
		{"999983/s", 1000000000, 999983}, {"1000000/s", 1000000000, 1000000},
		{"1/m", 60000000000, 1}, {"30/m", 60000000000, 30}, {"60/m", 60000000000, 60},
		{"1000000/m", 60000000000, 1000000},
	};
	struct fixture f;
	char text[128];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct sl_limits *l;
		__u64 filled;

		snprintf(text, sizeof(text), "sluice: 1\nlimits: {connections: %s}\n",
			 cases[i].text);
		parse(&f, text);
		l = &f.parsed->limits;
		filled = l->flow_interval_ns * l->flow_burst;
		assert_int_equal(l->flow_burst, cases[i].burst);
		assert_true(filled >= cases[i].period_ns);
		assert_true(filled - cases[i].period_ns <= cases[i].period_ns / 1000);
		done(&f);
	}
}

static void limits_reach_the_words_of_the_table(void **state)
{
	struct fixture f;
	const __u64 *words, *l;

	compile(&f, "sluice: 1\nlimits:\n"
		    "  bandwidth: {out: {average: 1MB/s, peak: 2MB/s, burst: 1MiB}, in: 3MB/s}\n"
		    "  connections: 20/s\n");
	words = f.compiled.table.words;
	assert_int_equal(words[SL_H_FLAGS], SL_F_LIMIT_OUT | SL_F_LIMIT_IN | SL_F_LIMIT_FLOWS);
	assert_int_equal(words[SL_H_LIMITS] >> 32, 1);
	assert_int_equal((__u32)words[SL_H_LIMITS] % SL_CHUNK_WORDS, 0);
	l = words + (__u32)words[SL_H_LIMITS];
	assert_true(l[SL_L_OUT_RATE] == 1000000 && l[SL_L_OUT_PEAK] == 2000000);
	assert_true(l[SL_L_OUT_BURST] == 1048576);
	assert_true(l[SL_L_IN_RATE] == 3000000 && l[SL_L_IN_PEAK] == 0);
	assert_true(l[SL_L_IN_BURST] == sl_bandwidth_default_burst(3000000));
	assert_true(l[SL_L_FLOW_NS] == 50000000 && l[SL_L_FLOW_BURST] == 20);
	done(&f);
}

static void each_limit_has_its_flag(void **state)
{
	static const struct {
		const char *text;
		__u64 flags;
		unsigned sections;
	} cases[] = {
		{"", 0, 0},
		{"limits: {}\n", 0, 0},
		{"limits: {bandwidth: {out: 1MB/s}}\n", SL_F_LIMIT_OUT, 1},
		{"limits: {bandwidth: {in: 1MB/s}}\n", SL_F_LIMIT_IN, 1},
		{"limits: {connections: 1/m}\n", SL_F_LIMIT_FLOWS, 1},
		{"fragments: deny\n", 0, 0},
		{"fragments: first-decides\n", SL_F_FRAGMENTS, 0},
		{"device: {arp: deny}\n", SL_F_ARP_DENY, 0},
		{"device: {nd: deny}\n", SL_F_ND_DENY, 0},
		{"device: {dhcp: deny}\n", SL_F_DHCP_DENY, 0},
		{"device: {arp: allow, nd: allow, dhcp: client}\n", 0, 0},
		{"device: {arp: deny, nd: deny, dhcp: deny}\nfragments: first-decides\n",
		 SL_F_ARP_DENY | SL_F_ND_DENY | SL_F_DHCP_DENY | SL_F_FRAGMENTS, 0},
	};
	struct fixture f;
	char text[256];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(text, sizeof(text), "sluice: 1\n%s", cases[i].text);
		compile(&f, text);
		assert_int_equal(f.compiled.table.words[SL_H_FLAGS], cases[i].flags);
		assert_int_equal(f.compiled.table.words[SL_H_LIMITS] >> 32, cases[i].sections);
		done(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rates_and_sizes_are_worth_what_they_say),
		cmocka_unit_test(default_bursts_are_within_bounds),
		cmocka_unit_test(connections_are_a_bucket_of_one_period),
		cmocka_unit_test(limits_reach_the_words_of_the_table),
		cmocka_unit_test(each_limit_has_its_flag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
