// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The policy parser and printer.
 *
 * tests/golden/policy/N.in gives N.ok (its warnings, then canonical
 * text) or N.fail (diagnostics). A name that begins with `fragment-` is
 * parsed as a fragment. SLUICE_REGEN=1 rewrites the answers: read them after.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fts.h>
#include <glob.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/address.h"
#include "policy/policy.h"
#include "policy/text.h"
#include "policy_text.h"
#include "read_file.h"

/* ---- structural equality, positions aside ---- */

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool same_match(const struct sl_match *a, const struct sl_match *b)
{
	if (a->n_hosts != b->n_hosts || a->n_ports != b->n_ports ||
	    a->n_protocols != b->n_protocols || a->n_uids != b->n_uids ||
	    a->has_icmp != b->has_icmp || a->icmp_type != b->icmp_type ||
	    a->icmp_code != b->icmp_code)
		return false;
	for (size_t i = 0; i < a->n_hosts; i++) {
		if (a->hosts[i].kind != b->hosts[i].kind ||
		    memcmp(&a->hosts[i].cidr, &b->hosts[i].cidr, sizeof(struct sl_cidr)) ||
		    !same_text(a->hosts[i].text, b->hosts[i].text))
			return false;
	}
	for (size_t i = 0; i < a->n_uids; i++) {
		if (a->uids[i].kind != b->uids[i].kind || a->uids[i].number != b->uids[i].number ||
		    !same_text(a->uids[i].name, b->uids[i].name))
			return false;
	}
	for (size_t i = 0; i < a->n_ports; i++) {
		if (a->ports[i].low != b->ports[i].low || a->ports[i].high != b->ports[i].high)
			return false;
	}
	for (size_t i = 0; i < a->n_protocols; i++) {
		if (a->protocols[i] != b->protocols[i])
			return false;
	}
	return true;
}

static bool same_rule(const struct sl_rule *a, const struct sl_rule *b)
{
	if (!a || !b)
		return a == b;
	if (a->action != b->action || a->n_matches != b->n_matches || !same_text(a->id, b->id) ||
	    a->id_written != b->id_written || !same_text(a->reason, b->reason) ||
	    a->expiry != b->expiry || a->expires_s != b->expires_s || a->empty_ok != b->empty_ok ||
	    a->resolves_private != b->resolves_private)
		return false;
	for (size_t i = 0; i < a->n_matches; i++) {
		if (!same_match(&a->matches[i], &b->matches[i]))
			return false;
	}
	return true;
}

static bool same_cidrs(const struct sl_cidr *a, size_t na, const struct sl_cidr *b, size_t nb)
{
	return na == nb && (!na || !memcmp(a, b, na * sizeof(*a)));
}

static bool same_test(const struct sl_test *a, const struct sl_test *b)
{
	return a->want == b->want && !memcmp(&a->address, &b->address, sizeof(a->address)) &&
	       same_text(a->name, b->name) && a->question_only == b->question_only &&
	       a->protocol == b->protocol && a->port == b->port && a->icmp_type == b->icmp_type &&
	       a->icmp_code == b->icmp_code && a->has_uid == b->has_uid && a->uid == b->uid &&
	       same_text(a->text, b->text);
}

static bool same_limits(const struct sl_limits *a, const struct sl_limits *b)
{
	return !memcmp(&a->out, &b->out, sizeof(a->out)) && !memcmp(&a->in, &b->in, sizeof(a->in)) &&
	       a->flow_interval_ns == b->flow_interval_ns && a->flow_burst == b->flow_burst &&
	       a->dns_interval_ns == b->dns_interval_ns && a->dns_burst == b->dns_burst;
}

static bool same_dns(const struct sl_dns *a, const struct sl_dns *b)
{
	if (a->queries != b->queries || a->n_types != b->n_types ||
	    memcmp(a->types, b->types, sizeof(a->types)) || a->ttl_min_s != b->ttl_min_s ||
	    a->ttl_max_s != b->ttl_max_s || a->has_search != b->has_search ||
	    a->n_search != b->n_search || a->forward != b->forward || a->strip != b->strip ||
	    a->has_listen != b->has_listen ||
	    memcmp(&a->listen, &b->listen, sizeof(a->listen)) || !same_text(a->tls, b->tls))
		return false;
	for (size_t i = 0; i < a->n_search; i++) {
		if (!same_text(a->search[i], b->search[i]))
			return false;
	}
	return true;
}

