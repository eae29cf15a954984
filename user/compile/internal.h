/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The steps of the compiler and what they hand on:
 *
 *   flatten.c   policy  -> entries: one per match, with key ranges and address ranges
 *   sweep.c     entries -> ranges of addresses, each with the class of entries over it
 *   classes.c   the classes, found by a hash of their entries
 *   ports.c     (class, view) -> port table of decisions
 *   sections.c  device binding, limits, labels -> words
 *   emit.c      everything -> words
 *   review.c    warnings
 *   device.c    what a device cannot do; what a guest could use
 */
#ifndef SLUICE_COMPILE_INTERNAL_H
#define SLUICE_COMPILE_INTERNAL_H

#include "compile.h"

#define KEY_END (1u << 24)	/* one past the last key */

/* Growable array of words. Functions return -ENOMEM and leave it usable. */
struct words {
	__u64 *v;
	size_t n, cap;
};

int words_push(struct words *w, __u64 word);
int words_append(struct words *w, const __u64 *v, size_t n);
void words_free(struct words *w);

/* Distinct arrays of words, each stored once. */
struct pool_item {
	__u64 hash;
	__u32 at, n;
};

struct pool {
	struct words words;
	struct pool_item *slots;	/* open addressing; n = at = ~0: free */
	size_t n_slots, n_used;
};

/* The position of (v, n) within pool->words, added if new. */
int pool_intern(struct pool *pool, const __u64 *v, size_t n, __u32 *at);
void pool_free(struct pool *pool);

struct key_range {
	__u32 low, high;	/* both included; protocol << 16 | key */
};

/* An address range, both ends included; IPv4 in low. */
struct range {
	__u64 low_high, low_low, high_high, high_low;
};

/* One match of one rule. */
struct entry {
	__u32 rule;
	bool any;		/* stands in the base table */
	bool inbound;
	bool marker;		/* not a rule: marks the embedded blocks */
	const struct sl_uid *uids;
	size_t n_uids;		/* 0: every uid */
	struct key_range *keys;	/* owned, sorted, disjoint */
	size_t n_keys;
	struct range *v4, *v6;	/* owned, sorted, disjoint */
	size_t n_v4, n_v6;
};

struct class {
	__u64 hash[2];
	__u32 *entries;		/* owned, ascending */
	__u32 n_entries;
	bool embedded;
	__u32 row;		/* position in rows */
	__u32 row_flags;
	__u32 same_as;		/* the first class with the same row and flags */
};

struct compiler {
	const struct sl_policy *policy;
	const struct sl_compile_options *options;
	struct sl_diag *diag;

	struct sl_rule_info *rules;
	size_t n_rules, cap_rules;
	__u64 *deadlines;	/* by rule number, boot ns; 0 = never */
	struct entry *entries;
	size_t n_entries, cap_entries;

	__u32 *uids;		/* sorted, distinct */
	__u32 *uid_view;	/* view of each */
	size_t n_uids;
	__u32 n_views;
	__u32 *view_uid;	/* a uid that has the view; [0], [1] unused */

	struct class *classes;
	size_t n_classes, cap_classes, n_listed; /* listed: entries of all classes */
	__u32 *class_slots;
	size_t n_class_slots;

	struct words v4, v6;	/* ranges as in the table, class before merging */
	struct pool ports, rows;
	__u32 base_row;

	__u64 *chains;		/* decisions under construction, see ports.c */
	size_t n_chains, cap_chains;
	__u32 *chain_slots;
	size_t n_chain_slots;
	bool *reached;		/* by rule number */
};

int flatten(struct compiler *c);
/* First and last address. */
struct range cidr_range(const struct sl_cidr *cidr);
/* The keys that a match covers, into e->keys and n_keys, which are empty. */
int entry_keys(struct entry *e, const struct sl_match *match);
int sweep(struct compiler *c);
int class_of(struct compiler *c, const __u64 active[], const __u64 hash[2], __u32 *class);
int build_rows(struct compiler *c);
int emit(struct compiler *c, struct sl_compiled *out);
/* Appends the sections of sections.c to a table, and says in its header where. */
int write_sections(const struct compiler *c, struct words *t, __u64 h[SL_HEADER_WORDS]);
int pad(struct words *t);
void review(struct compiler *c, const struct sl_compiled *compiled);
int too_large(struct compiler *c, const char *what);

/* Decisions: chains[] has 2 words each: (rule << 32 | otherwise), deadline. */
static inline __u32 chain_rule(const struct compiler *c, __u32 id)
{
	return c->chains[2 * (size_t)id] >> 32;
}

static inline __u32 chain_otherwise(const struct compiler *c, __u32 id)
{
	return (__u32)c->chains[2 * (size_t)id];
}

#endif
