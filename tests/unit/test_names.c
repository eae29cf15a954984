// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Names in the compiler: patterns, their classes, questions, connections, bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "compile/compile.h"
#include "resolve/resolve.h"

#define EPOCH_NS 1000000000000000000ll	/* boot at Unix second 1,000,000,000 */
#define FIRST_NS 10000000000ull		/* 2001-09-09T01:46:50Z */
#define SECOND_NS 15000000000ull	/* 2001-09-09T01:46:55Z */
#define FIRST "expires: '2001-09-09T01:46:50Z'"
#define SECOND "expires: '2001-09-09T01:46:55Z'"

static struct sl_cidr servers[] = {{.family = 4, .len = 32, .addr = {192, 0, 2, 53}}};
static char *domains[] = {(char *)"corp.example", (char *)"lan"};
static const struct sl_environment with_search = {
	.resolvers = servers, .n_resolvers = 1, .search = domains, .n_search = 2,
};
static const struct sl_environment no_search = {.resolvers = servers, .n_resolvers = 1};

struct fixture {
	struct sl_policy *policy;
	struct sl_compiled compiled;
	struct sl_diag diag;
};

static int compile_in(struct fixture *f, const char *text, const struct sl_environment *env)
{
	struct sl_resolve_options resolve = {.trust_clock = true, .now_s = 1000000001, .env = env};
	struct sl_compile_options compile = {.generation = 7, .boot_epoch_ns = EPOCH_NS};
	struct sl_policy *parsed = NULL;
	int err;

	memset(f, 0, sizeof(*f));
	err = sl_policy_parse(text, strlen(text), "p.yaml", SL_PARSE_POLICY, &parsed, &f->diag);
	if (!err)
		err = sl_resolve(parsed, NULL, &resolve, &f->policy, &f->diag);
	sl_policy_free(parsed);
	return err ? err : sl_compile(f->policy, &compile, &f->compiled, &f->diag);
}

static void compile_ok(struct fixture *f, const char *text)
{
	if (compile_in(f, text, &no_search)) {
		sl_diag_print(&f->diag, stderr);
		fail_msg("not compiled");
	}
}

static void done(struct fixture *f)
{
	sl_compiled_free(&f->compiled);
	sl_policy_free(f->policy);
	sl_diag_free(&f->diag);
}

static bool says(const struct fixture *f, const char *text)
{
	size_t i;

	for (i = 0; i < f->diag.n; i++)
		if (strstr(f->diag.entries[i].message, text))
			return true;
	return false;
}

/* `allow RULE REASON` of an answer. */
static const char *told(const struct fixture *f, const struct sl_answer *a)
{
	static const char *const reasons[] = {
#define WORD(name, word, text) word,
		SL_REASONS(WORD)
#undef WORD
	};
	static char buf[200];

	snprintf(buf, sizeof(buf), "%s %s %s", a->deny ? "deny" : "allow",
		 a->rule == SL_NONE ? "-" : f->compiled.rules[a->rule].id, reasons[a->reason]);
	return buf;
}

static const char *question_at(const struct fixture *f, const char *name, __u64 now_ns)
{
	struct sl_answer a;

	assert_true(sl_names_question(&f->compiled, name, now_ns, &a));
	return told(f, &a);
}

static const char *question(const struct fixture *f, const char *name)
{
	return question_at(f, name, 1);
}

struct flow {
	const char *address;	/* NULL: 203.0.113.1 */
	__u8 protocol;		/* 0: TCP */
	__u16 port;
	const __u32 *uid;
	__u64 now_ns;
	__u64 deadline_ns;	/* is answered */
};

/* owners: names with spaces between them. */
static const char *connection_of(const struct fixture *f, const char *owners, struct flow *flow)
{
	const char *address = flow->address ? flow->address : "203.0.113.1", *list[16];
	struct sl_cidr cidr = {.family = strchr(address, ':') ? 6 : 4};
	char *copy = strdup(owners), *save;
	struct sl_question q = {.protocol = flow->protocol ? flow->protocol : IPPROTO_TCP,
				.key = flow->port, .now_ns = flow->now_ns ? flow->now_ns : 1};
	struct sl_answer a;
	size_t n = 0;

	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		list[n++] = word;
	inet_pton(cidr.family == 6 ? AF_INET6 : AF_INET, address, cidr.addr);
	sl_question_address(&q, &cidr);
	q.has_uid = flow->uid != NULL;
	q.uid = flow->uid ? *flow->uid : 0;
	assert_true(sl_names_connection(&f->compiled, &q, list, n, &a));
	flow->deadline_ns = a.deadline_ns;
	free(copy);
	return told(f, &a);
}

static const char *connection(const struct fixture *f, const char *owners, __u16 port)
{
	struct flow flow = {.port = port};

	return connection_of(f, owners, &flow);
}