static bool same_settings(const struct sl_policy *a, const struct sl_policy *b)
{
	return same_text(a->name, b->name) && a->mode == b->mode &&
	       a->default_action == b->default_action && a->on_deny == b->on_deny &&
	       a->has_dns == b->has_dns && a->dns_system == b->dns_system &&
	       a->inbound == b->inbound && a->is_fragment == b->is_fragment &&
	       a->fragments_first == b->fragments_first &&
	       !memcmp(&a->device, &b->device, sizeof(a->device)) &&
	       same_limits(&a->limits, &b->limits) && same_dns(&a->dns, &b->dns) &&
	       same_cidrs(a->resolvers, a->n_resolvers, b->resolvers, b->n_resolvers);
}

static bool same_policy(const struct sl_policy *a, const struct sl_policy *b)
{
	if (!same_settings(a, b) || a->n_inbound != b->n_inbound || a->n_sets != b->n_sets ||
	    a->n_items != b->n_items || a->n_tests != b->n_tests)
		return false;
	for (size_t i = 0; i < a->n_inbound; i++) {
		if (!same_match(&a->inbound_matches[i], &b->inbound_matches[i]))
			return false;
	}
	for (size_t i = 0; i < a->n_sets; i++) {
		const struct sl_set *s = a->sets[i], *t = b->sets[i];

		if (!same_text(s->name, t->name) || !same_text(s->path, t->path) ||
		    !same_cidrs(s->cidrs, s->n_cidrs, t->cidrs, t->n_cidrs))
			return false;
	}
	for (size_t i = 0; i < a->n_items; i++) {
		if (!same_text(a->items[i].include, b->items[i].include) ||
		    !same_rule(a->items[i].rule, b->items[i].rule))
			return false;
	}
	for (size_t i = 0; i < a->n_tests; i++) {
		if (!same_test(&a->tests[i], &b->tests[i]))
			return false;
	}
	return true;
}

static void assert_round_trip(const struct sl_policy *policy, const char *name)
{
	enum sl_parse_kind kind = policy->is_fragment ? SL_PARSE_FRAGMENT : SL_PARSE_POLICY;
	struct sl_policy *again = NULL;
	struct sl_diag diag = {0};
	char *first = printed(policy), *second;

	if (sl_policy_parse(first, strlen(first), name, kind, &again, &diag)) {
		sl_diag_print(&diag, stderr);
		fail_msg("%s: the printed policy does not parse:\n%s", name, first);
	}
	if (!same_policy(policy, again))
		fail_msg("%s: the printed policy is another one:\n%s", name, first);
	second = printed(again);
	assert_string_equal(first, second);
	free(first);
	free(second);
	sl_policy_free(again);
	sl_diag_free(&diag);
}

/* ---- golden files ---- */

/* What the parser makes of a file: *ok tells canonical text from diagnostics. */
static char *answer(const char *path, const char *base, bool *ok)
{
	enum sl_parse_kind kind = strncmp(base, "fragment-", 9) ? SL_PARSE_POLICY
								: SL_PARSE_FRAGMENT;
	struct sl_policy *policy = NULL;
	struct sl_diag diag = {0};
	char *text, *result, *messages;
	size_t len;

	text = read_file(path, &len);
	assert_non_null(text);
	*ok = !sl_policy_parse(text, len, base, kind, &policy, &diag);
	free(text);
	assert_int_equal(*ok, policy != NULL);
	assert_int_equal(*ok, !diag.n_errors);
	if (*ok && sl_policy_refuse_unenforced(policy, &diag))
		*ok = false;
	else if (*ok)
		assert_round_trip(policy, base);
	messages = diagnostics(&diag);
	if (*ok) {
		char *canonical = printed(policy);

		assert_true(asprintf(&result, "%s%s", messages, canonical) >= 0);
		free(canonical);
		free(messages);
	} else {
		result = messages;
	}
	sl_policy_free(policy);
	sl_diag_free(&diag);
	return result;
}

static void write_answer(const char *path, const char *other, const char *text)
{
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	fputs(text, out);
	assert_int_equal(fclose(out), 0);
	unlink(other);
}

