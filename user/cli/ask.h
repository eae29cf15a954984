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
	struct sl_cidr judged;		/* the flow's address, or the IPv4 it embeds */
	struct sl_answer answer;
};

void sl_ask(const struct sl_loaded *loaded, const struct sl_test *flow, bool inbound,
	    struct sl_asked *out);

/* The sentence of a reason (sluice_reasons.h); its word is record.h's. */
const char *sl_reason_text(unsigned reason);

/* The id of the rule that decided, or NULL. */
const char *sl_asked_rule(const struct sl_loaded *loaded, const struct sl_asked *asked);

#endif
