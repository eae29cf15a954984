/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What paints port tables (ports.c), and what lets it paint (rows.c). */
#ifndef SLUICE_COMPILE_PAINTER_H
#define SLUICE_COMPILE_PAINTER_H

#include "internal.h"

struct node {			/* what decides a segment; back towards the first */
	__u32 by, before;
};

struct painter {
	struct compiler *c;
	__u32 *keys;		/* where segments begin; keys[n] = KEY_END */
	__u32 *next;		/* union-find: the next open segment */
	__u32 *tail;		/* last node of each segment, SL_NONE */
	__u8 *links;		/* nodes of each segment */
	size_t n, cap;
	struct node *nodes;
	size_t n_nodes, cap_nodes;
	struct words table;
	/* the base table of each view: what a class's rule must come before */
	struct words *base;
	__u64 work;
};

/*
 * The port table of a list of entries in one view, into p->table. base: the table
 * that it is read together with, so that it is known which rules decide; NULL: that is
 * not asked.
 */
int build_table(struct painter *p, const __u32 *entries, size_t n, __u32 view,
		const struct words *base);

/* Interns p->table; the row's word for it (first word relative to the pool). */
int intern_table(struct painter *p, __u64 *word);

/* True if somewhere in [low, high) no rule before `rule` closes the table. */
bool open_before(const struct compiler *c, const __u64 *table, size_t n, __u32 low, __u32 high,
		 __u32 rule);

/* Does an entry count in a view? */
bool visible(const struct compiler *c, const struct entry *e, __u32 view);
/* What an entry covers in a view: a question is for a name, whatever the ports. */
const struct key_range *keys_of(const struct entry *e, __u32 view, size_t *n);
void sort_keys(__u32 *keys, size_t n);
/* The decision (decider, otherwise), each once. */
int intern_chain(struct compiler *c, __u32 by, __u32 otherwise, __u32 *id);

/* build_table, of few key ranges that never end (ports_few.c). False: these are others. */
bool build_few(struct painter *p, const __u32 *entries, size_t n, __u32 view,
	       const struct words *base, int *err);

void painter_free(struct painter *p);

#endif