static void check_golden(const char *path)
{
	char stem[512], want_path[600], other_path[600], base[300];
	char *got, *want, *copy = strdup(path);
	size_t len;
	bool ok;

	snprintf(base, sizeof(base), "%s", basename(copy));
	snprintf(stem, sizeof(stem), "%.*s", (int)strlen(path) - 3, path);
	got = answer(path, base, &ok);
	snprintf(want_path, sizeof(want_path), "%s.%s", stem, ok ? "ok" : "fail");
	snprintf(other_path, sizeof(other_path), "%s.%s", stem, ok ? "fail" : "ok");
	if (getenv("SLUICE_REGEN"))
		write_answer(want_path, other_path, got);
	want = read_file(want_path, &len);
	if (!want)
		fail_msg("%s: no %s; the answer is:\n%s", base, want_path, got);
	if (strcmp(want, got))
		fail_msg("%s: wanted\n%s\ngot\n%s", base, want, got);
	free(want);
	free(got);
	free(copy);
}

static void golden_files_give_their_answers(void **state)
{
	glob_t found;

	(void)state;
	assert_int_equal(glob(GOLDEN "*.in", 0, NULL, &found), 0);
	assert_true(found.gl_pathc >= 60);
	for (size_t i = 0; i < found.gl_pathc; i++)
		check_golden(found.gl_pathv[i]);
	globfree(&found);
}

static void shipped_policies_survive_printing(void **state)
{
	char *const roots[] = {(char *)SOURCE_DIR "/policies", NULL};
	FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	FTSENT *entry;

	(void)state;
	assert_non_null(tree);
	while ((entry = fts_read(tree))) {
		struct sl_policy *policy = NULL;
		struct sl_diag diag = {0};
		size_t len;
		char *text;

		if (entry->fts_info != FTS_F || entry->fts_namelen < 5 ||
		    strcmp(entry->fts_name + entry->fts_namelen - 5, ".yaml"))
			continue;
		text = read_file(entry->fts_path, &len);
		assert_non_null(text);
		if (sl_policy_parse(text, len, entry->fts_path, SL_PARSE_POLICY, &policy, &diag) &&
		    sl_policy_parse(text, len, entry->fts_path, SL_PARSE_FRAGMENT, &policy,
				    &diag)) {
			sl_diag_print(&diag, stderr);
			fail_msg("%s does not parse", entry->fts_path);
		}
		assert_round_trip(policy, entry->fts_path);
		sl_policy_free(policy);
		sl_diag_free(&diag);
		free(text);
	}
	fts_close(tree);
}

static void default_ids_follow_the_match_alone(void **state)
{
	static const char text[] = "{sluice: 1, rules: [{allow: 192.0.2.1/tcp, reason: a}, "
				   "{allow: {to: [192.0.2.1], protocol: 6}, id: x}, "
				   "{deny: 192.0.2.1/tcp}]}";
	struct sl_policy *policy = NULL;
	struct sl_diag diag = {0};
	char ids[3][16];

	(void)state;
	assert_int_equal(sl_policy_parse(text, sizeof(text) - 1, "t", SL_PARSE_POLICY, &policy,
					 &diag), 0);
	assert_null(policy->items[0].rule->id);
	for (int i = 0; i < 3; i++)
		sl_rule_default_id(policy->items[i].rule, ids[i], sizeof(ids[i]));
	assert_int_equal(strlen(ids[0]), strlen("allow-7f3a19"));
	assert_string_equal(ids[0], ids[1]);
	assert_memory_equal(ids[2], "deny-", 5);
	sl_policy_free(policy);
	sl_diag_free(&diag);
}

/* As a resolution leaves them, with a built-in set expanded in place. */
/* What makes the id of most rules without a stream writes what the stream would. */
static void default_ids_are_hashes_of_the_canonical_text(void **state)
{
	static const char *const texts[] = {
		"any", "any:443", "any/tcp", "10.0.0.0/8", "10.20.30.40", "255.255.255.255:1-65535/udp",
		"0.0.0.0/0", "2001:db8::/32", "[2001:db8::1]:443/tcp", "[::]:1,2,3-4/sctp", "::/0",
		"1.2.3.4:1,2,3,4,5,6,7,65535", "1.2.3.4:1,2,3,4,5,6,7,8,9", "::1/icmpv6",
		"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:60000-60001,60010-60011,60020-60021,"
		"60030-60031,60040-60041,60050-60051,60060-60061,60070-60071/tcp", "@private:22",
		"*.example:443", "100.64.0.0/10/icmp",
	};
	struct sl_diag diag = {};
	size_t i;

	(void)state;
	for (i = 0; i < 2 * sizeof(texts) / sizeof(*texts); i++) {
		struct sl_match match = {};
		struct sl_rule rule = {.action = i % 2 ? SL_DENY : SL_ALLOW, .matches = &match,
				       .n_matches = 1};
		char id[16], wanted[16];
		char *canonical;
		__u64 hash;

		if (sl_match_parse(texts[i / 2], (struct sl_pos){}, &match, &diag))
			fail_msg("%s", texts[i / 2]);
		canonical = sl_rule_canonical(&rule);
		assert_non_null(canonical);
		hash = sl_hash(canonical);
		snprintf(wanted, sizeof(wanted), "%s-%06x", i % 2 ? "deny" : "allow",
			 (unsigned int)((hash ^ hash >> 24 ^ hash >> 48) & 0xffffff));
		sl_rule_default_id(&rule, id, sizeof(id));
		assert_string_equal(id, wanted);
		free(canonical);
		sl_match_clear(&match);
	}
	sl_diag_free(&diag);
}

