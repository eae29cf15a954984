/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is judged must be what is sent. The kernel's own headers lie in the buffer, but a
 * payload may lie in pages that its sender still writes to: vmsplice() and splice(),
 * sendfile() of a file, MSG_ZEROCOPY. Such a sender has one question judged and another one
 * sent. So before a payload is read that decides:
 *
 *  - on a device it is copied into the buffer (bpf_skb_pull_data);
 *  - in a cgroup no helper can do that. A datagram must be in the buffer, as all are that
 *    are sent by one call; of TCP, whose data never is, the kernel notes that the pages are
 *    not its own (skb_shared_info.flags: net/ipv4/tcp.c, tcp_sendmsg_locked).
 */
#ifndef SLUICE_PAYLOAD_BPF_H
#define SLUICE_PAYLOAD_BPF_H

#include <bpf/bpf_core_read.h>
#include <vmlinux.h>

#include "flow.bpf.h"

#if !SL_ON_DEVICE
/* Any of SKBFL_ZEROCOPY_ENABLE, _SHARED_FRAG, _PURE_ZEROCOPY, _DONT_ORPHAN and
 * _MANAGED_FRAG_REFS (include/linux/skbuff.h). */
#define SL_PAGES_SHARED 0x1f

/* What cannot be read is not ours. */
static __always_inline bool sl_pages_are_ours(const struct __sk_buff *context)
{
	const struct sk_buff *skb = (const struct sk_buff *)context;
	const struct skb_shared_info *info;
	unsigned char *head = NULL;
	__u32 end = 0;
	__u8 flags = 0;

	if (bpf_core_read(&head, sizeof(head), &skb->head) ||
	    bpf_core_read(&end, sizeof(end), &skb->end))
		return false;
	info = (const void *)(head + end);
	return !bpf_core_read(&flags, sizeof(flags), &info->flags) && !(flags & SL_PAGES_SHARED);
}
#endif

/* Will the first `end` bytes of what the workload sends be sent as we read them? Not
 * static: verified once, and off the hook's stack. */
__noinline int sl_payload_stays(struct __sk_buff *skb, const struct sl_flow *f, __u32 end)
{
#if SL_ON_DEVICE
	return f && !bpf_skb_pull_data(skb, end);
#else
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;

	if (!f)
		return 0;
	return f->protocol == IPPROTO_TCP ? sl_pages_are_ours(skb) : data_end - data >= end;
#endif
}

#endif