static const char *pattern_of(const struct fixture *f, const char *name)
{
	static char buf[SL_PATTERN_BYTES + 2];
	const struct sl_pattern *found = sl_names_find(&f->compiled, name);

	return found ? sl_pattern_text(found, buf) : "-";
}

/* ---- patterns ---- */

static void keys_are_the_name_reversed(void **state)
{
	static const struct {
		const char *name;
		bool suffix;
		const char *data;
		unsigned bytes;
	} cases[] = {
		{"a.bc", false, "cb.a", 5}, {"a.bc", true, "cb.a.", 5}, {"x", false, "x", 2},
		{"", true, "", 0},
	};
	char longest[SL_NAME_CHARACTERS + 1];
	struct sl_pattern p = {};
	char text[SL_PATTERN_BYTES + 2];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		sl_pattern_key(cases[i].name, cases[i].suffix, &p.key);
		assert_int_equal(p.key.prefixlen, 8 * cases[i].bytes);
		assert_string_equal((const char *)p.key.data, cases[i].data);
		snprintf(longest, sizeof(longest), "%s%s%s", cases[i].suffix ? "*" : "",
			 cases[i].suffix && *cases[i].name ? "." : "", cases[i].name);
		assert_string_equal(sl_pattern_text(&p, text), longest);
	}
	memset(longest, 'a', SL_NAME_CHARACTERS);
	longest[SL_NAME_CHARACTERS] = 0;
	sl_pattern_key(longest, false, &p.key);
	assert_int_equal(p.key.prefixlen, 8 * 254);
	sl_pattern_key(longest, true, &p.key);
	assert_int_equal(p.key.prefixlen, 8 * 254);
	assert_int_equal(p.key.data[253], '.');
}

static void patterns_are_sorted_and_found(void **state)
{
	struct fixture f;
	size_t i;

	compile_ok(&f, "sluice: 1\nrules:\n- allow: ['*', '*.b.c', '*.c', x.b.c, b.c, '*.a.b.c']\n");
	assert_int_equal(f.compiled.n_patterns, 6);
	for (i = 1; i < f.compiled.n_patterns; i++) {
		const struct sl_pattern_key *a = &f.compiled.patterns[i - 1].key;
		const struct sl_pattern_key *b = &f.compiled.patterns[i].key;

		assert_true(a->prefixlen < b->prefixlen ||
			    (a->prefixlen == b->prefixlen &&
			     memcmp(a->data, b->data, sizeof(a->data)) < 0));
	}
	assert_string_equal(pattern_of(&f, "x.b.c"), "x.b.c");
	assert_string_equal(pattern_of(&f, "b.c"), "b.c");
	assert_string_equal(pattern_of(&f, "y.b.c"), "*.b.c");
	assert_string_equal(pattern_of(&f, "y.x.b.c"), "*.b.c");
	assert_string_equal(pattern_of(&f, "y.a.b.c"), "*.a.b.c");
	assert_string_equal(pattern_of(&f, "a.b.c"), "*.b.c");
	assert_string_equal(pattern_of(&f, "xb.c"), "*.c");
	assert_string_equal(pattern_of(&f, "c"), "*");
	assert_string_equal(pattern_of(&f, "cc"), "*");
	assert_string_equal(pattern_of(&f, "x.b.c.d"), "*");
	done(&f);
}

static void look_alikes_are_not_covered(void **state)
{
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n- allow: ['*.github.com:443', 'github.com:443']\n  id: g\n");
	assert_string_equal(question(&f, "api.github.com"), "allow g rule");
	assert_string_equal(question(&f, "github.com"), "allow g rule");
	assert_string_equal(question(&f, "evilgithub.com"), "deny - dns-name");
	assert_string_equal(question(&f, "github.com.evil.org"), "deny - dns-name");
	assert_string_equal(question(&f, "github.co"), "deny - dns-name");
	assert_string_equal(question(&f, "hub.com"), "deny - dns-name");
	assert_string_equal(question(&f, "com"), "deny - dns-name");
	assert_string_equal(question(&f, ""), "deny - dns-name");
	done(&f);
}

/* ---- questions ---- */

static void the_first_pattern_in_the_file_decides(void **state)
{
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n"
		       "- deny: evil.a.test\n  id: inside\n"
		       "- allow: '*.a.test:443'\n  id: wide\n"
		       "- deny: '*.b.test'\n  id: all-b\n"
		       "- allow: good.b.test\n  id: hidden\n"
		       "- allow: {to: q.test, ports: 25, protocol: tcp, uid: 5}\n  id: mail\n");
	assert_string_equal(question(&f, "evil.a.test"), "deny inside dns-name");
	assert_string_equal(question(&f, "x.evil.a.test"), "allow wide rule");
	assert_string_equal(question(&f, "good.b.test"), "deny all-b dns-name");
	/* whatever its ports and uid */
	assert_string_equal(question(&f, "q.test"), "allow mail rule");
	assert_true(says(&f, "rule 'hidden' can never match: 'all-b' in line 7"));
	assert_false(says(&f, "rule 'wide'"));
	assert_false(says(&f, "rule 'mail' can never"));
	done(&f);
}

