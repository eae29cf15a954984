// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "prefixes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/text.h"

static void mask(struct sl_cidr *cidr, __u8 len)
{
	cidr->len = len;
	if (len % 8)
		cidr->addr[len / 8] &= (__u8)(0xff00 >> (len % 8));
	for (size_t i = (len + 7u) / 8; i < sizeof(cidr->addr); i++)
		cidr->addr[i] = 0;
}

static int add(struct sl_prefixes *prefixes, const struct sl_cidr *cidr, __u16 port, unsigned what)
{
	struct sl_prefix *slot = SL_ADD(prefixes->list, prefixes->n);

	if (!slot)
		return -ENOMEM;
	*slot = (struct sl_prefix){*cidr, port, what};
	mask(&slot->cidr, cidr->len);
	return 0;
}

int sl_prefixes_add(struct sl_prefixes *prefixes, const struct sl_cidr *cidr, __u16 port,
		    unsigned what)
{
	static const struct sl_cidr all[] = {{.family = 4}, {.family = 6}};
	int err;

	if (cidr->family)
		return add(prefixes, cidr, port, what);
	err = add(prefixes, &all[0], port, what);
	return err ? err : add(prefixes, &all[1], port, what);
}

static int compare_places(const struct sl_prefix *a, const struct sl_prefix *b)
{
	int order = a->cidr.family - b->cidr.family;

	if (!order)
		order = a->cidr.len - b->cidr.len;
	if (!order)
		order = memcmp(a->cidr.addr, b->cidr.addr, sizeof(a->cidr.addr));
	return order ? order : a->port - b->port;
}

static int compare(const void *a, const void *b)
{
	const struct sl_prefix *x = a, *y = b;
	int order = compare_places(x, y);

	return order ? order : (x->what > y->what) - (x->what < y->what);
}

static size_t family_of(const struct sl_cidr *cidr)
{
	return cidr->family == 6;
}

int sl_prefixes_sort(struct sl_prefixes *prefixes)
{
	prefixes->what = calloc(prefixes->n + 1, sizeof(*prefixes->what));
	if (!prefixes->what)
		return -ENOMEM;
	if (prefixes->n)
		qsort(prefixes->list, prefixes->n, sizeof(*prefixes->list), compare);
	for (size_t i = 0; i < prefixes->n; i++) {
		const struct sl_cidr *cidr = &prefixes->list[i].cidr;
		const struct sl_cidr *before = i ? &prefixes->list[i - 1].cidr : NULL;
		size_t family = family_of(cidr);

		prefixes->what[i] = prefixes->list[i].what;
		if (!before || before->len != cidr->len || before->family != cidr->family)
			prefixes->lengths[family].list[prefixes->lengths[family].n++] = cidr->len;
	}
	return 0;
}

/* The first that is not before the place; behind: that is after it. */
static size_t bound(const struct sl_prefixes *prefixes, const struct sl_prefix *place, bool behind)
{
	size_t low = 0, high = prefixes->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare_places(&prefixes->list[middle], place);

		if (order < 0 || (behind && !order))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static size_t add_run(const struct sl_prefixes *prefixes, const struct sl_prefix *place,
		      struct sl_prefix_run *run)
{
	size_t first = bound(prefixes, place, false);

	if (first == prefixes->n || compare_places(&prefixes->list[first], place))
		return 0;
	run->at = prefixes->what + first;
	run->end = prefixes->what + bound(prefixes, place, true);
	return 1;
}

size_t sl_prefixes_find(const struct sl_prefixes *prefixes, const struct sl_cidr *cidr, __u16 port,
			struct sl_prefix_run runs[SL_PREFIX_RUNS])
{
	size_t family = family_of(cidr), n = 0;

	for (size_t i = 0; i < prefixes->lengths[family].n; i++) {
		struct sl_prefix place = {.cidr = *cidr};

		if (prefixes->lengths[family].list[i] > cidr->len)
			break;
		mask(&place.cidr, prefixes->lengths[family].list[i]);
		n += add_run(prefixes, &place, &runs[n]);
		place.port = port;
		if (port)
			n += add_run(prefixes, &place, &runs[n]);
	}
	return n;
}

void sl_prefixes_free(struct sl_prefixes *prefixes)
{
	free(prefixes->list);
	free(prefixes->what);
	memset(prefixes, 0, sizeof(*prefixes));
}
