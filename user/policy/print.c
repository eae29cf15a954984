// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A policy as canonical YAML. What has its default value is left out, except
 * `default`, which a reader should not have to look up.
 */
#include "print.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "parser.h"

static const char *log_word(enum sl_log log)
{
	return log == SL_LOG_ALL ? "all" : log == SL_LOG_NONE ? "none" : "denied";
}

static void print_inbound(const struct sl_policy *policy, FILE *out)
{
	if (policy->inbound == SL_INBOUND_ALLOW)
		fputs("inbound: allow\n", out);
	if (policy->inbound != SL_INBOUND_LIST)
		return;
	fputs("inbound:\n", out);
	for (size_t i = 0; i < policy->n_inbound; i++) {
		fputs("  - ", out);
		sl_print_match_map(&policy->inbound_matches[i], "from", out);
		putc('\n', out);
	}
}

static void print_settings(const struct sl_policy *policy, FILE *out)
{
	if (policy->name) {
		fputs("name: ", out);
		sl_print_text(policy->name, out);
		putc('\n', out);
	}
	if (policy->mode == SL_MODE_AUDIT)
		fputs("mode: audit\n", out);
	fprintf(out, "default: %s\n", policy->default_action == SL_ALLOW ? "allow" : "deny");
	if (policy->on_deny == SL_DROP)
		fputs("on_deny: drop\n", out);
	if (policy->log == SL_LOG_ALL || policy->log == SL_LOG_NONE)
		fprintf(out, "log: %s\n", log_word(policy->log));
	sl_print_dns(policy, out);
	print_inbound(policy, out);
	if (policy->fragments_first)
		fputs("fragments: first-decides\n", out);
	sl_print_device(&policy->device, out);
	sl_print_limits(&policy->limits, out);
}

/* A set whose file has been read prints as what was in it. */
static void print_set(const struct sl_set *set, FILE *out)
{
	fputs("  ", out);
	sl_print_text(set->name, out);
	putc(':', out);
	if (!set->n_cidrs && set->path) {
		fputs(" {file: ", out);
		sl_print_quoted(set->path, out);
		fputs("}\n", out);
		return;
	}
	fputs(set->n_cidrs ? "\n" : " []\n", out);
	for (size_t i = 0; i < set->n_cidrs; i++) {
		fputs("    - ", out);
		sl_print_cidr(&set->cidrs[i], out);
		putc('\n', out);
	}
}

static void print_options(const struct sl_rule *rule, FILE *out)
{
	char expires[32];

	if (rule->id && rule->id_written) {
		fputs("    id: ", out);
		sl_print_text(rule->id, out);
		putc('\n', out);
	}
	if (rule->reason) {
		fputs("    reason: ", out);
		sl_print_quoted(rule->reason, out);
		putc('\n', out);
	}
	if (rule->expiry != SL_EXPIRES_NEVER) {
		sl_expires_format(rule, expires, sizeof(expires));
		fprintf(out, "    expires: %s\n", expires);
	}
	if (rule->empty_ok)
		fputs("    empty: ok\n", out);
	if (rule->log)
		fprintf(out, "    log: %s\n", log_word(rule->log));
	if (rule->resolves_private)
		fputs("    resolves_to: private\n", out);
	if (rule->sni != SL_SNI_OFF)
		fprintf(out, "    sni: %s\n", rule->sni == SL_SNI_VERIFY ? "verify" : "observe");
}

static void print_item(const struct sl_item *item, FILE *out)
{
	const struct sl_rule *rule = item->rule;

	if (!rule) {
		fputs("  - include: ", out);
		sl_print_quoted(item->include, out);
		putc('\n', out);
		return;
	}
	fprintf(out, "  - %s: ", rule->action == SL_ALLOW ? "allow" : "deny");
	sl_print_matches(rule->matches, rule->n_matches, out);
	putc('\n', out);
	print_options(rule, out);
}

static void print_test(const struct sl_test *test, FILE *out)
{
	fprintf(out, "  - %s: ", test->want == SL_ALLOW ? "allow" : "deny");
	if (test->text[0] == '{')
		fputs(test->text, out);
	else
		sl_print_quoted(test->text, out);
	putc('\n', out);
}

int sl_policy_print(const struct sl_policy *policy, FILE *out)
{
	fputs("sluice: 1\n", out);
	if (!policy->is_fragment)
		print_settings(policy, out);
	if (policy->n_sets)
		fputs("sets:\n", out);
	for (size_t i = 0; i < policy->n_sets; i++)
		print_set(policy->sets[i], out);
	if (policy->n_items)
		fputs("rules:\n", out);
	for (size_t i = 0; i < policy->n_items; i++)
		print_item(&policy->items[i], out);
	if (policy->n_tests)
		fputs("tests:\n", out);
	for (size_t i = 0; i < policy->n_tests; i++)
		print_test(&policy->tests[i], out);
	return fflush(out) || ferror(out) ? -EIO : 0;
}

char *sl_policy_text(const struct sl_policy *policy, size_t *len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, len);
	int err;

	if (!out)
		return NULL;
	err = sl_policy_print(policy, out);
	if (!fclose(out) && !err)
		return text;
	free(text);
	return NULL;
}