static void queries_default_follows_names_and_default(void **state)
{
	static const struct {
		const char *text;
		bool any;
	} cases[] = {
		{"sluice: 1\nrules: [{allow: a.test}]\n", false},
		{"sluice: 1\nrules: [{deny: a.test}]\n", true},
		{"sluice: 1\ndefault: allow\nrules: [{allow: a.test}]\n", true},
		{"sluice: 1\ndefault: allow\ndns: {queries: listed}\nrules: [{allow: a.test}]\n",
		 false},
		{"sluice: 1\ndns: {queries: any}\nrules: [{allow: a.test}]\n", true},
		{"sluice: 1\ndns: {resolvers: [192.0.2.53]}\n", true},
		{"sluice: 1\ndns: {resolvers: [192.0.2.53], queries: listed}\n", false},
		/* expired or not */
		{"sluice: 1\nrules: [{allow: a.test, " FIRST "}]\n", false},
	};
	struct fixture f;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		__u64 flags;

		compile_ok(&f, cases[i].text);
		flags = f.compiled.table.words[SL_H_FLAGS];
		assert_true(flags & SL_F_NAMES);
		assert_int_equal(!!(flags & SL_F_QUERIES_ANY), cases[i].any);
		assert_string_equal(question(&f, "other.test"),
				    cases[i].any ? "allow - dns-resolver" : "deny - dns-name");
		done(&f);
	}
	compile_ok(&f, "sluice: 1\nrules: [{allow: 10.0.0.1}]\n");
	assert_false(f.compiled.table.words[SL_H_FLAGS] & (SL_F_NAMES | SL_F_QUERIES_ANY));
	assert_int_equal(f.compiled.table.words[SL_H_DNS], 0);
	done(&f);
}

static void an_expired_rule_is_passed_over(void **state)
{
	struct fixture f;
	struct flow flow = {.port = 443};

	compile_ok(&f, "sluice: 1\nrules:\n"
		       "- deny: a.test\n  id: d\n  " FIRST "\n"
		       "- allow: '*.test:443'\n  id: a\n  " SECOND "\n");
	assert_string_equal(question_at(&f, "a.test", FIRST_NS - 1), "deny d dns-name");
	assert_string_equal(question_at(&f, "a.test", FIRST_NS), "allow a rule");
	assert_string_equal(question_at(&f, "a.test", SECOND_NS), "deny - dns-name");
	assert_string_equal(question_at(&f, "b.test", 1), "allow a rule");
	/* A name owns nothing while it may not be asked. */
	flow.now_ns = FIRST_NS - 1;
	assert_string_equal(connection_of(&f, "a.test", &flow), "deny - default");
	flow.now_ns = FIRST_NS;
	assert_string_equal(connection_of(&f, "a.test", &flow), "allow a rule");
	assert_int_equal(flow.deadline_ns, SECOND_NS);
	flow.now_ns = SECOND_NS;
	assert_string_equal(connection_of(&f, "a.test", &flow), "deny - default");
	done(&f);
}

/* The rule that allows a connection holds longer than the one that allows the question. */
static void a_connection_holds_no_longer_than_the_question(void **state)
{
	struct flow flow = {.port = 80};
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n"
		       "- allow: a.test:443\n  id: q\n  " FIRST "\n"
		       "- deny: '*.test'\n  id: d\n"
		       "- allow: '*:80'\n  id: c\n");
	assert_string_equal(question_at(&f, "a.test", 1), "allow q rule");
	assert_string_equal(connection_of(&f, "a.test", &flow), "allow c rule");
	assert_int_equal(flow.deadline_ns, FIRST_NS);
	flow.now_ns = FIRST_NS;
	assert_string_equal(question_at(&f, "a.test", FIRST_NS), "deny d dns-name");
	assert_string_equal(connection_of(&f, "a.test", &flow), "deny - default");
	done(&f);
}

/* A target of a CNAME is refused where a rule denies its question. */
static void denied_targets_are_told_from_unlisted_ones(void **state)
{
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n- allow: '*.cdn.test:443'\n  id: a\n"
		       "- deny: '*.test'\n  id: d\n");
	assert_string_equal(question(&f, "x.cdn.test"), "allow a rule");
	assert_string_equal(question(&f, "tracker.test"), "deny d dns-name");
	assert_string_equal(question(&f, "edge.example"), "deny - dns-name");
	done(&f);
}

/* ---- connections ---- */

