/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* From a device to its target. */
#ifndef SLUICE_DEVICE_OF_BPF_H
#define SLUICE_DEVICE_OF_BPF_H

#include "maps.bpf.h"
#include "subject.bpf.h"

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

static __always_inline bool sl_device_subject(const struct __sk_buff *skb, struct sl_subject *s)
{
	return sl_subject_of(skb->ifindex, s);
}

#endif
