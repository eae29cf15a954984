/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* rule_index.c: the rules of a policy by the addresses that they name. For many questions about one
 * policy, whose rules stay as they are meanwhile; other rules may be added behind them. */
#ifndef SLUICE_KUBERNETES_RULE_INDEX_H
#define SLUICE_KUBERNETES_RULE_INDEX_H

#include "prefixes.h"

/* A match of a rule. */
struct sl_rule_use {
	const struct sl_rule *rule;
	const struct sl_match *match;
	size_t at;		/* of the rule in the policy */
};

struct sl_rule_index {
	struct sl_rule_use *uses;	/* owned; in order of the rules */
	size_t n_uses;
	struct sl_prefixes prefixes;	/* of numbers of uses, and of sets */
	struct sl_set_use {
		const void *set;	/* whose */
		unsigned use;
	} *set_uses;			/* owned; a set's stand together, ascending */
	size_t n_set_uses;
	struct sl_set_group {
		unsigned *uses;		/* owned; ascending */
		size_t n;
		size_t seen;		/* by the question of that number */
	} *sets;			/* owned */
	size_t n_sets;
	unsigned *anywhere;		/* owned; by name, or a set looked up later: ascending */
	size_t n_anywhere;
	size_t includes;		/* no profile is included from there on */
	struct sl_prefix_run *runs;	/* owned; of the question that is asked */
	size_t n_runs, questions;
	int protocol;			/* of that question */
	__u16 port;
};

/* The first n items. Zeroed before; to be freed in any case. 0 or -ENOMEM. */
int sl_rule_index_make(struct sl_rule_index *index, const struct sl_policy *policy, size_t n);
void sl_rule_index_free(struct sl_rule_index *index);

/* The question: which rules hold for the address (its len may be less than all), whoever sends? */
void sl_rule_index_ask(struct sl_rule_index *index, const struct sl_cidr *address, int protocol,
		       __u16 port);
/* Its answer, match by match in order of the rules; NULL: that was the last. */
const struct sl_rule_use *sl_rule_index_next(struct sl_rule_index *index);
/* Of the question, before the first sl_rule_index_next: no allow from there on names the address, or
 * may name it: by name, by a set that is looked up later, of a profile. */
size_t sl_rule_index_allows(const struct sl_rule_index *index);

#endif
