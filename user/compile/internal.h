/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The steps of the compiler and what they hand on:
 *
 *   flatten.c   policy  -> entries: one per match, with key ranges and address ranges
 *   addresses.c its address ranges
 *   sweep.c     entries -> ranges of addresses, each with the class of entries over it
 *   names.c     entries -> patterns of names, each with the class of entries over it
 *   classes.c   the classes, found by a hash of their entries
 *   rows.c      class -> row of port tables, one a view
 *   ports.c     (class, view) -> port table of decisions; ports_few.c of few key ranges
 *   sections.c  device binding, limits, DNS, labels -> words
 *   patterns.c  the patterns as the kernel's trie has them
 *   emit.c      everything -> words
 *   index.c     ranges of IPv4, and what leads to them, faster than halving them
 *   index6.c    the same of IPv6
 *   ranges.c    the ranges of a table, for those who look through them
 *   review.c    warnings
 *   device.c    what a device cannot do; what a guest could use
 */
#ifndef SLUICE_COMPILE_INTERNAL_H
#define SLUICE_COMPILE_INTERNAL_H

#include "compile.h"
#include "policy/arena.h"

#define KEY_END (1u << 24)	/* one past the last key */

/* Growable array of words. Functions return -ENOMEM and leave it usable. */
struct words {
	__u64 *v;
	size_t n, cap;
};

/* Room for n more, which the next n then cannot fail for. */
int words_reserve(struct words *w, size_t n);
int words_append(struct words *w, const __u64 *v, size_t n);
int words_fill(struct words *w, size_t n, __u64 word);
void words_free(struct words *w);

static inline int words_push(struct words *w, __u64 word)
{
	if (w->n == w->cap)
		return words_append(w, &word, 1);
	w->v[w->n++] = word;
	return 0;
}

static inline __u64 section(size_t entries, size_t first)
{
	return (__u64)entries << 32 | first;
}

/* Distinct arrays of words, each stored once. */
struct pool_item {
	__u64 hash;
	__u32 at, n;
};

struct pool {
	struct words words;
	struct pool_item *items;	/* in the order in which they came; n_slots / 2 have room */
	__u64 *slots;			/* open addressing, as small as can be; 0: free */
	size_t n_slots, n_used;
};

/* The position of (v, n) within pool->words, added if new. */
int pool_intern(struct pool *pool, const __u64 *v, size_t n, __u32 *at);
/* Room for n arrays: to grow is to place all of them again. */
int pool_reserve(struct pool *pool, size_t n);
void pool_free(struct pool *pool);

struct key_range {
	__u32 low, high;	/* both included; protocol << 16 | key */
};

/* An address range, both ends included; IPv4 in low. */
struct range {
	__u64 low_high, low_low, high_high, high_low;
};

/* One match of one rule. One of 100,000: in a line of the cache. */
struct entry {
	__u32 rule;
	__u32 n_uids;		/* 0: every uid */
	const struct sl_uid *uids;
	struct key_range *keys;	/* of the arena; sorted, disjoint */
	struct range *v4, *v6;	/* the same; perhaps another entry's too */
	/* Of names: the match whose names they are, and no addresses. */
	const struct sl_match *names;
	__u32 n_keys, n_v4, n_v6;
	bool any : 1;		/* stands in the base table */
	bool inbound : 1;
	bool marker : 1;	/* not a rule: marks the embedded blocks */
	bool ask_only : 1;	/* the search domains' patterns: no keys, no connections */
	bool quic : 1;		/* the UDP of an `sni: verify`: denied, no names are seen there */
};

struct class {
	__u64 hash[2];
	__u32 *entries;		/* of the arena, ascending */
	__u32 n_entries;
	bool embedded;
	bool names;		/* of patterns: its entries are of names */
	bool resolves_private;
	__u32 row;		/* position in rows */
	__u32 row_flags;
	__u32 same_as;		/* the first class with the same row and flags */
};

/* A pattern under construction: text without `*.`; `*` has an empty one. */
struct pattern {
	const char *text;
	char *own;		/* text, where it is no host's */
	bool suffix;
	bool allowed;		/* some allow rule names it */
	__u32 links;		/* its entries, a list in links[] */
	__u32 class;
};

/* An element of a pattern's list of entries. */
struct link {
	__u32 entry, next;
};

struct pattern_table {
	struct pattern *v;
	size_t n, cap;
	__u32 *slots;		/* by a hash of the text */
	size_t n_slots;
	struct link *links;
	size_t n_links, cap_links;
	size_t n_ask_only;	/* only there for the search domains */
};

struct compiler {
	const struct sl_policy *policy;
	const struct sl_compile_options *options;
	struct sl_diag *diag;
	struct sl_arena arena;	/* what entries and classes hold */

