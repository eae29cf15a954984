// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * From the address ranges of all entries to one partition of each family. Each
 * entry's ranges are sorted, so a heap of cursors yields every boundary in
 * order: n boundaries of m entries cost n log m and no memory of their own. Cursors that have
 * not begun wait outside of it in their order, which is often the policy's: then it stays small.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

struct cursor {
	__u64 high, low;	/* the next boundary */
	__u32 entry;
	__u32 at;		/* 2 * range + (1 at its end) */
};

struct sweep {
	struct compiler *c;
	int family;
	struct cursor *heap;	/* n of them; then, from `waiting` to `end`, those that wait */
	size_t n, waiting, end;
	struct active active;
};

static bool before(const struct cursor *a, const struct cursor *b)
{
	return a->high != b->high ? a->high < b->high : a->low < b->low;
}

static void sift_down(struct sweep *s, size_t i)
{
	struct cursor moving = s->heap[i];
	size_t child;

	for (; (child = 2 * i + 1) < s->n; i = child) {
		if (child + 1 < s->n && before(&s->heap[child + 1], &s->heap[child]))
			child++;
		if (!before(&s->heap[child], &moving))
			break;
		s->heap[i] = s->heap[child];
	}
	s->heap[i] = moving;
}

/* There is room: the cursor waited behind the heap. */
static void push(struct sweep *s, const struct cursor *cursor)
{
	size_t i = s->n++, parent;

	for (; i && before(cursor, &s->heap[parent = (i - 1) / 2]); i = parent)
		s->heap[i] = s->heap[parent];
	s->heap[i] = *cursor;
}

/* Loads the cursor's boundary. False: it has none left, or ends at the top. */
static bool load(struct sweep *s, struct cursor *cursor)
{
	const struct entry *e = &s->c->entries[cursor->entry];
	const struct range *ranges = s->family == 4 ? e->v4 : e->v6;
	size_t n = s->family == 4 ? e->n_v4 : e->n_v6;
	const struct range *r;

	if (cursor->at / 2 >= n)
		return false;
	r = &ranges[cursor->at / 2];
	if (!(cursor->at & 1)) {
		cursor->high = r->low_high;
		cursor->low = r->low_low;
		return true;
	}
	cursor->low = r->high_low + 1;
	cursor->high = r->high_high + !cursor->low;
	return s->family == 4 ? cursor->low <= 0xffffffff : cursor->high || cursor->low;
}

static void toggle(struct sweep *s, __u32 entry)
{
	struct active *a = &s->active;
	size_t word = entry / 64;

	a->bits[word] ^= 1ull << (entry % 64);
	a->n += a->bits[word] >> (entry % 64) & 1 ? 1 : -1;
	a->used[word / 64] &= ~(1ull << (word % 64));
	a->used[word / 64] |= (__u64)!!a->bits[word] << (word % 64);
	a->hash[0] ^= mix(2 * (__u64)entry);
	a->hash[1] ^= mix(2 * (__u64)entry + 1);
}

static bool is_at(const struct cursor *cursor, __u64 high, __u64 low)
{
	return cursor->high == high && cursor->low == low;
}

/* Takes every boundary at (high, low). */
static void take(struct sweep *s, __u64 high, __u64 low)
{
	struct cursor first;

	while (s->n && is_at(&s->heap[0], high, low)) {
		toggle(s, s->heap[0].entry);
		s->heap[0].at++;
		if (!load(s, &s->heap[0]))
			s->heap[0] = s->heap[--s->n];
		if (s->n)
			sift_down(s, 0);
	}
	while (s->waiting < s->end && is_at(&s->heap[s->waiting], high, low)) {
		first = s->heap[s->waiting++];
		toggle(s, first.entry);
		first.at++;
		if (load(s, &first))
			push(s, &first);
	}
}

/* The cursor of the next boundary; NULL: there is none. */
static const struct cursor *next(const struct sweep *s)
{
	const struct cursor *begun = s->n ? s->heap : NULL;
	const struct cursor *waits = s->waiting < s->end ? &s->heap[s->waiting] : NULL;

	return !begun || (waits && before(waits, begun)) ? waits : begun;
}

static int push_range(struct sweep *s, __u64 high, __u64 low, __u32 class)
{
	struct words *out = s->family == 4 ? &s->c->v4 : &s->c->v6;
	const __u64 six[3] = {high, low, class};

	if (s->family == 4)
		return words_push(out, low << 32 | class);
	return words_append(out, six, 3);
}

static int run(struct sweep *s)
{
	const struct cursor *at;
	__u64 high = 0, low = 0;
	__u32 class, last = SL_NONE;
	int err;

	for (;;) {
		take(s, high, low);
		err = class_of(s->c, &s->active, &class);
		if (err)
			return err;
		if (class != last) {
			err = push_range(s, high, low, class);
			if (err)
				return err;
			last = class;
		}
		at = next(s);
		if (!at)
			return 0;
		high = at->high;
		low = at->low;
	}
}

/* Room for every boundary: to grow would touch as much memory again. */
static int reserve(struct compiler *c, int family)
{
	size_t i, n = 0;

	for (i = 0; i < c->n_entries; i++)
		n += family == 4 ? c->entries[i].n_v4 : c->entries[i].n_v6;
	n = 2 * n + 1;
	return family == 4 ? words_reserve(&c->v4, n) : words_reserve(&c->v6, 3 * n);
}

static int compare_cursors(const void *a, const void *b)
{
	return before(b, a) - before(a, b);
}

/* Every entry's cursor waits for its first boundary. */
static void line_up(struct sweep *s)
{
	struct cursor *cursor;
	bool sorted = true;
	size_t i;

	for (i = 0; i < s->c->n_entries; i++) {
		cursor = &s->heap[s->end];
		cursor->entry = i;
		cursor->at = 0;
		if (!load(s, cursor))
			continue;
		sorted = sorted && (!s->end || !before(cursor, cursor - 1));
		s->end++;
	}
	if (!sorted)
		qsort(s->heap, s->end, sizeof(*s->heap), compare_cursors);
}

static int sweep_family(struct compiler *c, int family)
{
	struct sweep s = {.c = c, .family = family};
	size_t n = c->n_entries;
	int err = -ENOMEM;

	s.heap = malloc(n * sizeof(*s.heap));
	s.active.bits = calloc((n + 63) / 64, sizeof(*s.active.bits));
	s.active.used = calloc((n + 4095) / 4096, sizeof(*s.active.used));
	if (s.heap && s.active.bits && s.active.used && !reserve(c, family)) {
		line_up(&s);
		err = run(&s);
	}
	free(s.heap);
	free(s.active.bits);
	free(s.active.used);
	return err;
}

int sweep(struct compiler *c)
{
	int err = sweep_family(c, 4);

	return err ? err : sweep_family(c, 6);
}
