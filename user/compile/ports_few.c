// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The port table of few key ranges for good, as most classes have: each segment asks the rules in
 * their order, and nothing is painted (ports.c). */
#include <errno.h>

#include "painter.h"

#define FEW 4

struct few {
	struct key_range keys[FEW];	/* in the order of the rules */
	__u32 by[FEW];
	size_t n;
};

/* False: they are too many, or some expire. */
static bool collect_few(const struct compiler *c, const __u32 *entries, size_t n, __u32 view,
			struct few *few)
{
	const struct key_range *keys;
	const struct entry *e;
	size_t i, k, n_keys;

	few->n = 0;
	for (i = 0; i < n; i++) {
		e = &c->entries[entries[i]];
		if (!visible(c, e, view))
			continue;
		keys = keys_of(e, view, &n_keys);
		if (few->n + n_keys > FEW || c->deadlines[e->rule])
			return false;
		for (k = 0; k < n_keys; k++, few->n++) {
			few->keys[few->n] = keys[k];
			few->by[few->n] = decider(e);
		}
	}
	return true;
}

/* Where the segments begin, and KEY_END behind them; how many. */
static size_t cut_few(const struct few *few, __u32 starts[2 * FEW + 2])
{
	size_t i, n = 1, out = 0;

	starts[0] = 0;
	for (i = 0; i < few->n; i++) {
		starts[n++] = few->keys[i].low;
		starts[n++] = few->keys[i].high + 1;
	}
	sort_keys(starts, n);
	for (i = 1; i < n; i++)
		if (starts[i] != starts[out] && starts[i] < KEY_END)
			starts[++out] = starts[i];
	starts[out + 1] = KEY_END;
	return out + 1;
}

static int write_few(struct painter *p, const struct few *few, const struct words *base)
{
	__u32 starts[2 * FEW + 2], id, last = SL_NONE, rule;
	struct compiler *c = p->c;
	size_t i, k, n = cut_few(few, starts);

	p->work += 2 * n;
	for (i = 0; i < n; i++) {
		for (k = 0; k < few->n; k++)
			if (few->keys[k].low <= starts[i] && starts[i] <= few->keys[k].high)
				break;
		id = SL_NONE;
		if (k < few->n) {
			rule = few->by[k] & ~CHAIN_QUIC;
			if (intern_chain(c, few->by[k], SL_NONE, &id))
				return -ENOMEM;
			if (base && !c->reached[rule])
				c->reached[rule] = open_before(c, base->v, base->n, starts[i],
							       starts[i + 1], rule);
		}
		if (i && id == last)
			continue;
		if (words_push(&p->table, (__u64)starts[i] << 32 | id))
			return -ENOMEM;
		last = id;
	}
	return 0;
}

bool build_few(struct painter *p, const __u32 *entries, size_t n, __u32 view,
	       const struct words *base, int *err)
{
	struct few few;

	if (!collect_few(p->c, entries, n, view, &few))
		return false;
	*err = few.n ? write_few(p, &few, base) : 0;
	return true;
}
