// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* user/daemon/given: the table that all targets of a policy have in common is, to the byte, the
 * one that each would have been compiled; also after rules were changed. */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/given.h"
#include "target/cgroup_policy.h"

static struct sl_cidr address = {.family = 4, .len = 32, .addr = {203, 0, 113, 9}};
static const struct sl_environment elsewhere = {
	.gateway = &address, .n_gateway = 1, .subnet = &address, .n_subnet = 1,
	.host = &address, .n_host = 1, .resolvers = &address, .n_resolvers = 1,
};

/* What a target in that network would get, compiled for itself. */
static void compile_fresh(const char *text, const struct sl_environment *env, __u64 generation,
			  bool enforce, struct sl_compiled *out)
{
	const struct sl_compile_options compile = {.generation = generation,
						   .boot_epoch_ns = sl_boot_epoch_ns()};
	const struct sl_resolve_options options = {.trust_clock = true, .env = env};
	struct sl_policy *parsed, *resolved;
	struct sl_diag diag = {};

	assert_int_equal(sl_policy_parse(text, strlen(text), "p.yaml", SL_PARSE_POLICY, &parsed,
					 &diag), 0);
	/* rules of its own: not lent, as a given policy's are */
	assert_int_equal(sl_resolve(parsed, "p.yaml", &options, &resolved, &diag), 0);
	if (enforce)
		resolved->mode = SL_MODE_ENFORCE;
	assert_int_equal(sl_compile(resolved, &compile, out, &diag), 0);
	sl_policy_free(resolved);
	sl_policy_free(parsed);
	sl_diag_free(&diag);
}

static void assert_same(struct sl_given *given, const char *text, const struct sl_environment *env,
			__u64 generation)
{
	struct sl_compiled fresh;
	struct sl_table table;

	compile_fresh(text, env, generation, given->attach.enforce, &fresh);
	fresh.table.words[SL_H_FLAGS] |= SL_F_MANAGED;
	table = sl_given_table_for(given, generation, SL_F_MANAGED);
	assert_int_equal(fresh.n_patterns, 0);
	assert_int_equal(table.n_words, fresh.table.n_words);
	assert_memory_equal(table.words, fresh.table.words, table.n_words * sizeof(*table.words));
	sl_compiled_free(&fresh);
}

static int load(struct sl_given *given, const char *text, bool enforce)
{
	const struct sl_attach_options options = {.enforce = enforce, .trust_clock = true};
	struct sl_diag diag = {};
	int err = sl_given_load_text(given, &options, text, strlen(text), "p.yaml", &diag);

	sl_diag_free(&diag);
	return err;
}

