// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The addresses of an entry: from prefixes to sorted, disjoint ranges. */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Blocks that can carry a packet to an IPv4 address that no rule sees:
 * RFC 2765, RFC 8215, RFC 4380, RFC 3056; ascending. (::ffff:0:0/96 and 64:ff9b::/96 are
 * judged as the IPv4 address and never reach the IPv6 ranges.) */
static const struct range embedded_blocks[] = {
	{0, 0xffff000000000000, 0, 0xffff0000ffffffff},
	{0x0064ff9b00010000, 0, 0x0064ff9b0001ffff, ~0ull},
	{0x2001000000000000, 0, 0x20010000ffffffff, ~0ull},
	{0x2002000000000000, 0, 0x2002ffffffffffff, ~0ull},
};
#define N_BLOCKS (sizeof(embedded_blocks) / sizeof(embedded_blocks[0]))

static int compare128(__u64 a_high, __u64 a_low, __u64 b_high, __u64 b_low)
{
	if (a_high != b_high)
		return a_high < b_high ? -1 : 1;
	return a_low < b_low ? -1 : a_low > b_low;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return compare128(x->low_high, x->low_low, y->low_high, y->low_low);
}

struct range cidr_range(const struct sl_cidr *cidr)
{
	struct range r = {};
	__u64 high, low, mask;
	__u32 v4;

	if (cidr->family == 4) {
		memcpy(&v4, cidr->addr, 4);
		r.low_low = ntohl(v4);
		r.high_low = r.low_low | (cidr->len ? (1ull << (32 - cidr->len)) - 1 : 0xffffffff);
		return r;
	}
	memcpy(&high, cidr->addr, 8);
	memcpy(&low, cidr->addr + 8, 8);
	r.low_high = r.high_high = be64toh(high);
	r.low_low = r.high_low = be64toh(low);
	if (cidr->len < 64) {
		mask = cidr->len ? (1ull << (64 - cidr->len)) - 1 : ~0ull;
		r.high_high |= mask;
		r.high_low = ~0ull;
	} else {
		mask = cidr->len > 64 ? (1ull << (128 - cidr->len)) - 1 : ~0ull;
		r.high_low |= cidr->len == 128 ? 0 : mask;
	}
	return r;
}

/* True if r ends right before s begins. */
static bool touches(const struct range *r, const struct range *s)
{
	__u64 low = r->high_low + 1, high = r->high_high + !low;

	return (low || high) && s->low_high == high && s->low_low == low;
}

static bool sorted(const struct range *r, size_t n)
{
	size_t i;

	for (i = 1; i < n; i++)
		if (compare_ranges(&r[i - 1], &r[i]) > 0)
			return false;
	return true;
}

#define FEW 24	/* ranges that are sorted by inserting each where it belongs */

static void sort_few(struct range *r, size_t n)
{
	struct range moving;
	size_t i, k;

	for (i = 1; i < n; i++) {
		moving = r[i];
		for (k = i; k && compare_ranges(&r[k - 1], &moving) > 0; k--)
			r[k] = r[k - 1];
		r[k] = moving;
	}
}

/* A byte of the first address, the highest is 0. */
static unsigned char digit(const struct range *r, unsigned i)
{
	return (i < 8 ? r->low_high : r->low_low) >> (8 * (7 - i % 8));
}

/*
 * Sorts ranges whose first addresses are equal up to byte i: into piles by that byte, each of which
 * is sorted by the next one. Piles soon fit into the cache, and then have few. other: room for n.
 */
static void sort_from(struct range *r, struct range *other, size_t n, unsigned i)
{
	size_t end[256] = {}, k, sum = 0, count;

	if (n <= FEW || i == 16) {
		sort_few(r, n);
		return;
	}
	for (k = 0; k < n; k++)
		end[digit(&r[k], i)]++;
	if (end[digit(r, i)] == n) {
		sort_from(r, other, n, i + 1);
		return;
	}
	for (k = 0; k < 256; k++) {
		count = end[k];
		end[k] = sum;
		sum += count;
	}
	memcpy(other, r, n * sizeof(*r));
	for (k = 0; k < n; k++)
		r[end[digit(&other[k], i)]++] = other[k];
	for (k = 0, sum = 0; k < 256; sum = end[k++])
		sort_from(r + sum, other, end[k] - sum, i + 1);
}

