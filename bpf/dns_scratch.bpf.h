/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Where messages of DNS are read: include/sluice_dns.h works on a copy in a scratch place of
 * its CPU. Out of a cgroup a program may be preempted by another: each CPU has four places,
 * marked while in use; with none free the message is denied (dns-pending).
 */
#ifndef SLUICE_DNS_SCRATCH_BPF_H
#define SLUICE_DNS_SCRATCH_BPF_H

#include "packet_hook.bpf.h"

#define SL_DNS_FUNCTION __noinline
/* A callback's context is a place on the stack. */
#define SL_DNS_STEP(name)                                                                          \
	static __always_inline int name##_body(struct sl_dns *d);                                  \
	static long name(__u32 i, struct sl_dns **context)                                         \
	{                                                                                          \
		return name##_body(*context);                                                      \
	}                                                                                          \
	static __always_inline int name##_body(struct sl_dns *d)
#define SL_DNS_LOOP(n, step, d)                                                                    \
	do {                                                                                       \
		struct sl_dns *context = d;                                                        \
		bpf_loop(n, step, &context, 0);                                                    \
	} while (0)
#include "sluice_dns.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SL_SCRATCH_PLACES); /* loader: times the CPUs */
	__type(key, __u32);
	__type(value, struct sl_dns);
} sl_scratch SEC(".maps");

static __always_inline struct sl_dns *sl_scratch_take(void)
{
	__u32 first = bpf_get_smp_processor_id() * SL_SCRATCH_PLACES, at;
	struct sl_dns *d;
	int i;

	for (i = 0; i < SL_SCRATCH_PLACES; i++) {
		at = first + i;
		d = bpf_map_lookup_elem(&sl_scratch, &at);
		if (d && !__sync_val_compare_and_swap(&d->busy, 0, 1)) {
			d->seed = sl_seed;
			d->place = at;
			/* Nothing is read yet; what was is another's. */
			d->state = SL_DNS_FAULT;
			d->type = 0;
			return d;
		}
	}
	return NULL;
}

static __always_inline void sl_scratch_give(struct sl_dns *d)
{
	__sync_val_compare_and_swap(&d->busy, 1, 0);
}

static __always_inline bool sl_dns_load(struct __sk_buff *skb, struct sl_dns *d, __u32 at,
					__u32 length)
{
	if (length < SL_DNS_HEADER || length > SL_DNS_BYTES)
		return false;
	barrier_var(length);
	length = ((length - 1) & (SL_DNS_BYTES - 1)) + 1;
	d->length = length;
	return !bpf_skb_load_bytes(skb, at, d->message, length);
}

#endif