static void the_smallest_rule_of_all_owners_decides(void **state)
{
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n"
		       "- allow: first.test:443\n  id: r0\n"
		       "- deny: 203.0.113.0/24:443\n  id: r1\n"
		       "- allow: second.test:443,80\n  id: r2\n"
		       "- deny: any:25\n  id: r3\n"
		       "- allow: third.test\n  id: r4\n");
	assert_string_equal(connection(&f, "first.test", 443), "allow r0 rule");
	assert_string_equal(connection(&f, "second.test", 443), "deny r1 rule");
	assert_string_equal(connection(&f, "second.test first.test", 443), "allow r0 rule");
	assert_string_equal(connection(&f, "second.test", 80), "allow r2 rule");
	assert_string_equal(connection(&f, "third.test", 25), "deny r3 rule");
	assert_string_equal(connection(&f, "third.test second.test", 80), "allow r2 rule");
	assert_string_equal(connection(&f, "third.test", 81), "allow r4 rule");
	assert_string_equal(connection(&f, "unknown.test", 443), "deny r1 rule");
	assert_string_equal(connection(&f, "", 80), "deny - default");
	/* The gate comes first. */
	assert_string_equal(connection(&f, "third.test", 853), "deny dns-gate dns-gate");
	done(&f);
}

static void a_name_stands_in_no_address_class(void **state)
{
	struct flow flow = {.address = "10.0.0.1", .port = 443};
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n- allow: {to: [a.test, 10.0.0.1], ports: 443}\n  id: both\n"
		       "- allow: '*.b.test'\n  id: b\n");
	assert_string_equal(connection(&f, "", 443), "deny - default");
	assert_string_equal(connection(&f, "a.test", 443), "allow both rule");
	assert_string_equal(connection_of(&f, "", &flow), "allow both rule");
	/* Patterns of the same rules share a class; those of addresses have none of it. */
	assert_int_equal(f.compiled.n_name_classes, 2);
	for (size_t i = 0; i < f.compiled.n_patterns; i++) {
		const __u64 *w = f.compiled.table.words;
		__u64 class = w[(__u32)w[SL_H_CLASSES] + f.compiled.patterns[i].class];

		assert_true(class >> 32 & SL_C_NAME);
		assert_false(class >> 32 & (SL_C_PRIVATE | SL_C_EMBEDDED));
	}
	done(&f);
}

static void a_deny_by_name_is_silent_about_addresses(void **state)
{
	struct fixture f;

	compile_ok(&f, "sluice: 1\ndefault: allow\nrules:\n- deny: ads.test\n  id: d\n"
		       "- allow: shop.test:443\n  id: a\n- deny: any:443\n  id: rest\n");
	assert_string_equal(connection(&f, "ads.test", 80), "allow - default");
	assert_string_equal(connection(&f, "ads.test", 443), "deny rest rule");
	/* Shared with a name that is allowed. */
	assert_string_equal(connection(&f, "ads.test shop.test", 443), "allow a rule");
	done(&f);
}

/* A rule behind the one that denies the question gives its connections nothing. */
static void a_denied_name_owns_nothing(void **state)
{
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n- deny: evil.test\n  id: d\n- allow: '*:443'\n  id: every\n");
	assert_string_equal(connection(&f, "evil.test", 443), "deny - default");
	assert_string_equal(connection(&f, "good.test", 443), "allow every rule");
	assert_string_equal(connection(&f, "evil.test good.test", 443), "allow every rule");
	assert_true(says(&f, "rule 'every' lets every name be asked"));
	done(&f);
}

static void protocols_ports_and_icmp_are_matched(void **state)
{
	struct flow ping = {.protocol = IPPROTO_ICMP, .port = 8 << 8};
	struct flow quic = {.protocol = IPPROTO_UDP, .port = 443};
	struct flow gre = {.protocol = 47};
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n- allow: a.test:443/tcp\n  id: tcp\n"
		       "- allow: b.test:443\n  id: both\n- allow: c.test/icmp\n  id: ping\n"
		       "- allow: d.test\n  id: all\n");
	assert_string_equal(connection(&f, "a.test", 443), "allow tcp rule");
	assert_string_equal(connection_of(&f, "a.test", &quic), "deny - default");
	assert_string_equal(connection_of(&f, "b.test", &quic), "allow both rule");
	assert_string_equal(connection_of(&f, "b.test", &ping), "deny - default");
	assert_string_equal(connection_of(&f, "c.test", &ping), "allow ping rule");
	assert_string_equal(connection_of(&f, "c.test", &gre), "deny - default");
	assert_string_equal(connection_of(&f, "d.test", &gre), "allow all rule");
	done(&f);
}

