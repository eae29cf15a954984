/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Questions over TCP from a workload with a TCP of its own (docs/names.md, "DNS over TCP").
 *
 * Each segment is judged as whole messages, so the resolver must read what was judged: the
 * segments of a connection follow each other without a gap and without an overlap, from the
 * number on that the resolver's own SYN+ACK has named. Which bytes of an overlap count is the
 * receiver's choice, and so is what it makes of a connection that begins anew.
 */
#ifndef SLUICE_STREAM_BPF_H
#define SLUICE_STREAM_BPF_H

#include "packet_hook.bpf.h"
#include "segment.bpf.h"
#include "sluice_tls.h"

/* What sl_stream_follows says besides SL_PARSED (there is nothing to judge) and the reason
 * of a denial. */
enum {
	SL_STREAM_NEXT = 252, /* its messages are to be judged */
	SL_STREAM_OLD = 253,  /* dropped without a word: it says nothing new */
};

static __always_inline struct sl_flow_entry *sl_stream_entry(struct sl_packet *p)
{
	__u64 now = bpf_ktime_get_coarse_ns();

	return sl_flow_at(p->subject.slot, sl_flow_find(&p->flow, p->subject.slot, now));
}

/* A keyed hash of the segment's data; 0: too long to be read. */
static __always_inline __u32 sl_stream_hash(struct __sk_buff *skb, const struct sl_segment *s,
					    struct sl_dns *d)
{
	__u32 bytes = s->bytes;

	if (!bytes || bytes > SL_DNS_BYTES)
		return 0;
	barrier_var(bytes);
	bytes = ((bytes - 1) & (SL_DNS_BYTES - 1)) + 1;
	d->length = bytes;
	return bpf_skb_load_bytes(skb, s->at, d->message, bytes) ? 0 : sl_tls_hash(d, bytes);
}

/* What may come once more. */
static __always_inline void sl_stream_keep(struct sl_flow_entry *e, __u32 bytes, __u32 hash)
{
	WRITE_ONCE(e->sni_end, 0);
	WRITE_ONCE(e->sni_hash, hash);
	WRITE_ONCE(e->sni_end, hash ? (__u16)bytes : 0);
}

/* The workload's SYN: where the connection goes on if the resolver takes all of it. */
static __always_inline void sl_stream_ask(struct sl_flow_entry *e, __u32 next)
{
	sl_stream_keep(e, 0, 0);
	WRITE_ONCE(e->isn, next);
}

/* The resolver's SYN+ACK: it has begun this connection, with the SYN's data or without. */
static __always_inline void sl_stream_begin(struct sl_flow_entry *e, const struct sl_flow *f,
					    __u32 acknowledged)
{
	if ((f->tcp_flags & (SL_TCP_SYN | SL_TCP_ACK)) != (SL_TCP_SYN | SL_TCP_ACK) ||
	    (e->flags & SL_FLOW_STREAM))
		return;
	if (acknowledged != e->isn) {
		if (acknowledged != e->isn - e->sni_end)
			return;
		WRITE_ONCE(e->isn, acknowledged);
		sl_stream_keep(e, 0, 0);
	}
	__sync_fetch_and_or(&e->flags, SL_FLOW_STREAM);
}

/* Behind all that was sent: the last segment once more, or what nobody needs. */
static __always_inline int sl_stream_again(struct __sk_buff *skb, const struct sl_flow_entry *e,
					   const struct sl_segment *s, struct sl_dns *d)
{
	if ((__s32)(s->offset + s->bytes) > 0)
		return SL_REASON_DNS_MALFORMED;
	return e->sni_end && s->bytes == e->sni_end && !(s->offset + s->bytes) &&
			       sl_stream_hash(skb, s, d) == e->sni_hash
		       ? SL_PARSED
		       : SL_STREAM_OLD;
}

/* Where a packet of a connection to a resolver stands in it. Not static: its frame does not
 * add to the hook's. */
__noinline int sl_stream_follows(struct __sk_buff *skb, struct sl_packet *p, struct sl_dns *d)
{
	struct sl_flow_entry *e;
	struct sl_segment s;
	__u32 next;

	if (!p || !d)
		return SL_REASON_DNS_PENDING;
	e = sl_stream_entry(p);
	if (!e)
		return SL_REASON_DNS_MALFORMED;
	next = READ_ONCE(e->isn);
	if (!sl_segment_read(skb, &p->flow, next - 1, &s))
		return SL_REASON_DNS_MALFORMED;
	if (p->flow.inbound) {
		sl_stream_begin(e, &p->flow, s.acknowledged + next);
		return SL_STREAM_NEXT;
	}
	if ((p->flow.tcp_flags & SL_TCP_SYN) && sl_offers_multipath(skb, &p->flow))
		return SL_REASON_DNS_MALFORMED;
	if (!s.bytes) {
		if ((p->flow.tcp_flags & SL_TCP_SYN) && !(e->flags & SL_FLOW_STREAM))
			sl_stream_ask(e, s.offset + next + 1);
		return SL_PARSED;
	}
	if (p->flow.tcp_flags & SL_TCP_SYN)
		return e->flags & SL_FLOW_STREAM ? SL_STREAM_OLD : SL_STREAM_NEXT;
	if (!(e->flags & SL_FLOW_STREAM))
		return SL_REASON_DNS_MALFORMED;
	if (s.offset)
		return sl_stream_again(skb, e, &s, d);
	/* of two at once one is the next */
	return __sync_val_compare_and_swap(&e->isn, next, next + s.bytes) == next ? SL_STREAM_NEXT
										  : SL_STREAM_OLD;
}

/* What was judged passes: it may come again. Or it does not: it may be judged again. Not
 * static: its frame does not add to the hook's. */
__noinline int sl_stream_judged(struct __sk_buff *skb, struct sl_packet *p, struct sl_dns *d,
				bool passes)
{
	struct sl_flow_entry *e;
	struct sl_segment s;
	__u32 hash;

	if (!p || !d)
		return 0;
	e = sl_stream_entry(p);
	if (!e || !sl_segment_read(skb, &p->flow, -1, &s))
		return 0;
	if (!passes) {
		if (!(p->flow.tcp_flags & SL_TCP_SYN))
			__sync_val_compare_and_swap(&e->isn, s.offset + s.bytes, s.offset);
		return 0;
	}
	if (p->flow.tcp_flags & SL_TCP_SYN) /* may have data (RFC 7413), as the kernel's may */
		sl_stream_ask(e, s.offset + 1 + s.bytes);
	hash = sl_stream_hash(skb, &s, d);
	sl_stream_keep(e, s.bytes, hash);
	return 0;
}

#endif