/* By the first address. */
static void sort_v6(struct range *r, size_t n)
{
	struct range *other = n > FEW ? malloc(n * sizeof(*r)) : NULL;

	if (other)
		sort_from(r, other, n, 0);
	else if (n)
		qsort(r, n, sizeof(*r), compare_ranges);
	free(other);
}

#define DIGIT_BITS 11	/* three digits are an IPv4 address */
#define DIGITS (1u << DIGIT_BITS)

static void sort_digit(const __u64 *from, __u64 *to, size_t n, unsigned shift)
{
	size_t at[DIGITS] = {}, sum = 0, count, k;

	for (k = 0; k < n; k++)
		at[from[k] >> shift & (DIGITS - 1)]++;
	for (k = 0; k < DIGITS; k++) {
		count = at[k];
		at[k] = sum;
		sum += count;
	}
	for (k = 0; k < n; k++)
		to[at[from[k] >> shift & (DIGITS - 1)]++] = from[k];
}

/* The same, as words of both addresses: a quarter of the memory to move. */
static void sort_v4(struct range *r, size_t n)
{
	__u64 *keys = n > DIGITS ? malloc(2 * n * sizeof(*keys)) : NULL, *other;
	size_t k;

	if (!keys) {
		qsort(r, n, sizeof(*r), compare_ranges);
		return;
	}
	other = keys + n;
	for (k = 0; k < n; k++)
		keys[k] = r[k].low_low << 32 | r[k].high_low;
	sort_digit(keys, other, n, 32);
	sort_digit(other, keys, n, 32 + DIGIT_BITS);
	sort_digit(keys, other, n, 32 + 2 * DIGIT_BITS);
	for (k = 0; k < n; k++) {
		r[k].low_low = other[k] >> 32;
		r[k].high_low = (__u32)other[k];
	}
	free(keys);
}

/* Merges sorted ranges that overlap or touch; returns how many are left. */
static size_t merge_ranges(struct range *r, size_t n)
{
	size_t i, out = 0;

	if (!n)
		return 0;
	for (i = 1; i < n; i++) {
		if (compare128(r[i].low_high, r[i].low_low, r[out].high_high,
			       r[out].high_low) <= 0 ||
		    touches(&r[out], &r[i])) {
			if (compare128(r[i].high_high, r[i].high_low, r[out].high_high,
				       r[out].high_low) > 0) {
				r[out].high_high = r[i].high_high;
				r[out].high_low = r[i].high_low;
			}
		} else {
			r[++out] = r[i];
		}
	}
	return out + 1;
}

struct range_list {
	struct sl_arena *arena;
	struct range *v;
	size_t n, cap;
};

static int list_reserve(struct range_list *list, size_t cap)
{
	struct range *v = sl_arena_take(list->arena, cap, sizeof(*v));

	if (!v)
		return -ENOMEM;
	if (list->n)
		memcpy(v, list->v, list->n * sizeof(*v));
	list->v = v;
	list->cap = cap;
	return 0;
}

static int list_push(struct range_list *list, struct range r)
{
	/* a prefix that becomes several ranges: few do */
	if (list->n == list->cap && list_reserve(list, list->cap * 2 + 1))
		return -ENOMEM;
	list->v[list->n++] = r;
	return 0;
}

static bool range_within(const struct range *r, const struct range *block)
{
	return compare128(r->low_high, r->low_low, block->low_high, block->low_low) >= 0 &&
	       compare128(r->high_high, r->high_low, block->high_high, block->high_low) <= 0;
}

/* A prefix wider than an embedded block does not cover the block: cut it out. */
static int push_v6(struct range_list *list, struct range r)
{
	struct range left;
	size_t i;

	for (i = 0; i < N_BLOCKS; i++)
		if (range_within(&r, &embedded_blocks[i]))
			return list_push(list, r);
	for (i = 0; i < N_BLOCKS; i++) {
		const struct range *block = &embedded_blocks[i];

		if (!range_within(block, &r))
			continue;
		left = r;
		left.high_high = block->low_high - !block->low_low;
		left.high_low = block->low_low - 1;
		if (compare128(left.low_high, left.low_low, block->low_high,
			       block->low_low) < 0 && list_push(list, left))
			return -ENOMEM;
		r.low_low = block->high_low + 1;	/* none ends at the top */
		r.low_high = block->high_high + !r.low_low;
		if (compare128(r.low_high, r.low_low, r.high_high, r.high_low) > 0)
			return 0;
	}
	return list_push(list, r);
}

