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
 *    not its own (skb_shared_info.flags: net/ipv4/tcp.c, tcp_sendmsg_locked). It lost that
 *    note where it moves pages from one segment to another (tcp_retrans_try_collapse joins
 *    what it sends again; tcp_mtu_probe) until May 2026 (6.1.175, 6.12.92; "net: skbuff:
 *    propagate shared-frag marker through frag-transfer helpers"): so the pages are
 *    looked at too.
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

#define SL_FRAGS_MAX 17 /* MAX_SKB_FRAGS, unless the kernel was built otherwise */

/*
 * A page that TCP has copied data into is the first of its own allocation (sk_page_frag),
 * nobody's, and in no address space. A program's is filled (anonymous, a file's, shared
 * memory: PG_uptodate, until it is freed), or one of a driver's that is mapped.
 */
static __always_inline bool sl_page_is_ours(unsigned long at)
{
	const struct page *page = (const struct page *)at;
	unsigned long flags, head = 0;
	void *mapping = NULL;
	int mapped = 0;

	if (at & 1 || !bpf_core_field_exists(page->compound_head) ||
	    !bpf_core_enum_value_exists(enum pageflags, PG_uptodate))
		return false; /* memory of a device's: net_iov */
	if (bpf_core_read(&head, sizeof(head), &page->compound_head) || (head & 1) ||
	    bpf_core_read(&mapping, sizeof(mapping), &page->mapping) || mapping ||
	    bpf_core_read(&mapped, sizeof(mapped), &page->_mapcount.counter) || mapped >= 0)
		return false;
	/* The first word; its type has another name since 6.18. */
	return !bpf_probe_read_kernel(&flags, sizeof(flags), page) &&
	       !(flags >> (bpf_core_enum_value(enum pageflags, PG_uptodate) & 63) & 1);
}

/* What cannot be read is not ours. */
static __always_inline bool sl_pages_are_ours(const struct __sk_buff *context, __u32 at, __u32 end)
{
	const struct sk_buff *skb = (const struct sk_buff *)context;
	const struct skb_shared_info *info;
	unsigned char *head = NULL;
	struct sl_skb_frag frag = {};
	__u32 tail = 0, i;
	__u8 flags = 0, n = 0;

	if (bpf_core_read(&head, sizeof(head), &skb->head) ||
	    bpf_core_read(&tail, sizeof(tail), &skb->end))
		return false;
	info = (const void *)(head + tail);
	if (bpf_core_read(&flags, sizeof(flags), &info->flags) || (flags & SL_PAGES_SHARED) ||
	    bpf_core_read(&n, sizeof(n), &info->nr_frags))
		return false;
	for (i = 0; i < SL_FRAGS_MAX && i < n && at < end; i++, at += frag.bytes)
		if (bpf_probe_read_kernel(&frag, sizeof(frag), &info->frags[i]) ||
		    !sl_page_is_ours(frag.page))
			return false;
	return at >= end;
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
	if (data_end - data >= end)
		return 1;
	return f->protocol == IPPROTO_TCP && sl_pages_are_ours(skb, data_end - data, end);
#endif
}

#endif
