/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where a TCP segment is in its connection, for those whose first bytes are looked at
 * (sni.bpf.h). */
#ifndef SLUICE_SEGMENT_BPF_H
#define SLUICE_SEGMENT_BPF_H

#include <bpf/bpf_endian.h>

#include "flow.bpf.h"

/* Where a segment is in its connection. */
struct sl_segment {
	__u32 at;		/* of its data in the packet */
	__u32 bytes;		/* of data */
	__u32 offset;		/* of its first byte from that of the connection */
	__u32 acknowledged;	/* likewise, from the opener's first byte */
};

static __always_inline bool sl_segment_read(struct __sk_buff *skb, const struct sl_flow *f,
					    __u32 isn, struct sl_segment *s)
{
	__be32 numbers[2];
	__u8 words;

	if (bpf_skb_load_bytes(skb, f->at + 4, numbers, sizeof(numbers)) ||
	    bpf_skb_load_bytes(skb, f->at + 12, &words, 1))
		return false;
	s->at = f->at + (words >> 4) * 4;
	s->bytes = f->end > s->at ? f->end - s->at : 0;
	s->offset = bpf_ntohl(numbers[0]) - isn - 1;
	s->acknowledged = bpf_ntohl(numbers[1]) - isn - 1;
	return true;
}

/*
 * Does a SYN offer MPTCP (RFC 8684; MP_JOIN too)? With it the segments themselves say where in
 * the whole their data belongs, so that the server reads other bytes than those that follow each
 * other here. Only a kernel's own TCP is believed not to. What cannot be walked counts as well.
 * Not static: verified once, its frame does not add to the hook's.
 */
#define SL_TCP_OPTIONS_MAX 40

__noinline int sl_offers_multipath(struct __sk_buff *skb, const struct sl_flow *f)
{
	__u8 words, kind, bytes;
	__u32 at, end, i;

	if (!f || bpf_skb_load_bytes(skb, f->at + 12, &words, 1))
		return 1;
	at = f->at + 20;
	end = f->at + (words >> 4) * 4;
	for (i = 0; i < SL_TCP_OPTIONS_MAX && at < end; i++) {
		if (bpf_skb_load_bytes(skb, at, &kind, 1))
			return 1;
		if (kind == 0)
			return 0;
		bytes = 1;
		if (kind != 1 && (bpf_skb_load_bytes(skb, at + 1, &bytes, 1) || bytes < 2))
			return 1;
		if (kind == 30)
			return 1;
		at += bytes;
	}
	return 0;
}

#endif
