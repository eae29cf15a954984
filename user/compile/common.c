// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* An address that stands for most: what a test of a name connects to. */
#include <stdlib.h>

#include "compile.h"

static unsigned __int128 address(const struct sl_table_range *r)
{
	return (unsigned __int128)r->high << 64 | r->low;
}

/* The next range, and its last address. */
static bool next(struct sl_ranges *r, struct sl_table_range *at, struct sl_table_range *behind,
		 unsigned __int128 *last)
{
	*at = *behind;
	if (at->class == SL_NONE)
		return false;
	if (sl_ranges_next(r, behind)) {
		*last = address(behind) - 1;
	} else {
		behind->class = SL_NONE;
		*last = r->family == 6 ? ~(unsigned __int128)0 : 0xffffffff;
	}
	return true;
}

static void first(struct sl_ranges *r, struct sl_table_range *behind)
{
	sl_ranges_go(r, 0, 0);
	if (!sl_ranges_next(r, behind))
		behind->class = SL_NONE;
}

/* Addresses of each class, less one a range so that all of IPv6 is a number too. */
static __u32 largest_class(struct sl_ranges *r, unsigned __int128 *sizes, size_t n_classes)
{
	struct sl_table_range at, behind;
	unsigned __int128 last;
	__u32 best = 0;
	size_t i;

	for (first(r, &behind); next(r, &at, &behind, &last);)
		if (at.class < n_classes)
			sizes[at.class] += last - address(&at);
	for (i = 1; i < n_classes; i++)
		if (sizes[i] > sizes[best])
			best = i;
	return best;
}

/* The middle of the class's largest range: far from what stands at its edges. */
static unsigned __int128 middle(struct sl_ranges *r, __u32 class)
{
	unsigned __int128 size, largest = 0, found = 0, last;
	struct sl_table_range at, behind;
	bool any = false;

	for (first(r, &behind); next(r, &at, &behind, &last);) {
		size = last - address(&at);
		if (at.class != class || (any && size <= largest))
			continue;
		any = true;
		largest = size;
		found = address(&at) + size / 2;
	}
	return found;
}

bool sl_table_common_address(const struct sl_table *table, int family, struct sl_question *question)
{
	size_t n_classes;
	unsigned __int128 *sizes, at;
	struct sl_ranges r;

	if (!sl_ranges_open(&r, table, family))
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
