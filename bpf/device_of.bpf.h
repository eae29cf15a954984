/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* From a device to its target. */
#ifndef SLUICE_DEVICE_OF_BPF_H
#define SLUICE_DEVICE_OF_BPF_H

#include <vmlinux.h>
#include <bpf/bpf_core_read.h>

#include "maps.bpf.h"
#include "subject.bpf.h"
#include "sum.bpf.h"

/* SL_DEVICE_WORD by ifindex. Not there: the frame is dropped (no-policy). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);		/* loader */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u64);
} sl_devices SEC(".maps");

/* Where sl_devices led last, by the lowest bits of the index: a word costs a tenth of what a hash
 * does. Nobody takes anything back here: what it says holds if the target says so, too. */
#define SL_DEVICES_LAST 256
__u64 sl_devices_last[SL_DEVICES_LAST];

/* The word of the subject's slot. False: there is none. No other copy of the slot: the stack
 * is full (6.1). */
static __always_inline bool sl_subject_read(struct sl_subject *s)
{
	__u64 *word = bpf_map_lookup_elem(&sl_words, &s->slot);

	s->word = word ? READ_ONCE(*word) : 0;
	return word;
}

/* Is the target with this word this device's still? A slot is forgotten by its word first, and
 * is another's only after that; a device put aside says so first. */
static __always_inline bool sl_is_of_device(const struct sl_subject *s, __u32 ifindex)
{
	const struct sl_target *t = bpf_map_lookup_elem(&sl_targets, &s->slot);

	return t && t->ifindex == ifindex && t->netns == sl_netns &&
	       t->kind == SL_TARGET_DEVICE &&
	       (t->flags & (SL_TARGET_LIVE | SL_TARGET_ASIDE)) == SL_TARGET_LIVE;
}

static __always_inline bool sl_subject_last(__u32 ifindex, struct sl_subject *s)
{
	__u64 device = READ_ONCE(sl_devices_last[ifindex % SL_DEVICES_LAST]);

	s->slot = (__u32)device;
	if (device >> 32 != ifindex || !sl_subject_read(s) || !s->word)
		return false;
	asm volatile("" ::: "memory");
	return sl_is_of_device(s, ifindex);
}

/* The word of a device, 0: none. Not static: off the hook's stack. */
__noinline __u64 sl_device_word(__u32 ifindex)
{
	__u64 *found = bpf_map_lookup_elem(&sl_devices, &ifindex), device;

	device = found ? READ_ONCE(*found) : 0;
	if (!found || device >> 32 != ifindex)
		return 0;
	WRITE_ONCE(sl_devices_last[ifindex % SL_DEVICES_LAST], device);
	return device;
}

static __always_inline bool sl_subject_of(__u32 ifindex, struct sl_subject *s)
{
	__u64 device;

	if (sl_subject_last(ifindex, s))
		return true;
	device = sl_device_word(ifindex);
	s->slot = (__u32)device;
	return device && sl_subject_read(s);
}

/* In the namespace that the programs were loaded for: an index is that one's. */
static __always_inline bool sl_is_at_home(const struct net_device *dev)
{
	return dev->nd_net.net->net_cookie == sl_netns;
}

/* A device that is moved to another namespace takes its tcx links along, and its index may
 * be one of ours there: it passes nothing. A filter (before 6.6) does not go along. */
static __always_inline bool sl_device_subject(struct __sk_buff *context, struct sl_subject *s)
{
	struct sk_buff *skb;

	if (sl_is_kernel_context()) {
		skb = bpf_cast_to_kern_ctx(context);
		if (!sl_is_at_home(skb->dev))
			return false;
	}
	return sl_subject_of(context->ifindex, s);
}

#endif
