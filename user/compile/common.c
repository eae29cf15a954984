// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* An address that stands for most: what a test of a name connects to. */
#include <stdlib.h>

#include "compile.h"

/* The ranges of a family in a table, all of whose words are there. */
struct ranges {
	const __u64 *words;
	size_t n;
	bool v6;
};

static bool ranges_of(const struct sl_table *t, int family, struct ranges *out)
{
	*out = (struct ranges){t->words, sl_ranges(t, family), family == 6};
	return out->n;
}

static __u32 range_at(const struct ranges *r, size_t i, unsigned __int128 *begin)
{
	__u64 high, low;
	__u32 class = sl_range_at(r->words, r->v6 ? 6 : 4, i, &high, &low);

	*begin = (unsigned __int128)high << 64 | low;
	return class;
}

static unsigned __int128 begin(const struct ranges *r, size_t i)
{
	unsigned __int128 at;

	range_at(r, i, &at);
	return at;
}

static __u32 class_at(const struct ranges *r, size_t i)
{
	unsigned __int128 at;

	return range_at(r, i, &at);
}

/* The last address of a range. */
static unsigned __int128 last(const struct ranges *r, size_t i)
{
	if (i + 1 < r->n)
		return begin(r, i + 1) - 1;
	return r->v6 ? ~(unsigned __int128)0 : 0xffffffff;
}

/* Addresses of each class, less one a range so that all of IPv6 is a number too. */
static __u32 largest_class(const struct ranges *r, unsigned __int128 *sizes, size_t n_classes)
{
	__u32 best = 0;
	size_t i;

	for (i = 0; i < r->n; i++)
		if (class_at(r, i) < n_classes)
			sizes[class_at(r, i)] += last(r, i) - begin(r, i);
	for (i = 1; i < n_classes; i++)
		if (sizes[i] > sizes[best])
			best = i;
	return best;
}

/* The middle of the class's largest range: far from what stands at its edges. */
static unsigned __int128 middle(const struct ranges *r, __u32 class)
{
	unsigned __int128 size, largest = 0, at = 0;
	bool found = false;
	size_t i;

	for (i = 0; i < r->n; i++) {
		size = last(r, i) - begin(r, i);
		if (class_at(r, i) != class || (found && size <= largest))
			continue;
		found = true;
		largest = size;
		at = begin(r, i) + size / 2;
	}
	return at;
}

bool sl_table_common_address(const struct sl_table *table, int family, struct sl_question *question)
{
	size_t n_classes;
	unsigned __int128 *sizes, at;
	struct ranges r;

	if (!ranges_of(table, family, &r))
		return false;
	n_classes = table->words[SL_H_CLASSES] >> 32;
	sizes = calloc(n_classes + 1, sizeof(*sizes));
	if (!sizes)
		return false;
	at = middle(&r, largest_class(&r, sizes, n_classes));
	free(sizes);
	question->family = family;
	question->address_high = at >> 64;
	question->address_low = (__u64)at;
	return true;
}
