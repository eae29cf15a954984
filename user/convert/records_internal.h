/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SLUICE_CONVERT_RECORDS_INTERNAL_H
#define SLUICE_CONVERT_RECORDS_INTERNAL_H

#include "policy/policy.h"
#include "records.h"

#define SL_WISH_PROCESSES 3 /* that are told */

/* A destination that was reached for. */
struct sl_wish {
	char *name; /* owned; NULL: the address counts */
	struct sl_cidr address;
	int protocol;
	__u32 port;	 /* 0: the protocol has none */
	bool is_private; /* a private address of a name */
	__u64 times;
	char *processes[SL_WISH_PROCESSES]; /* owned; not ours: for comments alone */
};

struct sl_records {
	const char *wanted;	/* the policy's name */
	json_t *policies;	/* names seen */
	json_t *keys;		/* a wish's key -> its place */
	struct sl_wish *wishes; /* owned */
	size_t n_wishes;
	json_t *resolvers; /* addresses; none: the system's */
	json_t *asked;	   /* a name that was asked for -> how many times */
	json_t *named;	   /* names that a wish has */
	json_t *refused;   /* what a rule denies, in words -> how many times */
	json_t *metadata;  /* the same of metadata services */
	json_t *left;	   /* reason of what is no rule's matter -> how many times */
	__u64 decisions;
	bool is_unread; /* a resolver was denied: its questions are in no record */
	bool too_many, no_memory;
};

#endif
