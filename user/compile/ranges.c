// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The ranges of a table in the order of their addresses, for those who look through them. */
#include "compile.h"

/* The i-th range by upper halves, or of IPv4. */
static struct sl_table_range range_at(const struct sl_ranges *r, size_t i)
{
	struct sl_table_range range = {};
	const __u64 *w = r->groups;

	if (r->family == 4) {
		w += i / SL_V4_GROUP * SL_CHUNK_WORDS;
		i %= SL_V4_GROUP;
		range.low = SL_V4_FIRST(i, w[SL_V4_FIRST_WORD(i)]);
		range.class = SL_V4_CLASS(i, w[SL_V4_CLASS_WORD(i)]);
		return range;
	}
	w += i / SL_V6_GROUP * SL_CHUNK_WORDS;
	i %= SL_V6_GROUP;
	range.high = w[i] << 1 | (w[SL_V6_LOWEST] >> (48 + i) & 1);
	range.class = SL_V6_CLASS(i + 1, w[SL_V6_CLASS_WORD(i + 1)]);
	return range;
}

static struct sl_table_range full_at(const struct sl_ranges *r, size_t i)
{
	const __u64 *w = r->full + i / SL_FULL_GROUP * SL_FULL_GROUP_WORDS;

	i %= SL_FULL_GROUP;
	return (struct sl_table_range){w[SL_FULL_HIGH(i)], w[SL_FULL_LOW(i)],
				       SL_FULL_CLASS(i, w[SL_FULL_CLASS_WORD(i)])};
}

static bool holds(const struct sl_table *t, __u64 section, size_t words)
{
	return (__u32)section + words <= t->n_words;
}

bool sl_ranges_open(struct sl_ranges *r, const struct sl_table *t, int family)
{
	const __u64 *w = t->words;

	*r = (struct sl_ranges){.family = family};
	if (t->n_words < SL_HEADER_WORDS)
		return false;
	r->groups = w + (__u32)w[family == 4 ? SL_H_V4 : SL_H_V6];
	r->n = family == 4 ? SL_V4_RANGES(w) : SL_V6_RANGES(w);
	if (family == 4)
		return r->n && holds(t, w[SL_H_V4], SL_V4_GROUPS(r->n) * SL_CHUNK_WORDS);
	r->full = w + (__u32)w[SL_H_FULL];
	r->n_full = w[SL_H_FULL_RANGES];
	return r->n && holds(t, w[SL_H_V6], SL_V6_BLOCKS(r->n) * SL_V6_BLOCK_WORDS) &&
	       holds(t, w[SL_H_FULL], SL_FULL_GROUPS(r->n_full) * SL_FULL_GROUP_WORDS);
}

bool sl_ranges_next(struct sl_ranges *r, struct sl_table_range *out)
{
	if (r->within) {
		*out = r->at_full < r->n_full ? full_at(r, r->at_full) : (struct sl_table_range){};
		if (r->at_full < r->n_full &&
		    (r->at == r->n || out->high < range_at(r, r->at).high)) {
			r->at_full++;
			return true;
		}
		r->within = false;
	}
	if (r->at >= r->n)
		return false;
	*out = range_at(r, r->at++);
	if (r->family == 4 || out->class != SL_V6_FULL)
		return true;
	r->within = true;
	return sl_ranges_next(r, out);
}

static bool is_behind(const struct sl_table_range *r, __u64 high, __u64 low)
{
	return r->high != high ? r->high > high : r->low > low;
}

/* How many of n begin at or before an address. */
static size_t count(const struct sl_ranges *r, size_t n,
		    struct sl_table_range (*get)(const struct sl_ranges *r, size_t i), __u64 high,
		    __u64 low)
{
	size_t first = 0, middle;
	struct sl_table_range range;

	while (n) {
		middle = n / 2;
		range = get(r, first + middle);
		if (is_behind(&range, high, low)) {
			n = middle;
		} else {
			first += middle + 1;
			n -= middle + 1;
		}
	}
	return first;
}

/* The first range begins with the first address: each is in one. */
void sl_ranges_go(struct sl_ranges *r, __u64 high, __u64 low)
{
	r->at = count(r, r->n, range_at, high, low);
	r->at_full = count(r, r->n_full, full_at, high, low);
	r->within = r->family == 6 && range_at(r, r->at - 1).class == SL_V6_FULL;
	if (r->within)
		r->at_full--;
	else
		r->at--;
}
