/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Policies, compiled, and what their tables answer. After cmocka.h. */
#ifndef SLUICE_TEST_COMPILE_LAB_H
#define SLUICE_TEST_COMPILE_LAB_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "compile/compile.h"
#include "resolve/resolve.h"

#define EPOCH_NS 1000000000000000000ll	/* boot at Unix second 1,000,000,000 */

struct fixture {
	struct sl_policy *policy;
	struct sl_compiled compiled;
	struct sl_diag diag;
};

/* One second after the boot. 0 or -errno, the reason in diag; done() either way. */
static inline int compile_in(struct fixture *f, const char *text, const struct sl_environment *env)
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

static inline int compile_text(struct fixture *f, const char *text)
{
	return compile_in(f, text, NULL);
}

static inline void done(struct fixture *f)
{
	sl_compiled_free(&f->compiled);
	sl_policy_free(f->policy);
	sl_diag_free(&f->diag);
}

static inline bool says(const struct fixture *f, const char *text)
{
	size_t i;

	for (i = 0; i < f->diag.n; i++)
		if (strstr(f->diag.entries[i].message, text))
			return true;
	return false;
}

static inline struct sl_answer ask(struct fixture *f, const char *address, __u8 protocol, __u16 key,
				   const __u32 *uid, __u64 now_ns)
{
	struct sl_question q = {.protocol = protocol, .key = key, .now_ns = now_ns};
	struct sl_answer a = {};
	struct sl_cidr cidr = {};

	cidr.family = strchr(address, ':') ? 6 : 4;
	inet_pton(cidr.family == 6 ? AF_INET6 : AF_INET, address, cidr.addr);
	sl_question_address(&q, &cidr);
	if (uid) {
		q.has_uid = 1;
		q.uid = *uid;
	}
	assert_true(sl_table_judge(&f->compiled.table, &q, &a));
	return a;
}

static inline const char *decider(struct fixture *f, const struct sl_answer *a)
{
	return a->rule == SL_NONE ? "-" : f->compiled.rules[a->rule].id;
}

#endif
