/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The rule that large policies are made of: `allow` or `deny` of one address or prefix, with at
 * most one range of ports and one protocol, and nothing else. It is read in one step and stands in
 * one piece of memory with its parts and its default id (sl_rule.short_form, sl_match.borrowed);
 * what it says is the same as if it had been read as any other.
 */
#ifndef SLUICE_POLICY_SHORT_RULE_H
#define SLUICE_POLICY_SHORT_RULE_H

#include "parser.h"


struct sl_short_rule {
	struct sl_rule rule;	/* first: rule.matches is &match */
	struct sl_match match;
	struct sl_host host;
	struct sl_port_range ports;
	int protocol;
	char id[SL_DEFAULT_ID_BYTES];
};

/* The rule whose mapping has just begun, into the parser's policy. False: it is of another form,
 * or wrong, and nothing is read of it yet. */
bool sl_short_rule_read(struct sl_parser *p);

#endif
