// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A rule that is read in one step (user/policy/short_rule.c) is the rule that it would have been:
 * random rules are read twice, once with a comment behind each, which sends them the long way, and
 * every part, place and message is compared. SLUICE_SEED=N repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "policy/policy.h"
#include "random_below.h"

#define RULES_MAX 8
#define TEXT_MAX 2048

#define N(words) (unsigned int)(sizeof(words) / sizeof(*(words)))
/* The lists below begin with n words that are right. */
#define PICK(words, n) ((words)[below(right ? (n) : N(words))])

struct reading {
	struct sl_policy *policy;
	struct sl_diag diag;
	int err;
};

static void read_policy(struct reading *r, const char *text)
{
	*r = (struct reading){};
	r->err = sl_policy_parse(text, strlen(text), "t", SL_PARSE_POLICY, &r->policy, &r->diag);
}

static void forget(struct reading *r)
{
	sl_policy_free(r->policy);
	sl_diag_free(&r->diag);
}

/* Names of files are each diag's own. */
static void assert_same_place(const struct sl_pos *a, const struct sl_pos *b)
{
	assert_string_equal(a->file, b->file);
	assert_int_equal(a->line, b->line);
	assert_int_equal(a->column, b->column);
}

static void assert_same_match(const struct sl_match *a, const struct sl_match *b)
{
	assert_same_place(&a->pos, &b->pos);
	assert_int_equal(a->n_hosts, b->n_hosts);
	assert_int_equal(a->n_ports, b->n_ports);
	assert_int_equal(a->n_protocols, b->n_protocols);
	assert_int_equal(a->n_uids, b->n_uids);
	assert_int_equal(a->has_icmp, b->has_icmp);
	assert_int_equal(a->icmp_code, b->icmp_code);
	for (size_t i = 0; i < a->n_hosts; i++) {
		assert_int_equal(a->hosts[i].kind, b->hosts[i].kind);
		assert_memory_equal(&a->hosts[i].cidr, &b->hosts[i].cidr, sizeof(a->hosts->cidr));
		assert_same_place(&a->hosts[i].pos, &b->hosts[i].pos);
	}
	if (a->n_ports)
		assert_memory_equal(a->ports, b->ports, a->n_ports * sizeof(*a->ports));
	if (a->n_protocols)
		assert_memory_equal(a->protocols, b->protocols,
				    a->n_protocols * sizeof(*a->protocols));
}

static void assert_same_rule(struct sl_rule *a, struct sl_rule *b)
{
	assert_same_place(&a->pos, &b->pos);
	assert_int_equal(a->action, b->action);
	assert_int_equal(a->expiry, b->expiry);
	assert_int_equal(a->n_matches, b->n_matches);
	for (size_t i = 0; i < a->n_matches; i++)
		assert_same_match(&a->matches[i], &b->matches[i]);
	assert_null(a->id);
	assert_int_equal(sl_rule_take_default_id(a), 0);
	assert_int_equal(sl_rule_take_default_id(b), 0);
	assert_string_equal(a->id, b->id);
}

static void assert_same_messages(const struct sl_diag *a, const struct sl_diag *b)
{
	assert_int_equal(a->n, b->n);
	for (size_t i = 0; i < a->n; i++) {
		assert_int_equal(a->entries[i].severity, b->entries[i].severity);
		assert_string_equal(a->entries[i].message, b->entries[i].message);
		assert_same_place(&a->entries[i].pos, &b->entries[i].pos);
	}
}

/* How many of the rules were read in one step. */
static size_t compare(const char *quick, const char *slow)
{
	struct reading a, b;
	size_t n_short = 0;

	read_policy(&a, quick);
	read_policy(&b, slow);
	assert_int_equal(a.err, b.err);
	assert_same_messages(&a.diag, &b.diag);
	if (!a.err) {
		assert_int_equal(a.policy->n_items, b.policy->n_items);
		for (size_t i = 0; i < a.policy->n_items; i++) {
			n_short += a.policy->items[i].rule->short_form;
			assert_false(b.policy->items[i].rule->short_form);
			assert_same_rule(a.policy->items[i].rule, b.policy->items[i].rule);
		}
	}
	forget(&a);
	forget(&b);
	return n_short;
}

/* right: nothing is wrong with it, or to be said of it. */
static void make_rule(char *rule, size_t size, bool right)
{
	static const char *const hosts[] = {
		"10.0.0.1", "10.1.0.0/16", "0.0.0.0/0", "255.255.255.255", "10.0.0.1/32",
		"[2001:db8::1]", "[2001:db8::/32]", "[2001:db8::1/128]", "any",
		"10.0.0.1/8", "010.0.0.1", "10.0.0", "256.0.0.1", "10.0.0.1/33", "2001:db8::1", "2001:db8::/32", "[::ffff:10.0.0.1]",
		"[64:ff9b::a00:1]", "[2001:db8::1/32]", "[10.0.0.1]", "[::", "example.com", "",
	};
	static const char *const ports[] = {
		"", "", ":443", ":1", ":65535", ":80-90", ":443-443", ":80,443", ":0", ":65536",
		":0443", ":90-80", ":", ":80-", ":4294967739", ":x",
	};
	static const char *const protocols[] = {
		"", "", "/tcp", "/udp", "/sctp", "/icmp", "/icmpv6", "/any", "/", "/TCP", "/6",
		"/tcp/udp", "/tc",
	};
	static const char *const quotes[] = {"\"", "\"", "'", ""};
	const char *host = PICK(hosts, 9);
	const char *quote = *host == '[' || !*host ? "\"" : PICK(quotes, 4);

	snprintf(rule, size, "  - %s: %s%s%s%s%s", below(3) ? "allow" : "deny", quote, host,
		 PICK(ports, 8), PICK(protocols, 5), quote);
}