static void uids_see_their_own_rules(void **state)
{
	const __u32 proxy = 999, other = 1000;
	struct flow flow = {.port = 443, .uid = &proxy};
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n"
		       "- allow: {to: '*.a.test', ports: 443, uid: 999}\n  id: proxy\n"
		       "- allow: x.a.test:443\n  id: x\n"
		       "- allow: b.test:443\n  id: b\n");
	assert_string_equal(connection_of(&f, "y.a.test", &flow), "allow proxy rule");
	assert_string_equal(connection_of(&f, "x.a.test", &flow), "allow proxy rule");
	assert_string_equal(connection_of(&f, "b.test", &flow), "allow b rule");
	flow.uid = &other;
	assert_string_equal(connection_of(&f, "y.a.test", &flow), "deny - default");
	assert_string_equal(connection_of(&f, "x.a.test", &flow), "allow x rule");
	assert_string_equal(connection_of(&f, "b.test", &flow), "allow b rule");
	flow.uid = NULL;
	assert_string_equal(connection_of(&f, "y.a.test", &flow), "deny - default");
	assert_string_equal(connection_of(&f, "x.a.test", &flow), "allow x rule");
	/* A question has no uid. */
	assert_string_equal(question(&f, "y.a.test"), "allow proxy rule");
	assert_true(f.compiled.has_uids);
	done(&f);
}

static void inbound_flows_have_no_owners(void **state)
{
	struct sl_question q = {.protocol = IPPROTO_TCP, .key = 443, .family = 4,
				.address_low = 0xcb007101, .inbound = 1};
	const char *owners[] = {"a.test"};
	struct sl_answer a;
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n- allow: a.test\n");
	assert_true(sl_names_connection(&f.compiled, &q, owners, 1, &a));
	assert_string_equal(told(&f, &a), "deny - unsolicited");
	done(&f);
}

static void private_is_said_where_an_allow_covers(void **state)
{
	static const struct {
		const char *name;
		bool private;
	} cases[] = {{"a.corp.test", true}, {"deep.a.corp.test", true}, {"corp.test", false},
		     {"a.b.test", false}};
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n- allow: '*.corp.test'\n  resolves_to: private\n"
		       "- allow: [a.corp.test, corp.test, '*.b.test']\n");
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct sl_pattern *p = sl_names_find(&f.compiled, cases[i].name);
		const __u64 *w = f.compiled.table.words;

		assert_non_null(p);
		assert_int_equal(!!(w[(__u32)w[SL_H_CLASSES] + p->class] >> 32 & SL_C_PRIVATE),
				 cases[i].private);
	}
	done(&f);
}

/* ---- search domains ---- */

static void searched_names_may_be_asked_and_teach_nothing(void **state)
{
	struct fixture f;

	assert_int_equal(compile_in(&f, "sluice: 1\nrules:\n"
		"- deny: secret.corp.example\n  id: d\n"
		"- allow: ['github.com:443', '*.a.test:443', secret]\n  id: a\n"
		"- allow: github.com.lan:80\n  id: real\n"
		"- deny: blocked.test\n  id: d2\n", &with_search), 0);
	assert_string_equal(question(&f, "github.com.corp.example"), "allow dns-search dns-resolver");
	assert_string_equal(question(&f, "x.a.test.lan"), "allow dns-search dns-resolver");
	assert_string_equal(connection(&f, "github.com.corp.example", 443), "deny - default");
	assert_string_equal(connection(&f, "x.a.test.lan", 443), "deny - default");
	/* A rule of the policy comes first, whatever it says. */
	assert_string_equal(question(&f, "secret.corp.example"), "deny d dns-name");
	assert_string_equal(question(&f, "github.com.lan"), "allow real rule");
	assert_string_equal(connection(&f, "github.com.lan", 80), "allow real rule");
	assert_string_equal(connection(&f, "github.com.lan", 443), "deny - default");
	/* Only what is allowed; not twice; not the domain alone. */
	assert_string_equal(question(&f, "blocked.test.lan"), "deny - dns-name");
	assert_string_equal(question(&f, "github.com.lan.lan"), "allow dns-search dns-resolver");
	assert_string_equal(question(&f, "github.com.corp.example.lan"), "deny - dns-name");
	assert_string_equal(question(&f, "lan"), "deny - dns-name");
	/* github.com, *.a.test, secret and github.com.lan, each with two domains, but for two
	 * that rules name: secret.corp.example and github.com.lan */
	assert_int_equal(f.compiled.n_ask_only, 4 * 2 - 2);
	assert_int_equal(f.compiled.n_patterns, 6 + 4 * 2 - 2);
	done(&f);
}

static void search_adds_nothing_where_it_is_not_needed(void **state)
{
	static const char *const texts[] = {
		"sluice: 1\nrules: [{allow: '*'}]\n",
		"sluice: 1\nrules: [{deny: a.test}]\n",
		"sluice: 1\ndns: {queries: any}\nrules: [{allow: a.test}]\n",
		"sluice: 1\ndns: {search: []}\nrules: [{allow: a.test}]\n",
		"sluice: 1\ndefault: allow\nrules: [{allow: a.test}]\n",
	};
	char text[400], label[64], name[260] = "";
	struct fixture f;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		assert_int_equal(compile_in(&f, texts[i], &with_search), 0);
		assert_int_equal(f.compiled.n_patterns, 1);
		assert_int_equal(f.compiled.n_ask_only, 0);
		done(&f);
	}
	/* A name that would be too long is none. 3 * 64 + 49 = 241 characters and ".lan". */
	memset(label, 'a', 63);
	label[63] = 0;
	snprintf(name, sizeof(name), "%s.%s.%s.%.49s", label, label, label, label);
	snprintf(text, sizeof(text), "sluice: 1\nrules: [{allow: %s}]\n", name);
	assert_int_equal(compile_in(&f, text, &with_search), 0);
	assert_int_equal(f.compiled.n_ask_only, 1);
	strcat(name, ".lan");
	assert_string_equal(question(&f, name), "allow dns-search dns-resolver");
	done(&f);
}