/* Every policy of the golden files that can be loaded: what is held to mean the same for all does. */
static void golden_policies_mean_what_they_mean_elsewhere(void **state)
{
	unsigned common = 0, own = 0;
	glob_t found;

	assert_int_equal(glob(TESTS_DIR "/golden/policy/*.in", 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct sl_given given = {.of_cgroup = true};
		struct sl_diag diag = {};
		size_t len;
		char *text;

		if (sl_file_read(found.gl_pathv[i], SL_POLICY_BYTES_MAX, NULL, &text, &len, &diag)) {
			sl_diag_free(&diag);
			continue;
		}
		if (strlen(text) == len && !load(&given, text, i % 2)) {
			common += given.common.outline != NULL;
			own += !given.common.outline;
			if (given.common.outline) {
				assert_same(&given, text, &elsewhere, 7);
				assert_same(&given, text, &elsewhere, 8 + i);
			}
		}
		sl_given_free(&given);
		sl_diag_free(&diag);
		free(text);
	}
	globfree(&found);
	print_message("%u have one table for all, %u have not\n", common, own);
	assert_true(common >= 10 && own >= 3);
}

static void what_a_target_decides_has_no_common_table(void **state)
{
	static const char *const own[] = {
		"rules:\n  - allow: \"@gateway\"\n", "rules:\n  - allow: a.example\n",
		"rules:\n  - allow: {to: any, uid: {container: 0}}\n",
		"rules:\n  - allow: {to: any, uid: root}\n",
		"rules:\n  - allow: 10.0.0.1\n    id: x\n    expires: 30d\n",
		"dns: {resolvers: system}\nrules: []\n",
		"inbound:\n  - {from: \"@subnet\", ports: 22, protocol: tcp}\nrules: []\n",
	};
	static const char *const common[] = {
		"rules: []\n", "rules:\n  - allow: {to: [10.0.0.1, \"2001:db8::/32\"], uid: 5}\n",
		"sets: {s: [10.0.0.0/8]}\nrules:\n  - deny: \"@s\"\n",
		"inbound:\n  - {from: 10.0.0.0/8, ports: 22, protocol: tcp}\nrules: []\n",
	};
	char text[256];

	for (size_t i = 0; i < sizeof(own) / sizeof(*own) + sizeof(common) / sizeof(*common); i++) {
		struct sl_given given = {.of_cgroup = true};
		bool is_own = i < sizeof(own) / sizeof(*own);
		const char *body = is_own ? own[i] : common[i - sizeof(own) / sizeof(*own)];

		snprintf(text, sizeof(text), "sluice: 1\n%s", body);
		if (load(&given, text, false))
			fail_msg("not loaded: %s", text);
		if (!given.common.outline != is_own)
			fail_msg("%s: %s", is_own ? "common" : "no common table", text);
		sl_given_free(&given);
	}
}

/* ---- random policies, whose rules are changed ---- */

static unsigned seed = 20261127;

static unsigned below(unsigned n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 8) % n;
}

static void random_rule(char line[120])
{
	static const char *const protocols[] = {"tcp", "udp", "any"};
	char to[60];

	if (!below(8))
		strcpy(to, "any");
	else if (below(3))
		snprintf(to, sizeof(to), "10.%u.%u.0/%u", below(3), below(4) * 64, 18 + below(7));
	else
		snprintf(to, sizeof(to), "\"2001:db8:%x::/%u\"", below(5), 44 + below(5));
	if (below(6))
		snprintf(line, 120, "  - %s: {to: %s, ports: %u-%u, protocol: %s}\n",
			 below(2) ? "allow" : "deny", to, 1 + below(9), 10 + below(9),
			 protocols[below(2)]);
	else
		snprintf(line, 120, "  - %s: {to: %s, uid: %u}\n", below(2) ? "allow" : "deny", to,
			 below(4));
}

/* What is resolved from one text again and again. */
static struct sl_policy *parse(const char *text)
{
	struct sl_policy *parsed;
	struct sl_diag diag = {};

	assert_int_equal(sl_policy_parse(text, strlen(text), "p.yaml", SL_PARSE_POLICY, &parsed,
					 &diag), 0);
	sl_diag_free(&diag);
	return parsed;
}

static void assert_same_policy(const struct sl_policy *lent, const struct sl_policy *own)
{
	size_t len, own_len;
	char *text = sl_policy_text(lent, &len), *own_text = sl_policy_text(own, &own_len);

	assert_string_equal(text, own_text);
	assert_int_equal(lent->n_items, own->n_items);
	for (size_t i = 0; i < own->n_items; i++) {
		const struct sl_rule *a = lent->items[i].rule, *b = own->items[i].rule;

		assert_string_equal(a->id, b->id);
		assert_int_equal(a->pos.line, b->pos.line);
		assert_int_equal(a->pos.column, b->pos.column);
	}
	free(text);
	free(own_text);
}

/* `rules` of a policy are lent, or not; either way each resolution says what a first one of a
 * text says whose rules are copied, and so does a copying one behind it. */
