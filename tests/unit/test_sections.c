// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The sections of a table that no rule makes: a device's binding, and labels. */
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
	struct sl_policy *policy;
	struct sl_compiled compiled;
	struct sl_diag diag;
};

static int compile_text(struct fixture *f, const char *text, const struct sl_binding *binding)
{
	struct sl_compile_options compile = {.generation = 1, .binding = binding};
	struct sl_resolve_options resolve = {.now_s = 1700000000};
	struct sl_policy *parsed = NULL;

	memset(f, 0, sizeof(*f));
	assert_int_equal(sl_policy_parse(text, strlen(text), "p.yaml", SL_PARSE_POLICY, &parsed,
					 &f->diag), 0);
	assert_int_equal(sl_resolve(parsed, NULL, &resolve, &f->policy, &f->diag), 0);
	sl_policy_free(parsed);
	return sl_compile(f->policy, &compile, &f->compiled, &f->diag);
}

static void compile_binding(struct fixture *f, const struct sl_binding *binding)
{
	assert_int_equal(compile_text(f, "sluice: 1\n", binding), 0);
}

static void done(struct fixture *f)
{
	sl_compiled_free(&f->compiled);
	sl_policy_free(f->policy);
	sl_diag_free(&f->diag);
}

/* The chunks of the binding and how many. */
static const __u64 *chunks(const struct fixture *f, size_t *n)
{
	const __u64 *words = f->compiled.table.words;
	__u64 section = words[SL_H_DEVICE];

	*n = section >> 32;
	assert_int_equal((__u32)section % SL_CHUNK_WORDS, 0);
	assert_true((__u32)section + *n * SL_CHUNK_WORDS <= f->compiled.table.n_words);
	return words + (__u32)section;
}

static void cidrs_of(struct sl_cidr *cidrs, const char *const *texts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(sl_cidr_parse(texts[i], strlen(texts[i]), &cidrs[i], NULL), 0);
}

/* ---- the binding as the kernel reads it ---- */

static bool binds_v4(const __u64 *w, size_t n, __u32 address)
{
	for (size_t i = 0; i < 2 * n; i++) {
		__u64 word = w[i / 2 * SL_CHUNK_WORDS + SL_B_V4 + i % 2];

		if ((address & (__u32)word) == word >> 32)
			return true;
	}
	return false;
}

static bool binds_v6(const __u64 *w, size_t n, __u64 high, __u64 low)
{
	for (size_t i = 0; i < n; i++) {
		const __u64 *v = w + i * SL_CHUNK_WORDS + SL_B_V6;

		if ((high & v[2]) == v[0] && (low & v[3]) == v[1])
			return true;
	}
	return false;
}

static void no_binding_no_section(void **state)
{
	struct fixture f;

	compile_binding(&f, NULL);
	assert_int_equal(f.compiled.table.words[SL_H_DEVICE], 0);
	done(&f);
}

/* Nothing bound: one chunk, whose unused places match no address, not even 0. */
static void an_empty_binding_matches_nothing(void **state)
{
	struct sl_binding binding = {0};
	struct fixture f;
	const __u64 *w;
	size_t n;

	compile_binding(&f, &binding);
	w = chunks(&f, &n);
	assert_int_equal(n, 1);
	assert_int_equal(w[SL_B_MAC], 0);
	assert_true(w[SL_B_VLANS] == ~0ull);
	assert_false(binds_v4(w, n, 0) || binds_v4(w, n, 1) || binds_v4(w, n, ~0u));
	assert_false(binds_v6(w, n, 0, 0) || binds_v6(w, n, 0, 1) || binds_v6(w, n, ~0ull, ~0ull));
	done(&f);
}

static void a_mac_is_a_number_with_the_first_byte_highest(void **state)
{
	struct sl_binding binding = {.has_mac = true, .mac = {0x52, 0x54, 0x00, 0x12, 0x34, 0xff}};
	struct fixture f;
	const __u64 *w;
	size_t n;

	compile_binding(&f, &binding);
	w = chunks(&f, &n);
	assert_true(w[SL_B_MAC] == (SL_B_HAS_MAC | 0x5254001234ff));
	done(&f);
	/* A MAC that nobody bound is not in the table. */
	binding.has_mac = false;
	binding.has_addresses = true;
	binding.lease = true;
	compile_binding(&f, &binding);
	w = chunks(&f, &n);
	assert_true(w[SL_B_MAC] == (SL_B_HAS_ADDRESSES | SL_B_LEASE));
	done(&f);
}

