// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * One verdict a run, for `make bench`, or one part of it: each program takes the next of up to
 * 65,536 destinations and asks nobody, the table of a policy for a verdict, the table for the
 * class of the address alone (the first step), for the decision about a port alone (the second),
 * or an LPM_TRIE of the same prefixes. They are only ever run by BPF_PROG_TEST_RUN.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "verdict.bpf.h"

struct bench_destination {
	__u64 high, low;	/* as in struct sl_flow */
};

struct bench_key4 {
	__u32 len;
	__u8 address[4];
};

struct bench_key6 {
	__u32 len;
	__u8 address[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct bench_destination);
} bench_destinations SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 2000000);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bench_key4);
	__type(value, __u32);
} bench_trie4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 2000000);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bench_key6);
	__type(value, __u32);
} bench_trie6 SEC(".maps");

__u32 bench_next, bench_mask, bench_family, bench_key;
__u64 bench_word, bench_found;
__u64 bench_class, bench_ports;		/* of the destination that bench_prepare was run for */

static __always_inline struct bench_destination *next(void)
{
	__u32 i = bench_next++ & bench_mask;

	return bpf_map_lookup_elem(&bench_destinations, &i);
}

SEC("tc")
int bench_empty(struct __sk_buff *skb)
{
	struct bench_destination *d = next();

	bench_found += d ? d->low & 1 : 0;
	return 0;
}

SEC("tc")
int bench_table(struct __sk_buff *skb)
{
	struct bench_destination *d = next();
	struct sl_subject s = {.word = bench_word};
	struct sl_flow f = {.family = bench_family, .protocol = 6, .key = bench_key};
	struct sl_answer a = {};

	if (!d)
		return -1;
	f.destination_high = d->high;
	f.destination_low = d->low;
	sl_verdict(&f, &s, &a);
	bench_found += !a.deny;
	return 0;
}

static __always_inline int class_of(const struct bench_destination *d, __u64 *class)
{
	struct sl_question q = {.family = bench_family, .address_high = d->high,
				.address_low = d->low};
	sl_table_map table = sl_table_open(bench_word);
	const __u64 *head = table ? sl_table_page(table, 0) : NULL;
	struct sl_place p;

	if (!head || head[SL_H_GENERATION] != SL_WORD_GENERATION(bench_word))
		return -1;
	p = sl_place_begin(head);
	return sl_table_address(bench_word, table, &p, head, &q, class);
}

SEC("tc")
int bench_prepare(struct __sk_buff *skb)
{
	struct bench_destination *d = next();
	__u64 class, ports;

	if (!d || class_of(d, &class) ||
	    sl_table_class_ports(bench_word, (__u32)class, SL_VIEW_OTHER, &ports))
		return -1;
	bench_class = (__u32)class;
	bench_ports = ports;
	return 0;
}

SEC("tc")
int bench_lookup(struct __sk_buff *skb)
{
	struct bench_destination *d = next();
	__u64 class;

	if (!d || class_of(d, &class))
		return -1;
	bench_found += (__u32)class == bench_class;
	return 0;
}

/* The ports of all destinations are spread over all there are. */
SEC("tc")
int bench_step(struct __sk_buff *skb)
{
	struct bench_destination *d = next();
	__u64 id = SL_NONE;
	__u32 port;

	if (!d)
		return -1;
	port = (__u32)d->low * 0x9e3779b1 >> 16;
	if (sl_table_decide(bench_word, bench_ports, 6 << 16 | port, 0, &id))
		return -1;
	bench_found += id != SL_NONE;
	return 0;
}

SEC("tc")
int bench_lpm(struct __sk_buff *skb)
{
	struct bench_destination *d = next();
	struct bench_key4 key4 = {.len = 32};
	struct bench_key6 key6 = {.len = 128};
	__u64 high, low;

	if (!d)
		return -1;
	if (bench_family == 4) {
		*(__u32 *)key4.address = __builtin_bswap32((__u32)d->low);
		bench_found += bpf_map_lookup_elem(&bench_trie4, &key4) != NULL;
		return 0;
	}
	high = __builtin_bswap64(d->high);
	low = __builtin_bswap64(d->low);
	__builtin_memcpy(key6.address, &high, 8);
	__builtin_memcpy(key6.address + 8, &low, 8);
	bench_found += bpf_map_lookup_elem(&bench_trie6, &key6) != NULL;
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
