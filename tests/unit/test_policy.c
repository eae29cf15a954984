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
#include <stdlib.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fts.h>
#include <glob.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "policy/address.h"
#include "policy/keys.h"
#include "policy/policy.h"
#include "policy/text.h"
#include "read_file.h"

#define GOLDEN TESTS_DIR "/golden/policy/"

static char *printed(const struct sl_policy *policy)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	assert_int_equal(sl_policy_print(policy, out), 0);
	fclose(out);
	return text;
}

static char *diagnostics(const struct sl_diag *diag)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	sl_diag_print(diag, out);
	fclose(out);
	return text;
}

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

/* ---- the docs ---- */

/* Cells of a table's row, trimmed; returns how many. */
static int split_row(char *line, char **cells, int max)
{
	int n = 0;

	line[strcspn(line, "\n") - 1] = 0;
	for (char *cell = strtok(line + 1, "|"); cell && n < max; cell = strtok(NULL, "|")) {
		size_t len;

		cell += strspn(cell, " ");
		len = strlen(cell);
		while (len && strchr(" \n", cell[len - 1]))
			cell[--len] = 0;
		if (len || n)
			cells[n++] = cell;
	}
	return n;
}

/* A default of one word in backticks is the word. */
static const char *bare(char *cell)
{
	size_t len = strlen(cell);

	if (len > 2 && cell[0] == '`' && strchr(cell + 1, '`') == cell + len - 1) {
		cell[len - 1] = 0;
		return cell + 1;
	}
	return cell;
}

static void check_part(const struct sl_key *key, const char *since)
{
	char want[128];

	if (!key->later && !sl_key_is_later(key))
		snprintf(want, sizeof(want), "%s", key->part);
	else if (key->later)
		snprintf(want, sizeof(want), "%s (`%s` not enforced yet)", key->part, key->later);
	else
		snprintf(want, sizeof(want), "%s (not enforced yet)", key->part);
	if (strcmp(since, want))
		fail_msg("docs/policy.md, key %s: since \"%s\", keys.c says \"%s\"", key->name,
			 since, want);
}

static const struct sl_key *documented(const struct sl_key_table *table, const char *name,
				       unsigned *seen)
{
	int index = sl_key_find(table, name, strlen(name));

	if (index < 0)
		fail_msg("docs/policy.md: %s has no key %s in keys.c", table->what, name);
	*seen |= 1u << index;
	return &table->keys[index];
}

/* One row: `a`, or `a`, `b`, or `uid: {container: N}`. */
static void check_row(const struct sl_key_table *table, char **cells, int n, unsigned *seen)
{
	char *save, *name = strtok_r(cells[0], "`, ", &save);
	const char *def = bare(cells[2]);
	unsigned container;

	while (name) {
		const struct sl_key *key;

		if (!strcmp(name, "uid:")) {
			key = documented(&sl_keys_uid, "container", &container);
			name = NULL;
		} else {
			key = documented(table, name, seen);
			name = strtok_r(NULL, "`, ", &save);
		}
		if (strcmp(def, key->def))
			fail_msg("docs/policy.md, key %s: default \"%s\", keys.c says \"%s\"",
				 key->name, def, key->def);
		if (n > 3)
			check_part(key, cells[3]);
	}
}

static const struct sl_key_table *table_of(const char *heading)
{
	for (size_t i = 0; sl_key_tables[i]; i++) {
		const char *name = sl_key_tables[i]->heading;

		if (name && !strncmp(heading, name, strlen(name)) &&
		    heading[strlen(name)] == '\n')
			return sl_key_tables[i];
	}
	return NULL;
}

static void keys_are_those_of_the_docs(void **state)
{
	FILE *in = fopen(SOURCE_DIR "/docs/policy.md", "r");
	const struct sl_key_table *table = NULL;
	unsigned seen[16] = {0}, rows = 0;
	char line[1024];

	(void)state;
	assert_non_null(in);
	while (fgets(line, sizeof(line), in)) {
		char *cells[8];
		int n;

		if (line[0] == '#')
			table = table_of(line + strspn(line, "# "));
		if (!table || line[0] != '|' || !strncmp(line, "|---", 4) ||
		    !strncmp(line, "| key", 5))
			continue;
		n = split_row(line, cells, 8);
		assert_true(n >= 3);
		for (size_t i = 0; sl_key_tables[i]; i++) {
			if (sl_key_tables[i] == table)
				check_row(table, cells, n, &seen[i]);
		}
		rows++;
	}
	fclose(in);
	assert_true(rows > 30);
	for (size_t i = 0; sl_key_tables[i]; i++) {
		if (sl_key_tables[i]->heading && seen[i] != (1u << sl_key_tables[i]->n) - 1)
			fail_msg("keys.c: a key of %s is not in docs/policy.md",
				 sl_key_tables[i]->what);
	}
}

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