static void several_hosts_in_a_list_print_as_shorthands(void **state)
{
	struct sl_host hosts[3] = {{.kind = SL_HOST_CIDR}, {.kind = SL_HOST_CIDR}, {0}};
	struct sl_port_range port = {443, 443};
	struct sl_match matches[2] = {
		{.hosts = hosts, .n_hosts = 2, .ports = &port, .n_ports = 1, .icmp_code = -1},
		{.hosts = hosts + 2, .n_hosts = 1, .icmp_code = -1},
	};
	struct sl_rule rule = {.action = SL_DENY, .matches = matches, .n_matches = 2};
	char *text;

	(void)state;
	sl_cidr_parse("10.0.0.0/8", 10, &hosts[0].cidr, NULL);
	sl_cidr_parse("fc00::/7", 8, &hosts[1].cidr, NULL);
	text = sl_rule_canonical(&rule);
	assert_string_equal(text, "deny: [\"10.0.0.0/8:443\", \"[fc00::/7]:443\", \"any\"]");
	free(text);
	text = sl_match_canonical(&matches[0]);
	assert_string_equal(text, "{to: [10.0.0.0/8, \"fc00::/7\"], ports: 443}");
	free(text);
}

static void failure_leaves_outputs_untouched(void **state)
{
	struct sl_match match = {.n_ports = 7};
	struct sl_test test = {.port = 7};
	struct sl_policy *policy = (void *)&match;
	struct sl_cidr cidr = {.len = 7};
	struct sl_diag diag = {0};
	struct sl_pos pos = {"-", 0, 0};

	(void)state;
	assert_int_equal(sl_match_parse("10.0.0.0/8:99999", pos, &match, &diag), -EINVAL);
	assert_int_equal(match.n_ports, 7);
	assert_int_equal(sl_flow_parse("example.com:99999", pos, &test, &diag), -EINVAL);
	assert_int_equal(test.port, 7);
	assert_int_equal(sl_cidr_parse("10.0.0.0/33", 11, &cidr, NULL), -ERANGE);
	assert_int_equal(sl_cidr_parse("10.0.0", 6, &cidr, NULL), -EINVAL);
	assert_int_equal(cidr.len, 7);
	assert_int_equal(sl_policy_parse("a", 1, "t", SL_PARSE_POLICY, &policy, &diag), -EINVAL);
	assert_ptr_equal(policy, &match);
	sl_diag_free(&diag);
}

static void diagnostics_are_bounded_and_show_no_control_characters(void **state)
{
	struct sl_diag diag = {0};
	char *text;

	(void)state;
	for (int i = 0; i < 150; i++)
		sl_warn(&diag, NULL, "w%d", i);
	sl_warn(&diag, NULL, "w0"); /* each once */
	sl_error(&diag, NULL, "\x1b[31m\x07 \xff \xe2\x80\xae caf\xc3\xa9");
	assert_int_equal(diag.n, 100);
	assert_int_equal(diag.n_warnings, 151);
	assert_int_equal(diag.n_dropped, 51);
	assert_int_equal(diag.n_errors, 1);
	text = diagnostics(&diag);
	assert_non_null(strstr(text, "error: \\x1b[31m\\x07 \\xff \\xe2\\x80\\xae caf\xc3\xa9\n"));
	free(text);
	sl_diag_free(&diag);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_files_give_their_answers),
		cmocka_unit_test(shipped_policies_survive_printing),
		cmocka_unit_test(default_ids_follow_the_match_alone),
		cmocka_unit_test(default_ids_are_hashes_of_the_canonical_text),
		cmocka_unit_test(several_hosts_in_a_list_print_as_shorthands),
		cmocka_unit_test(failure_leaves_outputs_untouched),
		cmocka_unit_test(diagnostics_are_bounded_and_show_no_control_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