static void resolve_again(const char *text, bool lent)
{
	static const struct sl_resolve_options options = {.trust_clock = true, .env = &elsewhere};
	struct sl_policy *fresh = parse(text), *parsed = parse(text), *own, *resolved;
	struct sl_diag diag = {};

	assert_int_equal(sl_resolve(fresh, "p.yaml", &options, &own, &diag), 0);
	for (unsigned turn = 0; turn < 3; turn++) {
		int err = turn < 2 ? sl_resolve_lent(parsed, "p.yaml", &options, &resolved, &diag)
				   : sl_resolve(parsed, "p.yaml", &options, &resolved, &diag);

		assert_int_equal(err, 0);
		if (resolved->lent != (lent && turn < 2))
			fail_msg("%slent: %s", lent ? "not " : "", text);
		assert_same_policy(resolved, own);
		sl_policy_free(resolved);
	}
	sl_policy_free(own);
	sl_policy_free(fresh);
	sl_policy_free(parsed);
	sl_diag_free(&diag);
}

static char *joined(char (*rules)[120], size_t n)
{
	char *text = calloc(n + 1, 120);

	assert_non_null(text);
	strcpy(text, "sluice: 1\nname: p\nrules:\n");
	for (size_t i = 0; i < n; i++)
		strcat(text, rules[i]);
	return text;
}

static void lent_rules_say_what_copies_say(void **state)
{
	static const char *const own[] = {
		"  - allow: \"@gateway\"\n", "  - allow: \"@s\"\n", "  - allow: a.example\n",
		"  - allow: {to: any, uid: root}\n",
		"  - allow: 10.0.0.1\n    id: x\n    expires: 30d\n",
	};
	static char rules[60][120];
	char text[256];

	print_message("seed %u\n", seed);
	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++) {
		snprintf(text, sizeof(text), "sluice: 1\nsets: {s: [10.0.0.0/8]}\n%srules:\n"
			 "  - allow: 10.0.0.1:443/tcp\n%s",
			 i == 2 ? "dns: {resolvers: [10.0.0.53]}\n" : "", own[i]);
		resolve_again(text, false);
	}
	/* equal rules have numbers behind their ids, also where one is written */
	resolve_again("sluice: 1\nrules:\n  - allow: 10.0.0.1\n  - allow: 10.0.0.1\n"
		      "  - allow: {to: 10.0.0.1}\n  - deny: 10.0.0.2\n    id: x\n    reason: r\n"
		      "  - allow: 10.0.0.1\n", true);
	for (unsigned round = 0; round < 300; round++) {
		size_t n = 1 + below(60);
		char *all;

		for (size_t i = 0; i < n; i++)
			if (i && !below(4))
				strcpy(rules[i], rules[below((unsigned)i)]);
			else
				random_rule(rules[i]);
		all = joined(rules, n);
		resolve_again(all, true);
		free(all);
	}
}

static void changed_rules_give_what_a_fresh_compile_gives(void **state)
{
	static char rules[60][120];

	print_message("seed %u\n", seed);
	for (unsigned round = 0; round < 30; round++) {
		struct sl_given given = {.of_cgroup = true};
		size_t n = 1 + below(60);
		__u64 meaning = 0;

		for (size_t i = 0; i < n; i++)
			random_rule(rules[i]);
		for (unsigned change = 0; change < 20; change++) {
			char *text = joined(rules, n);

			assert_int_equal(load(&given, text, false), 0);
			assert_non_null(given.common.outline);
			assert_same(&given, text, change % 2 ? &elsewhere : NULL, 1 + change);
			meaning = given.common.meaning;
			assert_int_equal(load(&given, text, false), 0);	/* the same text */
			assert_true(given.common.meaning == meaning);
			strcpy(strstr(text, "rules:"), "rules: [\n");	/* a wrong one changes nothing */
			assert_int_not_equal(load(&given, text, false), 0);
			assert_true(given.common.meaning == meaning);
			free(text);
			random_rule(rules[below(n)]);
		}
		sl_given_free(&given);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_policies_mean_what_they_mean_elsewhere),
		cmocka_unit_test(what_a_target_decides_has_no_common_table),
		cmocka_unit_test(lent_rules_say_what_copies_say),
		cmocka_unit_test(changed_rules_give_what_a_fresh_compile_gives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