	struct sl_rule_info *rules;
	size_t n_rules, cap_rules;
	__u64 *deadlines;	/* by rule number, boot ns; 0 = never */
	struct entry *entries;
	size_t n_entries, cap_entries;
	const struct sl_set *last_set;	/* whose ranges an entry has, and no others: */
	size_t last_set_entry;

	__u32 *uids;		/* sorted, distinct */
	__u32 *uid_view;	/* view of each */
	size_t n_uids;
	__u32 n_views;
	__u32 *view_uid;	/* a uid that has the view; [0], [1] unused */

	struct class *classes;
	size_t n_classes, cap_classes, n_listed; /* listed: entries of all classes */
	__u32 *class_slots;
	size_t n_class_slots;
	size_t first_name_class;	/* those of names come after those of addresses */

	struct pattern_table names;
	__u32 ask_entry;	/* of the search domains; SL_NONE */
	bool queries_any;

	struct words v4, v6;	/* ranges as in the table, class before merging */
	struct pool ports, rows;
	__u32 base_row;

	__u64 *chains;		/* decisions under construction, see ports.c */
	size_t n_chains, cap_chains;
	__u32 *last_chain;	/* by rule number: the decision with nothing behind it; SL_NONE */
	__u32 *chain_slots;	/* the others */
	size_t n_chain_slots, n_in_slots;
	bool *reached;		/* by rule number */
};

int flatten(struct compiler *c);
struct entry *new_entry(struct compiler *c);
int add_rule(struct compiler *c, struct sl_rule_info info, __u64 deadline);

/* addresses.c: the ranges of an entry, from a match, prefixes, the embedded blocks */
int entry_addresses(struct sl_arena *arena, struct entry *e, const struct sl_match *match);
int entry_cidrs(struct sl_arena *arena, struct entry *e, const struct sl_cidr *cidrs, size_t n);
int entry_blocks(struct sl_arena *arena, struct entry *e);
/* First and last address. */
struct range cidr_range(const struct sl_cidr *cidr);

/* names.c */
size_t count_names(const struct sl_match *match);
/* The rule that lets the search domains' patterns be asked, behind the policy's. */
int add_search_rule(struct compiler *c);
int classify_names(struct compiler *c);
void names_free(struct pattern_table *t);

/* patterns.c: number gives the final class. */
int emit_patterns(const struct compiler *c, const __u32 *number, struct sl_compiled *out);
/* The keys that a match covers, into e->keys and n_keys, which are empty. */
int entry_keys(struct sl_arena *arena, struct entry *e, const struct sl_match *match);
int sweep(struct compiler *c);

/* The entries over an address, as the sweep has them there: one bit each. */
struct active {
	__u64 *bits;
	__u64 *used;		/* a bit for each word of bits[] that is not 0: few are */
	size_t n;
	__u64 hash[2];
};

int class_of(struct compiler *c, const struct active *active, __u32 *class);
/* The same for names: entries are sorted, each once. */
int class_of_names(struct compiler *c, const __u32 *entries, size_t n, __u32 *class);
int build_rows(struct compiler *c);
int emit(struct compiler *c, struct sl_compiled *out);
/* Appends the sections of sections.c to a table, and says in its header where. */
int write_sections(const struct compiler *c, struct words *t, __u64 h[SL_HEADER_WORDS]);
int pad(struct words *t);
/* index.c, index6.c: n ranges as groups, behind what leads to them, and the header's words for both. */
int write_ranges4(const struct compiler *c, struct words *t, size_t n, __u64 h[SL_HEADER_WORDS]);
int write_ranges6(const struct compiler *c, struct words *t, size_t n, __u64 h[SL_HEADER_WORDS]);
void review(struct compiler *c, const struct sl_compiled *compiled);
int too_large(struct compiler *c, const char *what);

/* review_names.c */
void review_names(struct compiler *c, const struct sl_compiled *compiled);
/* Who decides about the first name of an entry: its question or, if an allow rule's is
 * allowed, a connection as in *q. */
void ask_names(const struct sl_compiled *compiled, const struct entry *e,
	       struct sl_question *q, struct sl_answer *answer);

/* The hash of an entry, for the hash of a set of them. */
static inline __u64 mix(__u64 x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

/* What decides: a rule's number, and CHAIN_QUIC for what it denies (struct entry). */
#define CHAIN_QUIC (1u << 31)

static inline __u32 decider(const struct entry *e)
{
	return e->rule | (e->quic ? CHAIN_QUIC : 0);
}

/* Decisions: chains[] has 2 words each: (decider << 32 | otherwise), deadline. */
static inline __u32 chain_decider(const struct compiler *c, __u32 id)
{
	return c->chains[2 * (size_t)id] >> 32;
}

static inline __u32 chain_rule(const struct compiler *c, __u32 id)
{
	return chain_decider(c, id) & ~CHAIN_QUIC;
}

static inline __u32 chain_otherwise(const struct compiler *c, __u32 id)
{
	return (__u32)c->chains[2 * (size_t)id];
}

#endif
