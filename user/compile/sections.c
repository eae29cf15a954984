// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The sections of a table that no rule makes: a device's binding, limits, DNS, labels. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "internal.h"

/* ---- binding ---- */

static const __u64 unused_chunk[SL_CHUNK_WORDS] = {
	[SL_B_VLANS] = ~0ull,
	[SL_B_V4] = 1ull << 32, [SL_B_V4 + 1] = 1ull << 32,
	[SL_B_V6 + 1] = 1,
};

static __u64 mask_of(unsigned len)
{
	return len ? ~0ull << (64 - len) : 0;
}

static void put_v4(__u64 *word, const struct sl_cidr *cidr)
{
	__be32 address;

	memcpy(&address, cidr->addr, sizeof(address));
	*word = (__u64)be32toh(address) << 32 | (__u32)(mask_of(cidr->len) >> 32);
}

static void put_v6(__u64 word[4], const struct sl_cidr *cidr)
{
	__be64 address[2];

	memcpy(address, cidr->addr, sizeof(address));
	word[0] = be64toh(address[0]);
	word[1] = be64toh(address[1]);
	word[2] = mask_of(cidr->len > 64 ? 64 : cidr->len);
	word[3] = mask_of(cidr->len > 64 ? cidr->len - 64 : 0);
}

static __u64 binding_head(const struct sl_binding *b)
{
	__u64 head = 0;
	size_t i;

	for (i = 0; i < sizeof(b->mac) && b->has_mac; i++)
		head = head << 8 | b->mac[i];
	if (!b->has_mac && (b->routed4 || b->routed6))
		head = b->upper | (b->routed4 ? SL_B_ROUTED4 : 0) | (b->routed6 ? SL_B_ROUTED6 : 0);
	return head | (b->has_mac ? SL_B_HAS_MAC : 0) |
	       (b->has_addresses ? SL_B_HAS_ADDRESSES : 0) | (b->lease ? SL_B_LEASE : 0);
}

static __u64 binding_vlans(const struct sl_binding *b)
{
	__u64 vlans = ~0ull;
	size_t i;

	for (i = 0; i < b->n_vlans && i < 4; i++)
		vlans = vlans << 16 | b->vlans[i];
	return vlans;
}

/* -E2BIG: more addresses than a binding holds. */
static int fill_binding(const struct sl_binding *b, __u64 *w, size_t *n_chunks)
{
	size_t n4 = 0, n6 = 0, i;

	for (i = 0; i < SL_BINDING_CHUNKS_MAX; i++)
		memcpy(w + i * SL_CHUNK_WORDS, unused_chunk, sizeof(unused_chunk));
	w[SL_B_MAC] = binding_head(b);
	w[SL_B_VLANS] = binding_vlans(b);
	for (i = 0; i < b->n_addresses; i++) {
		const struct sl_cidr *a = &b->addresses[i];

		if (a->family == 4 ? n4 == SL_BINDING_V4_MAX : n6 == SL_BINDING_CHUNKS_MAX)
			return -E2BIG;
		if (a->family == 4) {
			put_v4(w + n4 / 2 * SL_CHUNK_WORDS + SL_B_V4 + n4 % 2, a);
			n4++;
		} else {
			put_v6(w + n6 * SL_CHUNK_WORDS + SL_B_V6, a);
			n6++;
		}
	}
	*n_chunks = (n4 + 1) / 2 > n6 ? (n4 + 1) / 2 : n6;
	if (!*n_chunks)
		*n_chunks = 1;
	return 0;
}

/* ---- what DHCP may say ---- */

#define NETWORKS_MAX SL_CHUNK_WORDS
#define TAKEN_MAX ((SL_B_LEASING_MAX - 1) * SL_CHUNK_WORDS)
#define ANY 0ull
#define NOTHING (1ull << 32)

