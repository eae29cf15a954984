/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* One flow put to a loaded policy, answered by the reader that the kernel runs. */
#ifndef SLUICE_CLI_ASK_H
#define SLUICE_CLI_ASK_H

#include "audit/record.h"
#include "cli.h"

struct sl_asked {
	const struct sl_test *flow;	/* borrowed */
	bool inbound;
	__u64 now_ns;			/* boot time */
	struct sl_cidr judged;		/* the flow's address, or the IPv4 it embeds; of a flow
					 * to a name one of most addresses */
	const char *owner;		/* the name that owns the address, borrowed, or NULL */
	struct sl_answer question;	/* for it */
	bool connects;			/* answer is about a connection, not the question */
	struct sl_answer answer;
};

/*
 * Puts a flow. A flow to a name is its question and, if that is allowed, a connection to
 * an address of each family that only this name owns: allowed if one of them is. owner:
 * a name that owns the address of another flow, or NULL.
 */
void sl_ask(const struct sl_loaded *loaded, const struct sl_test *flow, bool inbound,
	    const char *owner, struct sl_asked *out);

/* The sentence of a reason (sluice_reasons.h); its word is record.h's. */
const char *sl_reason_text(unsigned reason);

/* The id of the rule of an answer, or NULL; and that of asked->answer. */
const char *sl_answer_rule(const struct sl_loaded *loaded, const struct sl_answer *answer);
const char *sl_asked_rule(const struct sl_loaded *loaded, const struct sl_asked *asked);

#endif