/* ---- the words of the table ---- */

static void the_dns_section_says_what_the_policy_says(void **state)
{
	const __u64 *w;
	struct fixture f;

	compile_ok(&f, "sluice: 1\ndns: {types: [TXT, A, AAAA, MX, TYPE65535], ttl: {min: 2s, max: 1h}}\n"
		       "limits: {dns: 20/s}\nrules: [{allow: [a.test, b.test]}]\n");
	assert_int_equal(f.compiled.table.words[SL_H_DNS] >> 32, 1);
	w = f.compiled.table.words + (__u32)f.compiled.table.words[SL_H_DNS];
	assert_int_equal((w - f.compiled.table.words) % SL_CHUNK_WORDS, 0);
	assert_true(w[SL_N_TYPES] == (16ull | 1ull << 16 | 28ull << 32 | 15ull << 48));
	assert_true(w[SL_N_TYPES + 1] == 65535);
	assert_true(w[SL_N_TYPES + 2] == 0 && w[SL_N_TYPES + 3] == 0);
	assert_true(w[SL_N_TTL] == (2ull << 32 | 3600));
	assert_true(w[SL_N_RATE_NS] == 50000000 && w[SL_N_BURST] == 20);
	assert_int_equal(w[SL_N_PATTERNS], 2);
	done(&f);
	compile_ok(&f, "sluice: 1\ndns: {resolvers: [192.0.2.53]}\n");
	w = f.compiled.table.words + (__u32)f.compiled.table.words[SL_H_DNS];
	/* A AAAA CNAME HTTPS, SVCB SRV MX; a minute to a day */
	assert_true(w[SL_N_TYPES] == (1ull | 28ull << 16 | 5ull << 32 | 65ull << 48));
	assert_true(w[SL_N_TYPES + 1] == (64ull | 33ull << 16 | 15ull << 32));
	assert_true(w[SL_N_TTL] == (60ull << 32 | 86400));
	assert_true(w[SL_N_RATE_NS] == 0 && w[SL_N_BURST] == 0 && w[SL_N_PATTERNS] == 0);
	done(&f);
}

static void same_policy_same_bytes(void **state)
{
	static const char text[] = "sluice: 1\nrules:\n- allow: ['*.b.test:443', a.test, '*']\n"
				   "- deny: c.test\n- allow: {to: d.test, uid: 5}\n";
	struct fixture a, b;

	assert_int_equal(compile_in(&a, text, &with_search), 0);
	assert_int_equal(compile_in(&b, text, &with_search), 0);
	assert_int_equal(a.compiled.table.n_words, b.compiled.table.n_words);
	assert_memory_equal(a.compiled.table.words, b.compiled.table.words,
			    a.compiled.table.n_words * sizeof(__u64));
	assert_int_equal(a.compiled.n_patterns, b.compiled.n_patterns);
	assert_memory_equal(a.compiled.patterns, b.compiled.patterns,
			    a.compiled.n_patterns * sizeof(*a.compiled.patterns));
	done(&a);
	done(&b);
}

/* A table cut or changed anywhere is a denial or an answer, never a crash. */
static void a_damaged_table_denies(void **state)
{
	const char *owners[] = {"x.b.test", "a.test"};
	struct sl_question q;
	struct sl_compiled cut;
	struct sl_answer a;
	struct fixture f;
	size_t i;

	compile_ok(&f, "sluice: 1\nrules:\n- allow: '*.b.test:443'\n- deny: c.test\n"
		       "- allow: {to: a.test, ports: 80, uid: 5}\n");
	for (i = 0; i < f.compiled.table.n_words; i++) {
		cut = f.compiled;
		cut.table.n_words = i;
		q = (struct sl_question){.family = 4, .protocol = 6, .key = 443, .has_uid = 1,
					 .uid = 5};
		if (!sl_names_connection(&cut, &q, owners, 2, &a)) {
			assert_int_equal(a.deny, 1);
			assert_int_equal(a.reason, SL_REASON_NO_POLICY);
		}
		if (!sl_names_question(&cut, "x.b.test", 1, &a)) {
			assert_int_equal(a.deny, 1);
			assert_int_equal(a.reason, SL_REASON_NO_POLICY);
		}
		sl_table_common_address(&cut.table, 4, &q);
		sl_table_common_address(&cut.table, 6, &q);
	}
	for (i = 0; i < f.compiled.table.n_words; i++) {
		__u64 kept = f.compiled.table.words[i];

		f.compiled.table.words[i] = ~0ull;
		q = (struct sl_question){.family = 6, .protocol = 6, .key = 80, .has_uid = 1,
					 .uid = 5};
		sl_names_connection(&f.compiled, &q, owners, 2, &a);
		sl_names_question(&f.compiled, "c.test", 1, &a);
		f.compiled.table.words[i] = kept;
	}
	done(&f);
}