/* Of one list the IPv4 prefixes, which the words have room for; false: there are more. */
static bool put_prefixes(__u64 *w, size_t max, size_t *n, const struct sl_cidr *list, size_t n_list)
{
	__u64 word;
	size_t i, k;

	for (i = 0; i < n_list; i++) {
		if (list[i].family != 4)
			continue;
		put_v4(&word, &list[i]);
		for (k = 0; k < *n && w[k] != word; k++)
			;
		if (k < *n)
			continue;
		if (*n == max)
			return false;
		w[(*n)++] = word;
	}
	return true;
}

/* Appended behind the binding, whose first word says so. */
static int write_leasing(const struct compiler *c, struct words *t, size_t head)
{
	const struct sl_binding *b = c->options->binding;
	__u64 w[SL_B_LEASING_MAX * SL_CHUNK_WORDS];
	__u64 *taken = w + SL_CHUNK_WORDS;
	size_t networks = 0, n = 0, chunks, i;
	int err;

	for (i = 0; i < sizeof(w) / sizeof(*w); i++)
		w[i] = NOTHING;
	if (!put_prefixes(w, NETWORKS_MAX, &networks, b->networks, b->n_networks) && b->lease)
		return sl_error(c->diag, NULL, "the device's network has more than %d IPv4 prefixes: "
				"give the workload's addresses or prefixes instead of dhcp",
				NETWORKS_MAX);
	if (!networks)	/* nobody knows */
		w[0] = ANY;
	for (i = 0; i < 2; i++)
		if (!put_prefixes(taken, TAKEN_MAX, &n, b->taken[i], b->n_taken[i]) && b->lease) {
			sl_warn(c->diag, NULL, "the host has more than %zu IPv4 addresses: DHCP could "
				"lease some of them to the workload; give its addresses instead of "
				"dhcp", (size_t)TAKEN_MAX);
			break;
		}
	if (!networks && !n)
		return 0;
	chunks = 1 + (n + SL_CHUNK_WORDS - 1) / SL_CHUNK_WORDS;
	err = words_append(t, w, chunks * SL_CHUNK_WORDS);
	if (!err)
		t->v[head] |= (__u64)chunks << SL_B_LEASING_SHIFT | (networks ? SL_B_NETWORK : 0);
	return err;
}

static int write_binding(const struct compiler *c, struct words *t, __u64 *header)
{
	__u64 w[SL_BINDING_CHUNKS_MAX * SL_CHUNK_WORDS];
	size_t n_chunks, at = t->n;
	int err;

	if (!c->options->binding)
		return 0;
	err = fill_binding(c->options->binding, w, &n_chunks);
	if (err)
		return sl_error(c->diag, NULL, "the device's binding has %zu addresses: it holds at "
				"most %d IPv4 and %d IPv6 ones; give prefixes",
				c->options->binding->n_addresses, SL_BINDING_V4_MAX, SL_BINDING_V6_MAX);
	*header = section(n_chunks, at);
	err = words_append(t, w, n_chunks * SL_CHUNK_WORDS);
	return err ? err : write_leasing(c, t, at + SL_B_MAC);
}

/* ---- limits ---- */

static int write_limits(const struct compiler *c, struct words *t, __u64 *header, __u64 *flags)
{
	const struct sl_limits *l = &c->policy->limits;
	const __u64 w[SL_CHUNK_WORDS] = {
		[SL_L_OUT_RATE] = l->out.average, [SL_L_OUT_PEAK] = l->out.peak,
		[SL_L_OUT_BURST] = l->out.burst, [SL_L_IN_RATE] = l->in.average,
		[SL_L_IN_PEAK] = l->in.peak, [SL_L_IN_BURST] = l->in.burst,
		[SL_L_FLOW_NS] = l->flow_interval_ns, [SL_L_FLOW_BURST] = l->flow_burst,
	};

	*flags |= (l->out.average ? SL_F_LIMIT_OUT : 0) | (l->in.average ? SL_F_LIMIT_IN : 0) |
		  (l->flow_interval_ns ? SL_F_LIMIT_FLOWS : 0);
	if (!l->out.average && !l->in.average && !l->flow_interval_ns)
		return 0;
	*header = section(1, t->n);
	return words_append(t, w, SL_CHUNK_WORDS);
}

