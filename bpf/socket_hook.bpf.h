/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * connect and sendmsg: the early, typed error. What passes here is judged again
 * as a packet; what is refused here never becomes one.
 */
#ifndef SLUICE_SOCKET_HOOK_BPF_H
#define SLUICE_SOCKET_HOOK_BPF_H

#include <asm/errno.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>

#include "subject.bpf.h"
#include "verdict.bpf.h"
#if SL_NAMES
#include "names.bpf.h"
#endif
#include "event.bpf.h"
#include "limit.bpf.h"
#include "sent.bpf.h"
#include "hook.bpf.h"

/* What the hook can say of the attempt. False: a protocol whose destination is
 * only known from its packets (ping, raw): the packet hook decides. */
static __always_inline bool sl_flow_of_socket(struct bpf_sock_addr *ctx, struct sl_flow *f,
					      __u8 hook)
{
	__u32 protocol = ctx->protocol;

	if (protocol == SL_PROTO_MPTCP)
		protocol = IPPROTO_TCP;
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != IPPROTO_SCTP)
		return false;
	f->protocol = protocol;
	f->hook = hook;
	f->destination_port = bpf_ntohs((__u16)ctx->user_port);
	f->key = f->destination_port;
	f->has_ports = 1;
	return true;
}

/* connect(0.0.0.0) and connect(::) reach the host itself (ip_route_output). */
static __always_inline void sl_destination4(struct bpf_sock_addr *ctx, struct sl_flow *f)
{
	f->family = 4;
	f->destination_low = bpf_ntohl(ctx->user_ip4);
	if (!f->destination_low)
		f->destination_low = 0x7f000001;
}

static __always_inline void sl_destination6(struct bpf_sock_addr *ctx, struct sl_flow *f)
{
	f->family = 6;
	f->destination_high = (__u64)bpf_ntohl(ctx->user_ip6[0]) << 32 |
			      bpf_ntohl(ctx->user_ip6[1]);
	f->destination_low = (__u64)bpf_ntohl(ctx->user_ip6[2]) << 32 |
			     bpf_ntohl(ctx->user_ip6[3]);
	if (!f->destination_high && !f->destination_low)
		f->destination_low = 1;
	if (!f->destination_high && f->destination_low >> 32 == 0xffff) {
		f->family = 4;	/* its packets are IPv4 */
		f->destination_low = (__u32)f->destination_low;
		if (!f->destination_low)
			f->destination_low = 0x7f000001;
	}
}

/* The socket belongs to the target; does the task? */
#if SL_BY_CGROUP
static __always_inline bool sl_task_is_foreign(struct bpf_sock_addr *ctx,
					       const struct sl_subject *s)
{
	int slot = sl_slot_of_task();

	/* asked once more: its cgroup may have become a target between the two */
	return slot != (int)s->slot && slot != sl_slot_of_socket(ctx);
}
#else
static __always_inline bool sl_task_is_foreign(struct bpf_sock_addr *ctx,
					       const struct sl_subject *s)
{
	struct sl_target *t = sl_subject_target(s);

	if (!t || !t->cgroup_id)
		return false;
	return bpf_get_current_ancestor_cgroup_id(t->cgroup_level) != t->cgroup_id;
}
#endif

/*
 * What only the packet's hook can decide; the process is noted for its event.
 *  - A UDP connect() sends nothing, and many are never followed by a packet:
 *    getaddrinfo connects to every address it found, only to sort them, ping to
 *    learn its own address. So it is no attempt.
 *  - A UDP server's answer belongs to the flow that reached its socket, and the
 *    local address of that flow is not known here.
 *  - In audit mode a flow is reported once, and whether it is new is not known.
 */
static __always_inline bool sl_leave_to_packet(struct bpf_sock_addr *ctx, const struct sl_flow *f,
					       bool audit)
{
	struct sl_socket *note;

	if (f->protocol != IPPROTO_UDP)
		return false;
	if (audit || f->hook == SL_HOOK_CONNECT4 || f->hook == SL_HOOK_CONNECT6)
		return true;
	note = bpf_sk_storage_get(&sl_sockets, ctx->sk, 0, 0);
	return note && (note->flags & SL_SOCK_SERVES);
}

/* Notes who made the attempt, for the events of its packets. */
static __always_inline struct sl_socket *sl_note_current(struct bpf_sock_addr *ctx)
{
	struct sl_socket *note = bpf_sk_storage_get(&sl_sockets, ctx->sk, 0,
						     BPF_SK_STORAGE_GET_F_CREATE);

	sl_note_process(note);
	return note;
}

