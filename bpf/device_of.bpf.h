/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* From a device to its target. */
#ifndef SLUICE_DEVICE_OF_BPF_H
#define SLUICE_DEVICE_OF_BPF_H

#include <vmlinux.h>
#include <bpf/bpf_core_read.h>

#include "maps.bpf.h"
#include "subject.bpf.h"

/* The context as what it is (6.2). */
extern void *bpf_cast_to_kern_ctx(void *context) __ksym __weak;

/* SL_DEVICE_WORD by ifindex. Not there: the frame is dropped (no-policy). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);		/* loader */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u64);
} sl_devices SEC(".maps");

static __always_inline bool sl_subject_of(__u32 ifindex, struct sl_subject *s)
{
	__u64 *found = bpf_map_lookup_elem(&sl_devices, &ifindex), device, *word;

	if (!found)
		return false;
	device = READ_ONCE(*found);
	if (device >> 32 != ifindex)
		return false;
	s->slot = (__u32)device;
	word = bpf_map_lookup_elem(&sl_words, &s->slot);
	if (!word)
		return false;
	s->word = READ_ONCE(*word);
	return true;
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

	if (bpf_core_field_exists(struct net_device, tcx_ingress)) {
		skb = bpf_cast_to_kern_ctx(context);
		if (!sl_is_at_home(skb->dev))
			return false;
	}
	return sl_subject_of(context->ifindex, s);
}

#endif