static void the_interface_of_the_routes_stands_in_the_macs_place(void **state)
{
	struct sl_binding binding = {.routed6 = true, .upper = 0x12345};
	struct fixture f;
	const __u64 *w;
	size_t n;

	compile_binding(&f, &binding);
	w = chunks(&f, &n);
	assert_true(w[SL_B_MAC] == (SL_B_ROUTED6 | 0x12345));
	done(&f);
	binding.routed6 = false;
	compile_binding(&f, &binding);
	w = chunks(&f, &n);
	assert_true(w[SL_B_MAC] == 0);
	done(&f);
	binding = (struct sl_binding){.has_mac = true, .mac = {2}, .routed4 = true, .upper = 7};
	compile_binding(&f, &binding);
	w = chunks(&f, &n);
	assert_true(w[SL_B_MAC] == (SL_B_HAS_MAC | 2ull << 40));
	done(&f);
}

static struct sl_cidr prefix(const char *text)
{
	struct sl_cidr cidr;
	bool masked;

	assert_int_equal(sl_cidr_parse(text, strlen(text), &cidr, &masked), 0);
	return cidr;
}

/* Behind the binding, in chunks whose number its head says. */
static void what_dhcp_may_say_stands_behind_the_binding(void **state)
{
	const struct sl_cidr networks[] = {prefix("192.0.2.0/24"), prefix("2001:db8::/64"),
					   prefix("192.0.2.0/24")};
	struct sl_cidr taken[9];
	struct sl_binding binding = {.has_addresses = true, .lease = true, .networks = networks,
				     .n_networks = 3, .taken = {taken, taken}, .n_taken = {9, 1}};
	struct fixture f;
	const __u64 *w;
	size_t n;

	for (size_t i = 0; i < 9; i++) {
		taken[i] = prefix("192.0.2.1");
		taken[i].addr[3] += i;
	}
	compile_binding(&f, &binding);
	w = chunks(&f, &n);
	assert_int_equal(n, 1);
	assert_int_equal(w[SL_B_MAC] >> SL_B_LEASING_SHIFT, 3);
	assert_true(w[SL_B_MAC] & SL_B_NETWORK);
	w += SL_CHUNK_WORDS;
	assert_true(w[0] == (0xc0000200ull << 32 | 0xffffff00) && w[1] == 1ull << 32);
	assert_true(w[8] == (0xc0000201ull << 32 | 0xffffffff));
	assert_true(w[16] == (0xc0000209ull << 32 | 0xffffffff) && w[17] == 1ull << 32);
	done(&f);
	binding.n_networks = 0;		/* it is not known: anywhere */
	compile_binding(&f, &binding);
	w = chunks(&f, &n);
	assert_true(w[SL_CHUNK_WORDS] == 0);
	assert_false(w[SL_B_MAC] & SL_B_NETWORK);
	done(&f);
	binding.n_taken[0] = binding.n_taken[1] = 0;
	compile_binding(&f, &binding);
	w = chunks(&f, &n);
	assert_int_equal(w[SL_B_MAC] >> SL_B_LEASING_SHIFT, 0);
	done(&f);
}

static void vlans_stand_beside_each_other(void **state)
{
	struct sl_binding binding = {.vlans = {0, 10, 4094, 7}};
	struct fixture f;

	for (size_t n_vlans = 0; n_vlans <= 4; n_vlans++) {
		const __u64 *w;
		size_t n, found = 0, none = 0;

		binding.n_vlans = n_vlans;
		compile_binding(&f, &binding);
		w = chunks(&f, &n);
		for (int shift = 0; shift < 64; shift += 16) {
			__u16 vid = w[SL_B_VLANS] >> shift;

			none += vid == SL_VID_NONE;
			for (size_t i = 0; i < n_vlans; i++)
				found += vid == binding.vlans[i];
		}
		assert_int_equal(found, n_vlans);
		assert_int_equal(none, 4 - n_vlans);
		done(&f);
	}
}