static __always_inline int sl_refuse_socket(struct bpf_sock_addr *ctx, struct sl_flow *f,
					    const struct sl_subject *s, const struct sl_answer *a)
{
	bool audit = SL_MAY(SL_LACKS_AUDIT) && (a->flags & SL_F_AUDIT) &&
		     a->reason != SL_REASON_NO_POLICY;
	struct sl_process process = {};

	if (a->reason != SL_REASON_FOREIGN_TASK && sl_leave_to_packet(ctx, f, audit)) {
		sl_note_current(ctx);
		return SL_PASS;
	}
	sl_process_current(&process);
	sl_record(f, s, a, &process, audit ? SL_EV_AUDIT_DENY : SL_EV_DENY);
	if (!audit && !(SL_MAY(SL_LACKS_DROP) && (a->flags & SL_F_DROP))) {
		bpf_set_retval(f->protocol == IPPROTO_TCP ? -ECONNREFUSED : -EHOSTUNREACH);
		return SL_REFUSE;
	}
	sl_note(sl_note_current(ctx), f, s, SL_SOCK_REPORTED);
	return SL_PASS;
}

/* Its question may be refused. */
static __always_inline bool sl_is_question(const struct sl_flow *f, const struct sl_answer *a)
{
#if SL_NAMES
	return (a->flags & SL_F_NAMES) && f->key == SL_DNS_PORT;
#else
	return false;
#endif
}

/* The process stands in the note, for the event of its packet. And whom it asks, if that is
 * a resolver on loopback, connected or not: nat.bpf.h. */
static __always_inline void sl_note_asked(struct sl_socket *note, const struct sl_flow *f,
					  const struct sl_answer *a)
{
	if (note && sl_is_question(f, a) && f->family == 4 && f->destination_low >> 24 == 127)
		note->asked = (__u32)f->destination_low;
}

/* Does every datagram to there pass, whatever comes, while this generation is in force? */
static __always_inline bool sl_passes_for_good(const struct sl_flow *f, const struct sl_answer *a)
{
	return !a->deny && !a->name && !a->deadline_ns && !(a->flags & SL_F_LOG_ALL) &&
	       !sl_is_question(f, a);
}

/* ipv4, sends: the hook's, constants. */
static __always_inline int sl_socket_hook(struct bpf_sock_addr *ctx, struct sl_flow *f, bool ipv4,
					  bool sends)
{
	int slot = sl_slot_of_socket(ctx);
	struct sl_subject s = {};
	struct sl_answer a = {};
	struct sl_socket *note;
	bool foreign;

	if (slot == SL_NOBODYS)
		return SL_PASS;
	if (!sl_subject_init(&s, slot) || !ctx->sk)
		return SL_REFUSE;
	foreign = sl_task_is_foreign(ctx, &s);
	if (sends && !foreign && s.word && sl_was_sent(f, &s, true))
		return SL_PASS;
	note = bpf_sk_storage_get(&sl_sockets, ctx->sk, 0, 0);
	sl_subject_stamp(&s, note);
	if (note && f->protocol == IPPROTO_TCP)	/* a socket in repair connects without a SYN */
		note->flags &= ~SL_SOCK_BEGAN;
	if (sends && !foreign && s.word && sl_was_sent(f, &s, false))
		return SL_PASS;
	if (ipv4)
		sl_verdict4(f, &s, &a);
	else
		sl_verdict(f, &s, &a);
#if SL_NAMES
	if (a.flags & SL_F_NAMES) {
#if SL_BY_CGROUP
		s.where = bpf_get_netns_cookie(ctx);
#endif
		sl_names_verdict(f, &s, &a);
	}
#endif
	if (foreign) {
		a.deny = 1;
		a.reason = SL_REASON_FOREIGN_TASK;
		a.rule = SL_NONE;
	}
	if (SL_MAY(SL_LACKS_FLOW_LIMIT) && !a.deny && f->protocol == IPPROTO_TCP &&
	    (a.flags & SL_F_LIMIT_FLOWS) && !sl_may_open_flow(&s, true)) {
		a.deny = 1;
		a.reason = SL_REASON_CONNECTION_LIMIT;
		a.rule = SL_NONE;
	}
	if (!a.deny && ((a.flags & SL_F_LOG_ALL) || sl_is_question(f, &a)))
		sl_note_asked(sl_note_current(ctx), f, &a);
	if (sends && sl_passes_for_good(f, &a))
		sl_note_sent(f, &s, !(a.flags & SL_F_UIDS));
	return a.deny ? sl_refuse_socket(ctx, f, &s, &a) : SL_PASS;
}

#endif
