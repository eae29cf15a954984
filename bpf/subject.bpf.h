/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Who is judged. The target is the one that the program was attached for, or
 * (SL_BY_CGROUP) that of the socket's cgroup, never of the calling task; the
 * uid is the socket creator's, stamped at sock_create and inherited by accepted
 * sockets, and every hook reads that stamp. The helpers would disagree: a socket
 * made as root and used after setuid is one user at connect and another at
 * egress, and bpf_get_socket_uid() gives the number inside the user namespace
 * that owns the socket's network namespace; sk_uid follows fchown. A socket
 * older than the stamp has no uid.
 */
#ifndef SLUICE_SUBJECT_BPF_H
#define SLUICE_SUBJECT_BPF_H

#include "flow.bpf.h"
#include "maps.bpf.h"
#include "socket.bpf.h"

#if SL_BY_CGROUP
#include "target_of.bpf.h"
#else
const volatile __u32 sl_slot = 0;	/* the slot of this object's target */
const volatile __u64 sl_netns = 0;	/* cookie of the target's network namespace */

/* By the context of the hook. */
#define sl_slot_of_packet(skb) ((int)sl_slot)
#define sl_slot_of_socket(ctx) ((int)sl_slot)
enum { SL_NOBODYS = -1 };
#endif

/* False: there is no such slot. */
static __always_inline bool sl_subject_init(struct sl_subject *s, __u32 slot)
{
	__u64 *word = bpf_map_lookup_elem(&sl_words, &slot);

	if (!word)
		return false;
	s->slot = slot;
	s->word = READ_ONCE(*word);
	return true;
}

static __always_inline struct sl_target *sl_subject_target(const struct sl_subject *s)
{
	__u32 slot = s->slot;

	return bpf_map_lookup_elem(&sl_targets, &slot);
}

static __always_inline void sl_subject_stamp(struct sl_subject *s, const struct sl_socket *stamp)
{
	if (!stamp || !(stamp->flags & SL_SOCK_UID))
		return;
	s->uid = stamp->uid;
	s->has_uid = 1;
}

#endif