static void prefixes_bind_what_is_in_them(void **state)
{
	static const char *const texts[] = {"192.0.2.10", "10.1.0.0/16", "0.0.0.0/0", "2001:db8::1",
					    "2001:db8:1::/48", "fe80::5054:ff:fe12:3456",
					    "2001:db8:2::8000:0:0:0/65"};
	struct sl_cidr cidrs[7];
	struct sl_binding binding = {.has_addresses = true, .addresses = cidrs};
	struct fixture f;
	const __u64 *w;
	size_t n;

	cidrs_of(cidrs, texts, 7);
	binding.n_addresses = 2;
	compile_binding(&f, &binding);
	w = chunks(&f, &n);
	assert_int_equal(n, 1);
	assert_true(binds_v4(w, n, 0xc000020a));
	assert_false(binds_v4(w, n, 0xc000020b) || binds_v4(w, n, 0xc0000209));
	assert_true(binds_v4(w, n, 0x0a010000) && binds_v4(w, n, 0x0a01ffff));
	assert_false(binds_v4(w, n, 0x0a00ffff) || binds_v4(w, n, 0x0a020000) || binds_v4(w, n, 0));
	assert_false(binds_v6(w, n, 0x20010db800000000, 1) || binds_v6(w, n, 0, 0));
	done(&f);

	binding.addresses = cidrs + 3;
	binding.n_addresses = 4;
	compile_binding(&f, &binding);
	w = chunks(&f, &n);
	assert_int_equal(n, 4);
	assert_true(binds_v6(w, n, 0x20010db800000000, 1));
	assert_false(binds_v6(w, n, 0x20010db800000000, 2));
	assert_true(binds_v6(w, n, 0x20010db80001ffff, ~0ull));
	assert_false(binds_v6(w, n, 0x20010db800020000, 0));
	assert_true(binds_v6(w, n, 0xfe80000000000000, 0x505400fffe123456));
	assert_true(binds_v6(w, n, 0x20010db800020000, 0xffffffffffffffff));
	assert_false(binds_v6(w, n, 0x20010db800020000, 0x7fffffffffffffff));
	assert_false(binds_v4(w, n, 0) || binds_v4(w, n, 1));
	done(&f);

	/* All of IPv4 is 0 with no bit compared, which is no unused place. */
	binding.addresses = cidrs + 2;
	binding.n_addresses = 1;
	compile_binding(&f, &binding);
	w = chunks(&f, &n);
	assert_true(binds_v4(w, n, 0) && binds_v4(w, n, ~0u));
	done(&f);
}

static void a_binding_has_room_for_sixteen_and_eight(void **state)
{
	struct sl_cidr cidrs[26] = {0};
	struct sl_binding binding = {.has_addresses = true, .addresses = cidrs};
	struct fixture f;
	const __u64 *w;
	size_t n;

	for (size_t i = 0; i < 25; i++)
		cidrs[i] = i % 3 == 2 ? (struct sl_cidr){{0x20, 1, 0xd, 0xb8, [15] = i}, 6, 128}
				      : (struct sl_cidr){{10, 0, 0, i}, 4, 32};
	binding.n_addresses = 24;
	compile_binding(&f, &binding);
	w = chunks(&f, &n);
	assert_int_equal(n, SL_BINDING_V6_MAX);
	for (size_t i = 0; i < 24; i++)
		assert_true(i % 3 == 2 ? binds_v6(w, n, 0x20010db800000000, i)
				       : binds_v4(w, n, 0x0a000000 + i));
	done(&f);

	/* One more of either family is an error, not a smaller binding. */
	binding.n_addresses = 25;
	assert_int_not_equal(compile_text(&f, "sluice: 1\n", &binding), 0);
	assert_non_null(strstr(f.diag.entries[0].message, "at most 16 IPv4 and 8 IPv6"));
	done(&f);
	/* The ninth IPv6 place is the link-local address's. */
	cidrs[24] = cidrs[25] = (struct sl_cidr){{0x20, 1}, 6, 16};
	compile_binding(&f, &binding);
	w = chunks(&f, &n);
	assert_int_equal(n, SL_BINDING_CHUNKS_MAX);
	assert_true(binds_v6(w, n, 0x2001ull << 48, 0));
	done(&f);
	binding.n_addresses = 26;
	assert_int_not_equal(compile_text(&f, "sluice: 1\n", &binding), 0);
	done(&f);
}

