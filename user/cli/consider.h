/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Each rule of a policy against one flow, as docs/policy.md says it and without
 * the table: the reason that a rule did not match, and a check on the table.
 */
#ifndef SLUICE_CLI_CONSIDER_H
#define SLUICE_CLI_CONSIDER_H

#include "ask.h"

/* What a rule lacks, in the order in which it is asked. */
enum sl_why {
	SL_WHY_ADDRESS,
	SL_WHY_PROTOCOL,
	SL_WHY_PORT,
	SL_WHY_ICMP,
	SL_WHY_UID,
	SL_WHY_EXPIRED,
	SL_WHY_MATCHES,		/* nothing */
};

struct sl_considered {
	enum sl_why why;
	size_t match;		/* index of the match that came closest */
};

/* The rule numbers that a flow of this direction can meet: [*first, *end). */
void sl_consider_range(const struct sl_loaded *loaded, bool inbound, __u32 *first, __u32 *end);

struct sl_considered sl_consider(const struct sl_loaded *loaded, __u32 number,
				 const struct sl_asked *asked);

/* True if the pattern covers the name. */
bool sl_host_names(const struct sl_host *host, const char *name);

/*
 * The pattern by which a rule decides the question for asked->owner, or NULL if none
 * does; *agrees: the policy as text says what the table answered.
 */
const struct sl_host *sl_consider_question(const struct sl_loaded *loaded,
					   const struct sl_asked *asked, bool *agrees);

/* The first rule that matches, or SL_NONE. */
__u32 sl_consider_all(const struct sl_loaded *loaded, const struct sl_asked *asked);

/* True if the policy as text says what the table answered. */
bool sl_consider_agrees(const struct sl_loaded *loaded, const struct sl_asked *asked,
			__u32 first_match);

/*
 * The rule as it was written (sets by name), if loaded->written has it; else the
 * resolved one; NULL for the dns gate and inbound rules. *cursor begins at 0;
 * rules must be asked for in ascending order.
 */
const struct sl_rule *sl_written_rule(const struct sl_loaded *loaded, __u32 number,
				      size_t *cursor);

/* Why the rule did not match: a sentence, owned; NULL when out of memory.
 * written: from sl_written_rule. */
char *sl_why_text(const struct sl_loaded *loaded, __u32 number, const struct sl_rule *written,
		  const struct sl_considered *considered, const struct sl_asked *asked);

/* The block of addresses that embed IPv4 which holds address, or NULL. */
const char *sl_embedded_block(const struct sl_cidr *address, struct sl_cidr *block);

#endif
