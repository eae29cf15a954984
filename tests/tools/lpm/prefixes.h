/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Prefixes for lpm_compare: random ones, chains, and nestings made to hurt. */
#ifndef SLUICE_TESTS_LPM_PREFIXES_H
#define SLUICE_TESTS_LPM_PREFIXES_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/types.h>

#define PREFIXES_MAX 64000 /* every one is a class: below SL_CLASSES_MAX */

typedef unsigned __int128 u128;

struct prefix {
	u128 first; /* IPv4 in the low 32 bits */
	__u8 family, len;
};

struct prefixes {
	struct prefix v[PREFIXES_MAX];
	size_t n;
};

static __u64 random_state;

/* splitmix64 (Steele, Lea, Flood 2014): a seed gives the same run everywhere. */
static __u64 random64(void)
{
	__u64 z = random_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static unsigned random_below(unsigned n)
{
	return random64() % n;
}

static __attribute__((noreturn)) void die(const char *what)
{
	fprintf(stderr, "lpm_compare: %s: %s\n", what, strerror(errno));
	exit(1);
}

static unsigned width(unsigned family)
{
	return family == 4 ? 32 : 128;
}

static u128 host_mask(unsigned family, unsigned len)
{
	unsigned bits = width(family) - len;

	return bits == 128 ? ~(u128)0 : ((u128)1 << bits) - 1;
}

static u128 random_address(unsigned family)
{
	u128 wide = (u128)random64() << 64 | random64();

	return family == 4 ? wide & 0xffffffff : wide;
}

static u128 make128(__u64 high, __u64 low)
{
	return (u128)high << 64 | low;
}

static void address_bytes(unsigned family, u128 address, __u8 out[16])
{
	unsigned n = width(family) / 8, i;

	memset(out, 0, 16);
	for (i = 0; i < n; i++)
		out[i] = address >> 8 * (n - 1 - i);
}

/* ::ffff:0:0/96 and 64:ff9b::/96: a rule may not name what is inside. */
#define MAPPED ((u128)0xffff << 32)
#define NAT64 ((u128)0x0064ff9b << 96)

static bool is_mapped(u128 address)
{
	address &= ~(u128)0xffffffff;
	return address == MAPPED || address == NAT64;
}

static void add(struct prefixes *p, unsigned family, u128 address, unsigned len)
{
	if (family == 6 && len >= 96 && is_mapped(address))
		return;
	if (p->n == PREFIXES_MAX) {
		errno = ENOSPC;
		die("too many prefixes");
	}
	p->v[p->n++] = (struct prefix){
		.first = address & ~host_mask(family, len), .family = family, .len = len};
}

/* A third lies inside another; three of four IPv6 ones in 2000::/3. */
static void add_random(struct prefixes *p, unsigned family, size_t n)
{
	unsigned least = family == 4 ? 8 : 16, len;
	const struct prefix *outer;
	size_t begin = p->n;
	u128 address;

	while (p->n < begin + n) {
		address = random_address(family);
		len = least + random_below(width(family) - least + 1);
		if (family == 6 && random_below(4))
			address = (address & host_mask(6, 3)) | (u128)1 << 125;
		if (p->n > begin && !random_below(3)) {
			outer = &p->v[begin + random_below(p->n - begin)];
			address = outer->first | (address & host_mask(family, outer->len));
			len = outer->len + random_below(width(family) - outer->len + 1);
		}
		add(p, family, address, len);
	}
}

static void add_chain(struct prefixes *p, unsigned family, u128 address)
{
	unsigned len;

	for (len = 0; len <= width(family); len++)
		add(p, family, address, len);
}

static void add_neighbours(struct prefixes *p, unsigned family, u128 base, unsigned len, unsigned n)
{
	u128 step = host_mask(family, len) + 1;
	unsigned i;

	for (i = 0; i < n; i++)
		add(p, family, base + i * step, len);
}

/* Blocks side by side, every address of a block in a block, and both ends. */
static void add_adversarial(struct prefixes *p, unsigned family)
{
	unsigned w = width(family);
	u128 base = family == 4 ? 0x0a400000 : make128(0x20010db800000000, 0);

	add(p, family, base, w - 16);
	add(p, family, base, w - 8);
	add_neighbours(p, family, base, w, 256);
	add_neighbours(p, family, base + (1 << 16), w - 4, 4096);
	add_neighbours(p, family, base + (2 << 16), w - 1, 128);
	add_neighbours(p, family, base + (2 << 16), w - 2, 64);
	add_neighbours(p, family, base + (2 << 16), w - 3, 32);
	add_chain(p, family, 0);
	add_chain(p, family, host_mask(family, 0));
	add_chain(p, family, host_mask(family, 1)); /* both sides of the middle */
	add_chain(p, family, host_mask(family, 1) + 1);
	if (family == 6) {
		add_chain(p, 6, make128(0x2002c0a800010000, 1));
		add_chain(p, 6, make128(0x20010000c0a80001, 0));
		add_chain(p, 6, make128(0x0064ff9b00010000, 0x0a000001));
		add_chain(p, 6, make128(0x0123456789abcdef, ~0ull));
		add_chain(p, 6, make128(0x0123456789abcdf0, 0));
	}
}

static int longest_first(const void *a, const void *b)
{
	const struct prefix *x = a, *y = b;

	if (x->len != y->len)
		return x->len > y->len ? -1 : 1;
	if (x->family != y->family)
		return x->family < y->family ? -1 : 1;
	return x->first < y->first ? -1 : x->first > y->first;
}

static void sort_unique(struct prefixes *p)
{
	size_t i, n = 0;

	qsort(p->v, p->n, sizeof(*p->v), longest_first);
	for (i = 0; i < p->n; i++)
		if (!n || longest_first(&p->v[n - 1], &p->v[i]))
			p->v[n++] = p->v[i];
	p->n = n;
}

static void add_distinct(struct prefixes *p, unsigned family, size_t n)
{
	n += p->n;
	while (p->n < n) {
		add_random(p, family, n - p->n);
		sort_unique(p);
	}
}

#endif
