// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The rows: for each class, and for the rules to `any`, a port table a view. */
#include <errno.h>
#include <stdlib.h>

#include "painter.h"

/* Interns the row of a class, two entries long if all uids are alike. */
static int add_row(struct painter *p, struct class *class, const __u64 *row, __u32 n_views,
		   __u32 flags)
{
	struct compiler *c = p->c;
	__u32 view;
	int err;

	for (view = 2; view < n_views && row[view] == row[1]; view++)
		;
	if (view >= n_views)
		n_views = 2;
	class->row_flags = flags | (n_views == 2 ? SL_C_UNIFORM : 0);
	err = pool_intern(&c->rows, row, n_views, &class->row);
	if (!err && c->rows.words.n > SL_TABLE_WORDS_MAX)
		err = too_large(c, "64 MiB of class rows");
	return err;
}

static int build_class(struct painter *p, struct class *class, __u64 *row)
{
	static const struct words nothing;
	struct compiler *c = p->c;
	__u32 view, n_views = 2, i;
	int err;

	for (i = 0; i < class->n_entries; i++)
		if (c->entries[class->entries[i]].n_uids)
			n_views = c->n_views;
	for (view = 0; view < n_views; view++) {
		err = build_table(p, class->entries, class->n_entries, view,
				  class->embedded ? &nothing : &p->base[view]);
		if (!err)
			err = intern_table(p, &row[view]);
		if (err)	/* row is the caller's, which frees it */
			return err; /* NOLINT(clang-analyzer-unix.Malloc) */
	}
	return add_row(p, class, row, n_views, class->embedded ? SL_C_EMBEDDED : 0);
}

/* True if the question for these names is denied, for good: then they own nothing. */
static bool never_asked(const struct compiler *c, const struct class *class)
{
	__u32 rule = class->n_entries ? c->entries[class->entries[0]].rule : SL_NONE;

	return rule != SL_NONE && c->rules[rule].action == SL_DENY && !c->deadlines[rule];
}

/*
 * A class of names: in the first entry of its row the question, in the others the
 * connections. What a rule by name is for it may do by a question alone, which nothing
 * stands before but rules by name.
 */
static int build_names(struct painter *p, struct class *class, __u64 *row)
{
	static const struct words nothing;
	struct compiler *c = p->c;
	__u32 view, n_views = 2, i;
	int err = 0;

	for (i = 0; i < class->n_entries; i++)
		if (c->entries[class->entries[i]].n_uids)
			n_views = c->n_views;
	for (view = 0; view < n_views && !err; view++) {
		row[view] = 0;
		if (view != SL_VIEW_QUESTION && never_asked(c, class))
			continue;
		err = build_table(p, class->entries, class->n_entries, view,
				  view == SL_VIEW_QUESTION ? &nothing : &p->base[view]);
		if (!err)
			err = intern_table(p, &row[view]);
	}
	if (err)
		return err;
	return add_row(p, class, row, n_views,
		       SL_C_NAME | (class->resolves_private ? SL_C_PRIVATE : 0));
}

static int build_base(struct painter *p, __u64 *row)
{
	struct compiler *c = p->c;
	__u32 *any = malloc((c->n_entries + 1) * sizeof(*any)), view;
	size_t i, n = 0;
	int err = 0;

	if (!any)
		return -ENOMEM;
	for (i = 0; i < c->n_entries; i++)
		if (c->entries[i].any)
			any[n++] = i;
	for (view = 0; view < c->n_views && !err; view++) {
		err = build_table(p, any, n, view, NULL);
		if (!err)
			err = words_append(&p->base[view], p->table.v, p->table.n);
		if (!err)
			err = intern_table(p, &row[view]);
	}
	free(any);
	return err ? err : pool_intern(&c->rows, row, c->n_views, &c->base_row);
}

static bool class_leaves_open(struct compiler *c, const struct class *class, __u32 view,
			      __u32 low, __u32 high, __u32 rule)
{
	__u64 word;

	/* A name's class is read beside an address's, never in its place. */
	if (class->embedded || class->names)
		return false;
	if ((class->row_flags & SL_C_UNIFORM) && view > SL_VIEW_OTHER)
		view = SL_VIEW_OTHER;
	word = c->rows.words.v[class->row + view];
	return open_before(c, c->ports.words.v + (__u32)word, word >> 32, low, high, rule);
}

/* Marks the rules to `any` that decide for some address and key. */
static void mark_base(struct painter *p)
{
	struct compiler *c = p->c;
	__u32 view, id, low, high;
	size_t i, k;

	for (view = 0; view < c->n_views; view++) {
		for (i = 0; i < p->base[view].n; i++) {
			low = p->base[view].v[i] >> 32;
			high = i + 1 < p->base[view].n ? p->base[view].v[i + 1] >> 32 : KEY_END;
			for (id = (__u32)p->base[view].v[i]; id != SL_NONE;
			     id = chain_otherwise(c, id)) {
				for (k = 0; k < c->n_classes && !c->reached[chain_rule(c, id)]; k++)
					c->reached[chain_rule(c, id)] = class_leaves_open(
						c, &c->classes[k], view, low, high,
						chain_rule(c, id));
			}
		}
	}
}

int build_rows(struct compiler *c)
{
	struct painter p = {.c = c};
	__u64 *row = calloc(c->n_views, sizeof(*row));
	size_t i;
	int err = -ENOMEM;

	p.base = calloc(c->n_views, sizeof(*p.base));
	if (row && p.base && !pool_reserve(&c->rows, c->n_classes) &&
	    !pool_reserve(&c->ports, c->n_classes))
		err = build_base(&p, row);
	for (i = 0; i < c->n_classes && !err; i++)
		err = (c->classes[i].names ? build_names : build_class)(&p, &c->classes[i], row);
	if (!err)
		mark_base(&p);
	painter_free(&p);
	free(row);
	return err;
}