/* The ranges of an entry while they are collected. */
struct collection {
	struct range_list v4, v6;
};

static int push_cidrs(const struct sl_cidr *cidrs, size_t n, struct collection *to)
{
	size_t i;

	for (i = 0; i < n; i++) {
		struct range r = cidr_range(&cidrs[i]);

		if (cidrs[i].family == 4 ? list_push(&to->v4, r) : push_v6(&to->v6, r))
			return -ENOMEM;
	}
	return 0;
}

static void count_cidrs(const struct sl_cidr *cidrs, size_t n, size_t *n_v4, size_t *n_v6)
{
	size_t i;

	for (i = 0; i < n; i++)
		++*(cidrs[i].family == 4 ? n_v4 : n_v6);
}

static int begin(struct collection *to, struct sl_arena *arena, size_t n_v4, size_t n_v6)
{
	to->v4 = to->v6 = (struct range_list){.arena = arena};
	return list_reserve(&to->v4, n_v4) || list_reserve(&to->v6, n_v6) ? -ENOMEM : 0;
}

static void take_ranges(struct entry *e, struct collection *from)
{
	e->v4 = from->v4.v;
	e->v6 = from->v6.v;
	if (!sorted(e->v4, from->v4.n))
		sort_v4(e->v4, from->v4.n);
	if (!sorted(e->v6, from->v6.n))
		sort_v6(e->v6, from->v6.n);
	e->n_v4 = merge_ranges(e->v4, from->v4.n);
	e->n_v6 = merge_ranges(e->v6, from->v6.n);
}

/* The prefixes of a host, n of them; none of what is not known by prefixes. */
static const struct sl_cidr *host_cidrs(const struct sl_host *host, size_t *n)
{
	bool set = host->kind == SL_HOST_SET && host->set;

	*n = set ? host->set->n_cidrs : host->kind == SL_HOST_CIDR;
	return set ? host->set->cidrs : &host->cidr;
}

/* One prefix of IPv4, as most rules have, is one range. */
static int one_range(struct sl_arena *arena, struct entry *e, const struct sl_cidr *cidr)
{
	e->v4 = sl_arena_take(arena, 1, sizeof(*e->v4));
	if (!e->v4)
		return -ENOMEM;
	*e->v4 = cidr_range(cidr);
	e->n_v4 = 1;
	return 0;
}

int entry_addresses(struct sl_arena *arena, struct entry *e, const struct sl_match *match)
{
	const struct sl_cidr *cidrs;
	struct collection to;
	size_t i, n, n_v4 = 0, n_v6 = 0;
	int err;

	if (match->n_hosts == 1 && match->hosts->kind == SL_HOST_CIDR &&
	    match->hosts->cidr.family == 4)
		return one_range(arena, e, &match->hosts->cidr);
	for (i = 0; i < match->n_hosts; i++) {
		if (match->hosts[i].kind == SL_HOST_SET && !match->hosts[i].set)
			return -EINVAL; /* not resolved: a caller's mistake */
		e->any |= match->hosts[i].kind == SL_HOST_ANY;
		cidrs = host_cidrs(&match->hosts[i], &n);
		count_cidrs(cidrs, n, &n_v4, &n_v6);
	}
	err = begin(&to, arena, n_v4, n_v6);
	for (i = 0; i < match->n_hosts && !err; i++) {
		cidrs = host_cidrs(&match->hosts[i], &n);
		err = push_cidrs(cidrs, n, &to);
	}
	take_ranges(e, &to);
	return err;
}

int entry_cidrs(struct sl_arena *arena, struct entry *e, const struct sl_cidr *cidrs, size_t n)
{
	size_t n_v4 = 0, n_v6 = 0;
	struct collection to;
	int err;

	count_cidrs(cidrs, n, &n_v4, &n_v6);
	err = begin(&to, arena, n_v4, n_v6);
	if (!err)
		err = push_cidrs(cidrs, n, &to);
	take_ranges(e, &to);
	return err;
}

int entry_blocks(struct sl_arena *arena, struct entry *e)
{
	e->v6 = sl_arena_take(arena, N_BLOCKS, sizeof(*e->v6));
	if (!e->v6)
		return -ENOMEM;
	memcpy(e->v6, embedded_blocks, sizeof(embedded_blocks));
	e->n_v6 = N_BLOCKS;
	return 0;
}
