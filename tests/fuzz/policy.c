// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Any bytes as a policy: parse, print, parse again (the same text comes out),
 * resolve, compile, judge. libFuzzer; `make fuzz TIME=`. What reads files is
 * left out: a fuzzer's input shall not name paths.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compile/device.h"
#include "resolve/resolve.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *print(const struct sl_policy *policy)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	sl_policy_print(policy, out);
	fclose(out);
	return text;
}

static void check_round_trip(const struct sl_policy *policy)
{
	char *once = print(policy), *twice;
	struct sl_policy *again = NULL;
	struct sl_diag diag = {0};

	if (sl_policy_parse(once, strlen(once), "again", SL_PARSE_POLICY, &again, &diag))
		abort();
	twice = print(again);
	if (strcmp(once, twice))
		abort();
	free(once);
	free(twice);
	sl_policy_free(again);
	sl_diag_free(&diag);
}

/* What is resolved prints, and reads back as itself. */
static void check_resolved(const struct sl_policy *resolved, const struct sl_resolve_options *options)
{
	struct sl_policy *parsed = NULL, *again = NULL;
	char *once = print(resolved), *twice;
	struct sl_diag diag = {0};

	if (sl_policy_parse(once, strlen(once), "again", SL_PARSE_POLICY, &parsed, &diag) ||
	    sl_resolve(parsed, NULL, options, &again, &diag))
		abort();
	twice = print(again);
	if (strcmp(once, twice))
		abort();
	free(once);
	free(twice);
	sl_policy_free(parsed);
	sl_policy_free(again);
	sl_diag_free(&diag);
}

/* Each pattern is found by a name that no other is nearer to, and answers. */
static void check_names(const struct sl_compiled *compiled)
{
	char text[SL_PATTERN_BYTES + 2];
	struct sl_question q = {.family = 4, .address_low = 0x01020304, .protocol = 6, .key = 443};
	struct sl_answer answer;
	const char *name;

	for (size_t i = 0; i < compiled->n_patterns; i++) {
		sl_pattern_text(&compiled->patterns[i], text);
		if (text[0] == '*')
			text[0] = 1; /* a label that no pattern has */
		name = text;
		if (sl_names_find(compiled, name) != &compiled->patterns[i] ||
		    !sl_names_question(compiled, name, 1, &answer) ||
		    !sl_names_connection(compiled, &q, &name, 1, &answer))
			abort();
	}
}

/* What is said of it as a device's policy: any, but it ends, and reads no foreign word. */
static void check_device(const struct sl_policy *policy, const struct sl_compiled *compiled,
			 const struct sl_binding *binding)
{
	struct sl_cidr host[] = {{.addr = {10, 1, 0, 1}, .family = 4, .len = 32},
				 {.addr = {0xfe, 0x80, [15] = 1}, .family = 6, .len = 128}};
	struct sl_cidr subnet[] = {{.addr = {10, 1}, .family = 4, .len = 16},
				   {.addr = {0}, .family = 6, .len = 0}};
	struct sl_environment env = {.host = host, .n_host = 2, .subnet = subnet, .n_subnet = 2,
				     .gateway = host, .n_gateway = 2, .of_device = true};
	struct sl_diag diag = {0};

	sl_device_refuse(policy, &diag);
	if (sl_device_review(policy, compiled, &env, binding, 5, &diag) != diag.n_warnings)
		abort();
	env.n_subnet = 0;
	sl_device_review(policy, compiled, &env, NULL, 0, &diag);
	sl_diag_free(&diag);
}

static void check_table(const struct sl_policy *policy, struct sl_diag *diag)
{
	struct sl_compile_options options = {.generation = 1,
					     .boot_epoch_ns = 1000000000000000000ll};
	struct sl_question questions[] = {
		{.family = 4, .address_low = 0x0a000001, .protocol = 6, .key = 443,
		 .has_uid = 1, .uid = 5},
		{.family = 6, .address_high = 0x2002000000000000, .protocol = 17, .key = 53},
		{.family = 6, .address_low = 1, .protocol = 58, .inbound = 1},
	};
	/* Every policy as a device's too: its binding, limits and labels. */
	struct sl_cidr addresses[] = {{.addr = {10}, .family = 4, .len = 8},
				      {.addr = {0xfe, 0x80}, .family = 6, .len = 64}};
	struct sl_binding binding = {.has_mac = true, .mac = {2, 0, 0, 0, 0, 1},
				     .has_addresses = true, .lease = true,
				     .addresses = addresses, .n_addresses = 2,
				     .vlans = {10}, .n_vlans = 1};
	struct sl_compiled compiled;
	struct sl_answer answer;

	options.binding = &binding;
	if (sl_compile(policy, &options, &compiled, diag))
		return;
	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++)
		if (!sl_table_judge(&compiled.table, &questions[i], &answer))
			abort();
	for (size_t i = 0; i < compiled.n_rules; i++) {
		const char *label = sl_table_label(compiled.table.words, compiled.table.n_words,
						   1 + i);

		if (!label || strcmp(label, compiled.rules[i].id))
			abort();
	}
	check_names(&compiled);
	check_device(policy, &compiled, &binding);
	sl_compiled_free(&compiled);
}

static void check(const char *text, size_t size)
{
	struct sl_cidr resolver = {.addr = {192, 0, 2, 53}, .family = 4, .len = 32};
	char *domains[] = {(char *)"corp.example", (char *)"lan"};
	struct sl_environment env = {.resolvers = &resolver, .n_resolvers = 1,
				     .search = domains, .n_search = 2};
	struct sl_resolve_options options = {.trust_clock = true, .now_s = 1700000000,
					     .env = &env};
	struct sl_policy *policy = NULL, *resolved = NULL;
	struct sl_diag diag = {0};

	if (!sl_policy_parse(text, size, "fuzz", SL_PARSE_POLICY, &policy, &diag)) {
		if (!policy->n_unenforced)
			check_round_trip(policy);
		if (!sl_resolve(policy, NULL, &options, &resolved, &diag)) {
			check_resolved(resolved, &options);
			check_table(resolved, &diag);
		}
	}
	sl_policy_free(resolved);
	sl_policy_free(policy);
	sl_diag_free(&diag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (memmem(data, size, "include", 7) || memmem(data, size, "file", 4))
		return 0;
	text = malloc(size + 1);
	memcpy(text, data, size);
	text[size] = 0;
	check(text, size);
	free(text);
	return 0;
}
