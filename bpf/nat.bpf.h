/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A resolver of this machine behind another port: Docker's 127.0.0.11, to whose port 53
 * iptables' OUTPUT gives another (docs/names.md, "Stubs"). A command's egress hook stands
 * behind that, the ingress hook behind the way back: it sees port 53. Without this the
 * question would be a datagram to some port, and its answer one that nobody asked for.
 *
 * The socket knows whom it asked. Only the port is taken from it, and only on loopback: what
 * goes to another address is judged as what it is, so nobody is let through by it who is
 * not at the resolver's own address, and what gets there has been judged as a question.
 */
#ifndef SLUICE_NAT_BPF_H
#define SLUICE_NAT_BPF_H

#include <bpf/bpf_endian.h>

#include "packet_hook.bpf.h"

static __always_inline bool sl_is_loopback4(const struct sl_flow *f)
{
	return f->family == 4 && f->destination_low >> 24 == 127;
}

/* Did the socket ask port 53 of that address? */
static __always_inline bool sl_asks_it(struct bpf_sock *sk, const struct sl_flow *f)
{
	struct sl_socket *note;

	if (sk->dst_port == bpf_htons(SL_DNS_PORT) &&
	    bpf_ntohl(sk->dst_ip4) == (__u32)f->destination_low)
		return true;
	note = bpf_sk_storage_get(&sl_sockets, sk, 0, 0);
	return note && f->protocol == IPPROTO_UDP && note->asked == (__u32)f->destination_low;
}

/* Are questions read here? The forwarder's are not: what goes to another port of its
 * address would reach that port unread. */
static __always_inline bool sl_reads_dns(const struct sl_subject *s)
{
	return (sl_flags_of(s->word) & (SL_F_NAMES | SL_F_FORWARD)) == SL_F_NAMES;
}

/* The port that the socket asked, in the place of the one that it was led to. */
static __always_inline void sl_undo_nat(struct __sk_buff *skb, struct sl_flow *f)
{
	struct bpf_sock *sk = skb->sk;

	if (!sl_is_loopback4(f) || !f->has_ports || f->raw || f->destination_port == SL_DNS_PORT ||
	    (f->protocol != IPPROTO_UDP && f->protocol != IPPROTO_TCP) || !sk)
		return;
	sk = bpf_sk_fullsock(sk);
	if (sk && sl_asks_it(sk, f))
		f->destination_port = f->key = SL_DNS_PORT;
}

#endif
