// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Patterns of digits and dots: which IPv4 addresses do they match? */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/text.h"
#include "tinyproxy_internal.h"

#define PREFIXES_MAX 4096 /* of a branch */

/* The octets that a part of the address may be. */
struct part {
	struct tp_set octets;
	bool every;
};

static bool within(const struct tp_set *set, const char *bytes)
{
	struct tp_set rest = *set;

	for (; *bytes; bytes++)
		rest.bits[(unsigned char)*bytes / 64] &= ~(1ull << (*bytes % 64));
	return !(rest.bits[0] | rest.bits[1] | rest.bits[2] | rest.bits[3]);
}

/* Do the items match the whole text? */
static bool matches(const struct tp_item *items, size_t n, const char *text)
{
	size_t taken = 0;

	if (!n)
		return !*text;
	for (;; taken++) {
		if (taken >= items->min && matches(items + 1, n - 1, text + taken))
			return true;
		if (taken >= items->max || !text[taken] ||
		    !tp_has(&items->set, (unsigned char)text[taken]))
			return false;
	}
}

static void read_part(const struct tp_item *items, size_t n, struct part *out)
{
	char text[12];

	memset(out, 0, sizeof(*out));
	out->every = true;
	for (int octet = 0; octet < 256; octet++) {
		snprintf(text, sizeof(text), "%d", octet);
		if (matches(items, n, text))
			tp_add(&out->octets, (unsigned char)octet);
		else
			out->every = false;
	}
}

static int add_prefix(struct tp_hosts *hosts, const __u8 *address, int bits)
{
	struct sl_host *host;

	if (hosts->n - hosts->n_names >= PREFIXES_MAX)
		return -ERANGE;
	host = SL_ADD(hosts->hosts, hosts->n);
	if (!host)
		return -ENOMEM;
	host->kind = SL_HOST_CIDR;
	host->cidr.family = 4;
	host->cidr.len = (__u8)bits;
	memcpy(host->cidr.addr, address, 4);
	return 0;
}

/* The octets from `octet` on that one prefix covers and the set holds: as many as can be. */
static int block(const struct tp_set *set, int octet)
{
	int size = 1, end;

	for (; !(octet & (size * 2 - 1)) && octet + size * 2 <= 256; size *= 2) {
		for (end = octet + size; end < octet + size * 2 && tp_has(set, (__u8)end); end++)
			;
		if (end < octet + size * 2)
			break;
	}
	return size;
}

/* Every octet of the part `at` (those behind it are open if at is the last but for full
 * ones), as prefixes behind address's first `at` bytes. */
static int add_parts(struct tp_hosts *hosts, const struct part *parts, int at, int last,
		     __u8 *address)
{
	int err = 0, size;

	if (last < 0)
		return add_prefix(hosts, address, 0);
	for (int octet = 0; octet < 256 && !err; octet += size) {
		size = 1;
		if (!tp_has(&parts[at].octets, (__u8)octet))
			continue;
		address[at] = (__u8)octet;
		if (at < last) {
			err = add_parts(hosts, parts, at + 1, last, address);
			continue;
		}
		size = block(&parts[at].octets, octet);
		err = add_prefix(hosts, address, 8 * at + 8 - __builtin_ctz((unsigned)size));
	}
	address[at] = 0;
	return err;
}

static int add_all(struct tp_hosts *hosts, const struct part *parts)
{
	__u8 address[4] = {};
	int last = 3;

	while (last >= 0 && parts[last].every)
		last--;
	return add_parts(hosts, parts, 0, last, address);
}

/* `[0-9.]+` and the like: the rest of an address, however many octets that is. */
static bool is_rest(const struct tp_item *item)
{
	for (const char *c = "0123456789."; *c; c++)
		if (!tp_has(&item->set, (unsigned char)*c))
			return false;
	return within(&item->set, "0123456789.") && item->max == TP_MORE && item->min <= 1;
}

int tp_ipv4_find(const struct tp_branch *b, struct tp_hosts *hosts)
{
	static const struct tp_set none;
	struct part parts[4] = {};
	size_t start = 0;
	int n = 0;

	if (!b->begins || !b->ends)
		return -EINVAL;
	for (size_t i = 0; i <= b->n; i++) {
		const struct tp_item *item = i < b->n ? &b->items[i] : NULL;

		if (item && is_rest(item)) {
			if (i + 1 < b->n || start != i)
				return -EINVAL;
			for (; n < 4; n++) {
				memset(&parts[n].octets, 0xff, sizeof(none));
				parts[n].every = true;
			}
			return add_all(hosts, parts);
		}
		if (item && within(&item->set, "0123456789"))
			continue;
		if (item && (!within(&item->set, ".") || item->min != 1 || item->max != 1))
			return -EINVAL;
		if (n < 4)
			read_part(b->items + start, i - start, &parts[n]);
		if (n < 4 && !memcmp(&parts[n].octets, &none, sizeof(none)))
			return -ENOENT;
		n++;
		start = i + 1;
	}
	return n == 4 ? add_all(hosts, parts) : -ENOENT;
}