/* ---- what is said ---- */

static void warnings_name_what_hides_or_denies(void **state)
{
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n"
		       "- allow: '*.a.test:443'\n  id: wide\n"
		       "- allow: api.a.test:443\n  id: inside\n"
		       "- allow: api.a.test:80\n  id: more\n"
		       "- allow: '*.a.test:443'\n  id: twin\n"
		       "- deny: api.a.test\n  id: late\n"
		       "- deny: any:22\n  id: no-ssh\n"
		       "- allow: git.test:22\n  id: ssh\n"
		       "- allow: 10.0.0.1:22\n  id: hidden\n"
		       "- allow: any:8443\n  id: free\n"
		       "- allow: b.test:8443\n  id: asked\n");
	assert_true(says(&f, "rule 'inside' can never match: 'wide' in line 3"));
	assert_true(says(&f, "rule 'twin' says the same as 'wide' in line 3"));
	assert_true(says(&f, "rule 'late' can never match: 'wide' in line 3"));
	assert_true(says(&f, "rule 'ssh' lets names be asked, but 'no-ssh' in line 13"));
	assert_true(says(&f, "rule 'hidden' can never match: 'no-ssh' in line 13"));
	assert_false(says(&f, "rule 'more'"));
	/* Its question is of use, though its connections are allowed before. */
	assert_false(says(&f, "rule 'asked'"));
	assert_int_equal(f.diag.n_warnings, 5);
	done(&f);
	compile_ok(&f, "sluice: 1\nlimits: {dns: 5/s}\nrules: [{allow: '*:443'}]\n");
	assert_int_equal(f.diag.n_warnings, 0);
	done(&f);
}

/* ---- bounds ---- */

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* n rules, each with a pattern of its own; every fifth a deny, every seventh a suffix. */
static char *many_names(size_t n)
{
	char *text;
	size_t len, i;
	FILE *out = open_memstream(&text, &len);

	fputs("sluice: 1\nrules:\n", out);
	for (i = 0; i < n; i++)
		fprintf(out, i % 5 ? "- allow: \"%sh%zu.s%zu.example%zu.test:%zu\"\n"
				   : "- deny: \"%sh%zu.s%zu.example%zu.test\"\n",
			i % 7 ? "" : "*.", i, i % 97, i % 1000, 1 + i % 60000);
	fclose(out);
	return text;
}

static void twenty_thousand_patterns_are_compiled_at_once(void **state)
{
	struct sl_compile_options options = {.generation = 1};
	struct sl_compiled again;
	struct fixture f;
	char *text = many_names(20000), name[64];
	double start;

	assert_int_equal(compile_in(&f, text, &no_search), 0);
	start = seconds();
	assert_int_equal(sl_compile(f.policy, &options, &again, &f.diag), 0);
	print_message("20,000 patterns: %.3f s (with sanitizers), %zu KiB of table, %zu classes\n",
		      seconds() - start, again.table.n_words / 128, again.n_name_classes);
	assert_true(seconds() - start < 10);
	assert_int_equal(again.n_patterns, 20000);
	for (size_t i = 0; i < 20000; i += 331) {
		struct sl_answer a;

		snprintf(name, sizeof(name), "%sh%zu.s%zu.example%zu.test", i % 7 ? "" : "x.", i,
			 i % 97, i % 1000);
		assert_true(sl_names_question(&again, name, 1, &a));
		assert_int_equal(a.rule, i + 2); /* behind the gate's two */
		assert_int_equal(a.deny, i % 5 == 0);
	}
	sl_compiled_free(&again);
	done(&f);
	free(text);
}

static void too_many_patterns_are_refused(void **state)
{
	struct fixture f;
	char *text = many_names(35000);

	assert_int_equal(compile_in(&f, text, &no_search), 0);
	done(&f);
	assert_int_not_equal(compile_in(&f, text, &with_search), 0);
	assert_true(says(&f, "are there for the 2 search domains"));
	assert_true(says(&f, "64 MiB for the compiled table and its patterns of names"));
	assert_true(says(&f, "contributes"));
	done(&f);
	free(text);
}

static void a_list_of_many_names_is_one_class(void **state)
{
	struct fixture f;
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs("sluice: 1\nrules:\n- deny:\n", out);
	for (int i = 0; i < 50000; i++)
		fprintf(out, "  - n%d.test\n", i);
	fclose(out);
	compile_ok(&f, text);
	assert_int_equal(f.compiled.n_name_classes, 1);
	assert_int_equal(f.compiled.n_patterns, 50000);
	assert_int_equal(f.compiled.table.n_words, SL_PAGE_WORDS);
	done(&f);
	free(text);
}