static void random_rules_are_what_they_were(void **unused)
{
	const char *seed = getenv("SLUICE_SEED");
	size_t n_short = 0;

	(void)unused;
	state = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
	print_message("SLUICE_SEED=%llu\n", (unsigned long long)state);
	state = state * 2 + 1;
	for (int round = 0; round < 10000; round++) {
		char quick[TEXT_MAX] = "sluice: 1\nrules:\n", slow[TEXT_MAX], rule[256];
		size_t a = strlen(quick), b = strlen(quick);

		bool right = below(2);

		strcpy(slow, quick);
		for (unsigned int n = below(RULES_MAX) + 1; n; n--) {
			make_rule(rule, sizeof(rule), right);
			a += (size_t)snprintf(quick + a, sizeof(quick) - a, "%s\n", rule);
			b += (size_t)snprintf(slow + b, sizeof(slow) - b, "%s # c\n", rule);
		}
		n_short += compare(quick, slow);
	}
	assert_true(n_short > 10000);
}

/* Is the one rule of a text that is right read in one step? */
static bool is_short(const char *rules)
{
	struct reading r;
	char text[512];
	bool yes;

	snprintf(text, sizeof(text), "sluice: 1\nrules:\n%s", rules);
	read_policy(&r, text);
	assert_int_equal(r.err, 0);
	yes = r.policy->items[0].rule->short_form;
	forget(&r);
	return yes;
}

static void only_what_ends_with_its_line_is_short(void **unused)
{
	(void)unused;
	assert_true(is_short("  - allow: 10.0.0.1\n"));
	assert_true(is_short("  - deny: 10.0.0.0/8:80-90/tcp\n  - allow: any\n"));
	assert_true(is_short("  - allow: \"[2001:db8::1]:443/tcp\"\ndefault: deny\n"));
	assert_true(is_short("- deny: '[2001:db8::/32]'\n"));
	assert_false(is_short("  - allow: 10.0.0.1"));
	assert_false(is_short("  - allow: 10.0.0.1\n    id: x\n"));
	assert_false(is_short("  - allow: \"[2001:db8::1]\"\n    id: x\n"));
	assert_false(is_short("  - allow: 10.0.0.1\n\n    id: x\n"));
	assert_false(is_short("  - allow: 10.0.0.1\n  # c\n    id: x\n"));
	assert_false(is_short("  - allow: 10.0.0.1:80,443\n"));
	assert_false(is_short("  - allow: [10.0.0.1]\n"));
	assert_false(is_short("  - allow: any\n"));
}

/* The rest of the text is then libfyaml's, which counts the same events. */
static void the_long_way_goes_on_behind_one(void **unused)
{
	static const char text[] = "sluice: 1\nrules:\n  - allow: 10.0.0.1\n  - deny: 10.0.0.2\n"
				   "  - allow: \"10.0.0.3\\x2f32\"\n  - deny: 10.0.0.4\n";
	struct reading r;

	(void)unused;
	read_policy(&r, text);
	assert_int_equal(r.err, 0);
	assert_int_equal(r.policy->n_items, 4);
	assert_true(r.policy->items[1].rule->short_form);
	for (size_t i = 0; i < 4; i++) {
		const struct sl_rule *rule = r.policy->items[i].rule;

		assert_int_equal(rule->action, i % 2 ? SL_DENY : SL_ALLOW);
		assert_int_equal(rule->matches->hosts->cidr.addr[3], i + 1);
		assert_int_equal(rule->pos.line, i + 3);
		assert_int_equal(rule->matches->pos.column, i % 2 ? 11 : 12);
	}
	forget(&r);
}

/* Its id is part of it until it has another. */
static void an_id_can_take_the_place_of_its_own(void **unused)
{
	struct sl_rule *rule;
	struct reading r;

	(void)unused;
	read_policy(&r, "sluice: 1\nrules:\n  - allow: 10.0.0.1\n");
	rule = r.policy->items[0].rule;
	assert_int_equal(sl_rule_take_default_id(rule), 0);
	sl_rule_set_id(rule, strdup("other"));
	sl_rule_set_id(rule, strdup("another"));
	assert_string_equal(rule->id, "another");
	sl_match_clear(&rule->matches[0]);
	assert_int_equal(rule->matches[0].n_hosts, 0);
	forget(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_rules_are_what_they_were),
		cmocka_unit_test(only_what_ends_with_its_line_is_short),
		cmocka_unit_test(the_long_way_goes_on_behind_one),
		cmocka_unit_test(an_id_can_take_the_place_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
