/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Policies with names, compiled, and what they answer. After cmocka.h. */
#ifndef SLUICE_TEST_NAMES_LAB_H
#define SLUICE_TEST_NAMES_LAB_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compile_lab.h"

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

static inline void compile_ok(struct fixture *f, const char *text)
{
	if (compile_in(f, text, &no_search)) {
		sl_diag_print(&f->diag, stderr);
		fail_msg("not compiled");
	}
}

/* `allow RULE REASON` of an answer. */
static inline const char *told(const struct fixture *f, const struct sl_answer *a)
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

static inline const char *question_at(const struct fixture *f, const char *name, __u64 now_ns)
{
	struct sl_answer a;

	assert_true(sl_names_question(&f->compiled, name, now_ns, &a));
	return told(f, &a);
}

static inline const char *question(const struct fixture *f, const char *name)
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
static inline const char *connection_of(const struct fixture *f, const char *owners, struct flow *flow)
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

static inline const char *connection(const struct fixture *f, const char *owners, __u16 port)
{
	struct flow flow = {.port = port};

	return connection_of(f, owners, &flow);
}

static inline const char *pattern_of(const struct fixture *f, const char *name)
{
	static char buf[SL_PATTERN_BYTES + 2];
	const struct sl_pattern *found = sl_names_find(&f->compiled, name);

	return found ? sl_pattern_text(found, buf) : "-";
}

#endif