/* Many hidden rules are counted, and only a hundred are looked at closely. */
static void many_hidden_names_take_no_time(void **state)
{
	struct fixture f;
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	double start;

	fputs("sluice: 1\nrules:\n- deny: \"*.test\"\n", out);
	for (int i = 0; i < 20000; i++)
		fprintf(out, "- allow: n%d.test:443\n", i);
	fclose(out);
	start = seconds();
	compile_ok(&f, text);
	print_message("20,000 hidden rules: %.3f s (with sanitizers)\n", seconds() - start);
	assert_true(seconds() - start < 20);
	assert_int_equal(f.diag.n_warnings, 20000);
	done(&f);
	free(text);
}

static char *expiring_names(int n)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs("sluice: 1\nrules:\n", out);
	for (int i = 0; i < n; i++)
		fprintf(out, "- allow: a.test:443\n  id: e%d\n  expires: '2100-01-%02d'\n", i,
			i % 28 + 1);
	fputs("- deny: a.test\n  id: last\n", out);
	fclose(out);
	return text;
}

static void expiring_rules_by_name_are_bounded(void **state)
{
	char *fits = expiring_names(SL_OTHERWISE_MAX - 1), *more = expiring_names(SL_OTHERWISE_MAX);
	struct fixture f;

	compile_ok(&f, fits);
	assert_string_equal(question_at(&f, "a.test", ~0ull), "deny last dns-name");
	done(&f);
	assert_int_not_equal(compile_in(&f, more, &no_search), 0);
	assert_true(says(&f, "'last' stands behind 16 expiring rules"));
	done(&f);
	free(fits);
	free(more);
}

/* ---- the address of a test ---- */

static void the_common_address_is_of_the_largest_class(void **state)
{
	struct sl_question q = {.protocol = IPPROTO_TCP, .key = 443};
	struct sl_answer a;
	struct fixture f;

	compile_ok(&f, "sluice: 1\nrules:\n- deny: '@private'\n  id: private\n"
		       "- allow: 0.0.0.0/1\n  id: low\n- deny: ['192.0.0.0/2', '::/0']\n  id: high\n");
	/* 128.0.0.0/2 has no rule, low is the largest; ::/0 is all of IPv6 */
	assert_true(sl_table_common_address(&f.compiled.table, 4, &q));
	assert_int_equal(q.family, 4);
	assert_true(sl_table_judge(&f.compiled.table, &q, &a));
	assert_string_equal(told(&f, &a), "allow low rule");
	assert_true(sl_table_common_address(&f.compiled.table, 6, &q));
	assert_true(sl_table_judge(&f.compiled.table, &q, &a));
	assert_string_equal(told(&f, &a), "deny high rule");
	done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_the_name_reversed),
		cmocka_unit_test(patterns_are_sorted_and_found),
		cmocka_unit_test(look_alikes_are_not_covered),
		cmocka_unit_test(the_first_pattern_in_the_file_decides),
		cmocka_unit_test(queries_default_follows_names_and_default),
		cmocka_unit_test(an_expired_rule_is_passed_over),
		cmocka_unit_test(a_connection_holds_no_longer_than_the_question),
		cmocka_unit_test(denied_targets_are_told_from_unlisted_ones),
		cmocka_unit_test(the_smallest_rule_of_all_owners_decides),
		cmocka_unit_test(a_name_stands_in_no_address_class),
		cmocka_unit_test(a_deny_by_name_is_silent_about_addresses),
		cmocka_unit_test(a_denied_name_owns_nothing),
		cmocka_unit_test(protocols_ports_and_icmp_are_matched),
		cmocka_unit_test(uids_see_their_own_rules),
		cmocka_unit_test(inbound_flows_have_no_owners),
		cmocka_unit_test(private_is_said_where_an_allow_covers),
		cmocka_unit_test(searched_names_may_be_asked_and_teach_nothing),
		cmocka_unit_test(search_adds_nothing_where_it_is_not_needed),
		cmocka_unit_test(the_dns_section_says_what_the_policy_says),
		cmocka_unit_test(same_policy_same_bytes),
		cmocka_unit_test(a_damaged_table_denies),
		cmocka_unit_test(warnings_name_what_hides_or_denies),
		cmocka_unit_test(twenty_thousand_patterns_are_compiled_at_once),
		cmocka_unit_test(too_many_patterns_are_refused),
		cmocka_unit_test(a_list_of_many_names_is_one_class),
		cmocka_unit_test(many_hidden_names_take_no_time),
		cmocka_unit_test(expiring_rules_by_name_are_bounded),
		cmocka_unit_test(the_common_address_is_of_the_largest_class),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