/* ---- labels ---- */

static const char with_rules[] = "sluice: 1\nname: a-policy\ndns: {resolvers: [192.0.2.53]}\n"
				 "inbound: [{from: any, ports: 22}]\nrules:\n"
				 "- allow: 10.0.0.1\n  id: first\n- deny: any\n  id: x\n";

static void labels_name_the_policy_and_each_rule(void **state)
{
	struct fixture f;
	const struct sl_table *t = &f.compiled.table;

	assert_int_equal(compile_text(&f, with_rules, NULL), 0);
	assert_string_equal(sl_table_label(t->words, t->n_words, 0), "a-policy");
	for (__u32 i = 0; i < f.compiled.n_rules; i++)
		assert_string_equal(sl_table_label(t->words, t->n_words, 1 + i),
				    f.compiled.rules[i].id);
	assert_null(sl_table_label(t->words, t->n_words, 1 + f.compiled.n_rules));
	assert_null(sl_table_label(t->words, t->n_words, ~0u));
	done(&f);
}

/* Whatever the words are: NULL, or a text that ends within them. */
static void check_labels(const __u64 *words, size_t n)
{
	const char *end = (const char *)(words + n);

	for (__u32 i = 0; i < 12; i++) {
		const char *label = sl_table_label(words, n, i);

		if (label) {
			assert_true(label >= (const char *)words && label < end);
			assert_true(strnlen(label, end - label) < (size_t)(end - label));
		}
	}
	assert_null(sl_table_label(words, n, ~0u));
}

/* Of its own size, so that a reader beyond it is seen. */
static __u64 *copy_of(const struct sl_table *t, size_t n)
{
	__u64 *copy = malloc(n ? n * sizeof(*copy) : 1);

	assert_non_null(copy);
	memcpy(copy, t->words, n * sizeof(*copy));
	return copy;
}

static void a_cut_table_has_no_labels_beyond_its_end(void **state)
{
	struct fixture f;

	assert_int_equal(compile_text(&f, with_rules, NULL), 0);
	for (size_t n = 0; n <= f.compiled.table.n_words; n++) {
		__u64 *cut = copy_of(&f.compiled.table, n);

		check_labels(cut, n);
		free(cut);
	}
	done(&f);
}

static void hostile_words_give_no_label_beyond_the_end(void **state)
{
	static const __u64 hostile[] = {0, 1, ~0ull, 1ull << 32, ~0ull << 32, 0xffffffff,
					0x0000000200000001, 0x7fffffff7fffffff};
	struct fixture f;
	size_t n;
	__u64 *words;

	assert_int_equal(compile_text(&f, with_rules, NULL), 0);
	n = f.compiled.table.n_words;
	words = copy_of(&f.compiled.table, n);
	for (size_t at = 0; at < n; at++) {
		__u64 was = words[at];

		for (size_t i = 0; i < sizeof(hostile) / sizeof(*hostile); i++) {
			words[at] = hostile[i];
			check_labels(words, n);
		}
		words[at] = was;
	}
	/* The section at the very end, and no NUL in it. */
	words[SL_H_LABELS] = 2ull << 32 | (n - 2);
	words[n - 2] = words[n - 1] = 0x6161616161616161;
	words[SL_H_RULES] = 10;
	check_labels(words, n);
	assert_null(sl_table_label(words, n, 0));
	/* And empty, at the end of the words. */
	words[SL_H_LABELS] = n;
	check_labels(words, n);
	free(words);
	done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_binding_no_section),
		cmocka_unit_test(an_empty_binding_matches_nothing),
		cmocka_unit_test(a_mac_is_a_number_with_the_first_byte_highest),
		cmocka_unit_test(the_interface_of_the_routes_stands_in_the_macs_place),
		cmocka_unit_test(what_dhcp_may_say_stands_behind_the_binding),
		cmocka_unit_test(vlans_stand_beside_each_other),
		cmocka_unit_test(prefixes_bind_what_is_in_them),
		cmocka_unit_test(a_binding_has_room_for_sixteen_and_eight),
		cmocka_unit_test(labels_name_the_policy_and_each_rule),
		cmocka_unit_test(a_cut_table_has_no_labels_beyond_its_end),
		cmocka_unit_test(hostile_words_give_no_label_beyond_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
