/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Where a datagram without a connection may go, as the sendmsg hooks found last. They know no flow (the
 * source is not chosen yet), and the packet is judged in any case: so they need not search the
 * table for each datagram. What is noted is what a generation's static rules allow for good: no
 * name, no deadline, nothing that is told. A generation's word is never given twice, so
 * nothing is ever taken back.
 */
#ifndef SLUICE_SENT_BPF_H
#define SLUICE_SENT_BPF_H

#include "flow.bpf.h"
#include "state.bpf.h"

struct sl_sent {
	__u64 word, high, low;
	__u32 key;		/* family << 24 | protocol << 16 | port */
	__u32 uid;
	__u32 who;		/* enum sl_sent_who */
	__u32 sequence;		/* odd while it is being written */
};

/* Whose datagrams. Where no rule of the generation names a user, the socket need not be asked. */
enum sl_sent_who { SL_SENT_NO_UID, SL_SENT_UID, SL_SENT_ANYONE };

/* As words: user space knows the variable, but not the type. */
#define SL_SENT_PLACES 4096
#define SL_SENT_WORDS 8
__u64 sl_sent[SL_SENT_PLACES * SL_SENT_WORDS] __attribute__((aligned(64)));
_Static_assert(sizeof(struct sl_sent) <= SL_SENT_WORDS * sizeof(__u64), "a place is a line");

static __always_inline __u32 sl_sent_key(const struct sl_flow *f)
{
	return (__u32)f->family << 24 | (__u32)f->protocol << 16 | f->destination_port;
}

static __always_inline struct sl_sent *sl_sent_at(const struct sl_flow *f,
						  const struct sl_subject *s)
{
	__u64 secret = 0xff51afd7ed558ccdull ^ sl_seed << 1, h;
	__u32 at;

	h = sl_flow_mix(s->word ^ sl_sent_key(f), f->destination_low, secret);
	h = sl_flow_mix(h, f->destination_high, secret);
	at = h >> 20;
	barrier_var(at);
	return (struct sl_sent *)&sl_sent[(at & (SL_SENT_PLACES - 1)) * SL_SENT_WORDS];
}

/* Not static: verified once, and off the hook's stack. s: its user, unless anyone's. */
__noinline int sl_was_sent(const struct sl_flow *f, const struct sl_subject *s, bool anyones)
{
	__u32 who;
	struct sl_sent *p;
	__u32 sequence;
	bool same;

	if (!f || !s)
		return 0;
	who = anyones ? SL_SENT_ANYONE : s->has_uid;
	p = sl_sent_at(f, s);
	sequence = READ_ONCE(p->sequence);
	asm volatile("" ::: "memory");
	same = p->word == s->word && p->low == f->destination_low && p->high == f->destination_high &&
	       p->key == sl_sent_key(f) && p->who == who && p->uid == s->uid;
	asm volatile("" ::: "memory");
	return same && !(sequence & 1) && READ_ONCE(p->sequence) == sequence;
}

/* Of two who write at once one does. Not static: as above. */
__noinline int sl_note_sent(const struct sl_flow *f, const struct sl_subject *s, bool anyones)
{
	struct sl_sent *p;
	__u32 sequence;

	if (!f || !s)
		return 0;
	p = sl_sent_at(f, s);
	sequence = READ_ONCE(p->sequence);
	if ((sequence & 1) ||
	    __sync_val_compare_and_swap(&p->sequence, sequence, sequence + 1) != sequence)
		return 0;
	p->word = s->word;
	p->high = f->destination_high;
	p->low = f->destination_low;
	p->key = sl_sent_key(f);
	p->uid = anyones ? 0 : s->uid;
	p->who = anyones ? SL_SENT_ANYONE : s->has_uid;
	asm volatile("" ::: "memory");
	WRITE_ONCE(p->sequence, sequence + 2);
	return 0;
}

#endif