/* Generous bounds: the build under test is sanitized, the machine is shared. */
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

/* ---- the functions alone ---- */

static void cidrs_contain_each_other(void **state)
{
	static const struct {
		const char *a, *b;
		bool within;
	} cases[] = {
		{"10.1.2.3", "10.0.0.0/8", true},	{"11.1.2.3", "10.0.0.0/8", false},
		{"10.0.0.0/8", "10.0.0.0/8", true},	{"10.0.0.0/7", "10.0.0.0/8", false},
		{"192.0.2.129", "192.0.2.128/25", true}, {"192.0.2.127", "192.0.2.128/25", false},
		{"1.2.3.4", "0.0.0.0/0", true},		{"1.2.3.4", "::/0", false},
		{"::", "0.0.0.0/0", false},		{"2001:db8::1", "2001:db8::/33", true},
		{"2001:db8:8000::", "2001:db8::/33", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sl_cidr a, b;

		assert_int_equal(sl_cidr_parse(cases[i].a, strlen(cases[i].a), &a, NULL), 0);
		assert_int_equal(sl_cidr_parse(cases[i].b, strlen(cases[i].b), &b, NULL), 0);
		assert_int_equal(sl_cidr_within(&a, &b), cases[i].within);
	}
}

/* Some that are addresses, and more that are nearly. */
static void almost_an_address(char text[INET6_ADDRSTRLEN])
{
	static const char letters[] = "0123456789abcdefABCDEF:::::./g";
	__u8 address[16];
	size_t len, at;

	for (int i = 0; i < 16; i++)
		address[i] = rand() % 3 ? 0 : (__u8)rand();
	inet_ntop(AF_INET6, address, text, INET6_ADDRSTRLEN);
	for (int edits = rand() % 4; edits; edits--) {
		len = strlen(text);
		at = (size_t)rand() % (len + 1);
		if (rand() % 2 && len < INET6_ADDRSTRLEN - 1)
			memmove(text + at + 1, text + at, len + 1 - at);
		else if (at == len)
			continue;
		text[at] = letters[(size_t)rand() % (sizeof(letters) - 1)];
	}
}

static void ipv6_is_what_inet_pton_takes_for_it(void **state)
{
	static const char *const edges[] = {"", ":", "::", ":::", "1::", "::1", "1:", ":1",
		"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:7",
		"1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8",
		"1::2::3", "12345::", "::fffff", "::g", "::1.2.3.4", "1.2.3.4::", "::%1"};
	size_t n_edges = sizeof(edges) / sizeof(*edges), addresses = 0;
	char text[INET6_ADDRSTRLEN];
	__u8 wanted[16];

	(void)state;
	for (size_t i = 0; i < 300000; i++) {
		struct sl_cidr cidr = {0};
		bool is;

		if (i < n_edges)
			strcpy(text, edges[i]);
		else
			almost_an_address(text);
		if (strchr(text, '/') || !strchr(text, ':'))
			continue;
		is = inet_pton(AF_INET6, text, wanted) == 1;
		if ((sl_cidr_parse(text, strlen(text), &cidr, NULL) == 0) != is ||
		    (is && (cidr.family != 6 || memcmp(cidr.addr, wanted, 16))))
			fail_msg("\"%s\"", text);
		addresses += is;
	}
	assert_in_range(addresses, 50000, 290000);
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
		cmocka_unit_test(keys_are_those_of_the_docs),
		cmocka_unit_test(a_policy_cut_anywhere_is_an_error_or_a_policy),
		cmocka_unit_test(every_byte_changed_is_an_error_or_a_policy),
		cmocka_unit_test(hidden_bytes_are_found_beside_newlines),
		cmocka_unit_test(large_policies_take_linear_time),
		cmocka_unit_test(too_large_or_too_deep_is_refused),
		cmocka_unit_test(set_files_hold_a_million_lines),
		cmocka_unit_test(set_files_take_comments_and_append),
		cmocka_unit_test(set_files_name_each_wrong_line),
		cmocka_unit_test(cidrs_contain_each_other),
		cmocka_unit_test(ipv6_is_what_inet_pton_takes_for_it),
		cmocka_unit_test(default_ids_follow_the_match_alone),
		cmocka_unit_test(default_ids_are_hashes_of_the_canonical_text),
		cmocka_unit_test(several_hosts_in_a_list_print_as_shorthands),
		cmocka_unit_test(failure_leaves_outputs_untouched),
		cmocka_unit_test(diagnostics_are_bounded_and_show_no_control_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