/* ---- dns ---- */

/* A, AAAA, CNAME, HTTPS, SVCB, SRV, MX */
static const __u16 default_types[] = {1, 28, 5, 65, 64, 33, 15};

static int write_dns(const struct compiler *c, struct words *t, __u64 *header)
{
	const struct sl_dns *dns = &c->policy->dns;
	const __u16 *types = dns->n_types ? dns->types : default_types;
	size_t n = dns->n_types ? dns->n_types : sizeof(default_types) / sizeof(*default_types), i;
	__u64 least = dns->ttl_min_s ? dns->ttl_min_s : SL_DNS_TTL_MIN_S;
	__u64 most = dns->ttl_max_s ? dns->ttl_max_s : SL_DNS_TTL_MAX_S;
	__u64 w[SL_CHUNK_WORDS] = {
		[SL_N_TTL] = least << 32 | most,
		[SL_N_RATE_NS] = c->policy->limits.dns_interval_ns,
		[SL_N_BURST] = c->policy->limits.dns_burst,
		[SL_N_PATTERNS] = c->names.n,
	};

	_Static_assert(SL_N_WORDS <= SL_CHUNK_WORDS, "the DNS words fill one chunk");
	if (!c->policy->has_dns)
		return 0;
	for (i = 0; i < n; i++)
		w[SL_N_TYPES + i / 4] |= (__u64)types[i] << 16 * (i % 4);
	*header = section(1, t->n);
	return words_append(t, w, SL_CHUNK_WORDS);
}

/* ---- labels ---- */

/* Appends a text and its NUL behind *bytes bytes of the section. */
static int write_label(struct words *t, size_t first, size_t *bytes, const char *text)
{
	size_t n = strlen(text) + 1;

	while ((t->n - first) * sizeof(__u64) < *bytes + n)
		if (words_push(t, 0))
			return -ENOMEM;
	memcpy((char *)(t->v + first) + *bytes, text, n);
	*bytes += n;
	return 0;
}

#define AHEAD 8

static int write_labels(const struct compiler *c, struct words *t, __u64 *header)
{
	size_t first = t->n, bytes = 0, i;
	int err = write_label(t, first, &bytes, c->policy->name ? c->policy->name : "");

	for (i = 0; i < c->n_rules && !err; i++) {
		/* each is a miss of the caches */
		__builtin_prefetch(c->rules[i + AHEAD < c->n_rules ? i + AHEAD : i].id);
		err = write_label(t, first, &bytes, c->rules[i].id ? c->rules[i].id : "");
	}
	*header = section(t->n - first, first);
	return err;
}

const char *sl_table_label(const __u64 *words, size_t n_words, __u32 index)
{
	const char *at, *end;
	__u64 s;

	if (n_words <= SL_H_LABELS || index > words[SL_H_RULES])
		return NULL;
	s = words[SL_H_LABELS];
	if ((__u32)s + (s >> 32) > n_words)
		return NULL;
	at = (const char *)(words + (__u32)s);
	end = at + (s >> 32) * sizeof(*words);
	while (index-- && at < end)
		at += strnlen(at, end - at) + 1;
	/* A text without its NUL would be read beyond the section. */
	return at < end && strnlen(at, end - at) < (size_t)(end - at) ? at : NULL;
}

int write_sections(const struct compiler *c, struct words *t, __u64 h[SL_HEADER_WORDS])
{
	int err = write_binding(c, t, &h[SL_H_DEVICE]);

	if (!err)
		err = write_limits(c, t, &h[SL_H_LIMITS], &h[SL_H_FLAGS]);
	if (!err)
		err = write_dns(c, t, &h[SL_H_DNS]);
	if (!err)
		err = write_labels(c, t, &h[SL_H_LABELS]);
	return err ? err : pad(t);
}
