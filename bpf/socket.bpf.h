/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What is noted on a socket: its creator's uid, a process, a reported denial. */
#ifndef SLUICE_SOCKET_BPF_H
#define SLUICE_SOCKET_BPF_H

#include "flow.bpf.h"

/* No storage to be had: a socket that needs a stamp is refused (stamp.bpf.c); a
 * note is left out, and the packet's denial reported once more. Accepted
 * sockets inherit theirs (BPF_F_CLONE). */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct sl_socket);
} sl_sockets SEC(".maps");

/* Larger than the field in a packet. */
#define SL_PROTO_SMC 256	/* IPPROTO_SMC, since 6.11 */
#define SL_PROTO_MPTCP 262	/* IPPROTO_MPTCP */

/* What such a socket sends is sent by others, which the kernel makes (sock_create_kern): no hook
 * sees them made, and they have no note. */
static __always_inline bool sl_sends_by_others(__u32 protocol)
{
	return protocol == SL_PROTO_MPTCP || protocol == SL_PROTO_SMC;
}

/* Only in connect, sendmsg and sock_create: elsewhere `current` is anybody. */
static __always_inline void sl_process_current(struct sl_process *p)
{
	p->known = 1;
	p->pid = bpf_get_current_pid_tgid() >> 32;
	p->uid = (__u32)bpf_get_current_uid_gid();
	bpf_get_current_comm(p->comm, sizeof(p->comm));
}

static __always_inline void sl_note_process(struct sl_socket *note)
{
	if (note)
		sl_process_current(&note->process);
}

/* Leaves a note on the socket that the denial of this destination is reported,
 * and by whom, so that its packets are not counted again. */
static __always_inline void sl_note(struct sl_socket *note, const struct sl_flow *f,
				    const struct sl_subject *s, __u32 flags)
{
	if (!note)
		return;
	note->word = s->word;
	note->address_high = f->destination_high;
	note->address_low = f->destination_low;
	note->key = f->key;
	note->protocol = f->protocol;
	note->flags |= flags;
}

#endif
