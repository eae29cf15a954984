// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The cgroup hooks. The packet hooks decide; connect and sendmsg only give the
 * early, typed error and know the process. Each entry point is thin: flow and
 * subject, verdict, record, return.
 */
#include <asm/errno.h>
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>

#include "subject.bpf.h"
#include "packet.bpf.h"
#include "state.bpf.h"
#include "verdict.bpf.h"
#include "event.bpf.h"

#define SL_PASS 1
#define SL_REFUSE 0		/* egress: EPERM for the caller; ingress: dropped */
#define SL_DROP_SILENTLY 2	/* egress only (NET_XMIT_CN): the caller sees success */

#define IPPROTO_MPTCP_SOCKET 262
#define SL_SOCK_STREAM 1
#define SL_SOCK_RAW 3

/* ---- sockets: connect and sendmsg ---- */

/* What the hook can say of the attempt. False: a protocol whose destination is
 * only known from its packets (ping, raw): the packet hook decides. */
static __always_inline bool sl_flow_of_socket(struct bpf_sock_addr *ctx, struct sl_flow *f,
					      __u8 hook)
{
	__u32 protocol = ctx->protocol;

	if (protocol == IPPROTO_MPTCP_SOCKET)
		protocol = IPPROTO_TCP;
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != IPPROTO_SCTP)
		return false;
	f->protocol = protocol;
	f->hook = hook;
	f->destination_port = bpf_ntohs((__u16)ctx->user_port);
	f->key = f->destination_port;
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
}

/* The socket belongs to the target; does the task? */
static __always_inline bool sl_task_is_foreign(const struct sl_subject *s)
{
	struct sl_target *t = sl_subject_target(s);

	if (!t || !t->cgroup_id)
		return false;
	return bpf_get_current_ancestor_cgroup_id(t->cgroup_level) != t->cgroup_id;
}

/*
 * A UDP connect() sends nothing: getaddrinfo connects to every address it
 * found, only to sort them (glibc with the service's port, musl with 65535).
 * Where TCP may go, or where no packet can follow, it passes undecided; what
 * the socket then sends is judged as a packet.
 */
static __always_inline bool sl_is_sort_probe(const struct sl_flow *f, const struct sl_subject *s)
{
	struct sl_answer tcp = {};
	struct sl_flow as_tcp = *f;

	if (f->protocol != IPPROTO_UDP ||
	    (f->hook != SL_HOOK_CONNECT4 && f->hook != SL_HOOK_CONNECT6))
		return false;
	if (f->key == 0 || f->key == 65535)
		return true;
	as_tcp.protocol = IPPROTO_TCP;
	sl_verdict(&as_tcp, s, &tcp);
	return !tcp.deny;
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

static __always_inline int sl_refuse_socket(struct bpf_sock_addr *ctx, const struct sl_flow *f,
					    const struct sl_subject *s, const struct sl_answer *a)
{
	bool pass = (a->flags & SL_F_AUDIT) && a->reason != SL_REASON_NO_POLICY;
	struct sl_process process = {};
	struct sl_socket *note;

	sl_process_current(&process);
	if (!(pass || (a->flags & SL_F_DROP))) {
		sl_record(f, s, a, &process, SL_EV_DENY);
		bpf_set_retval(f->protocol == IPPROTO_TCP ? -ECONNREFUSED : -EHOSTUNREACH);
		return SL_REFUSE;
	}
	sl_record(f, s, a, &process, pass ? SL_EV_AUDIT_DENY : SL_EV_DENY);
	note = bpf_sk_storage_get(&sl_sockets, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	sl_note(note, f, s, SL_SOCK_REPORTED);
	sl_note_process(note, &process);
	return SL_PASS;
}

static __always_inline int sl_socket_hook(struct bpf_sock_addr *ctx, struct sl_flow *f)
{
	struct sl_process process = {};
	struct sl_subject s = {};
	struct sl_answer a = {};
	struct sl_socket *stamp;

	if (!sl_subject_init(&s))
		return SL_REFUSE;
	if (!ctx->sk)
		return SL_REFUSE;
	stamp = bpf_sk_storage_get(&sl_sockets, ctx->sk, 0, 0);
	sl_subject_stamp(&s, stamp);
	sl_verdict(f, &s, &a);
	if (sl_task_is_foreign(&s)) {
		a.deny = 1;
		a.reason = SL_REASON_FOREIGN_TASK;
		a.rule = SL_NONE;
	}
	if (!a.deny)
		return SL_PASS;
	if (a.reason != SL_REASON_FOREIGN_TASK && sl_is_sort_probe(f, &s)) {
		stamp = bpf_sk_storage_get(&sl_sockets, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		sl_process_current(&process);
		sl_note_process(stamp, &process);
		return SL_PASS;
	}
	return sl_refuse_socket(ctx, f, &s, &a);
}

SEC("cgroup/connect4")
int sluice_connect4(struct bpf_sock_addr *ctx)
{
	struct sl_flow f = {};

	if (!sl_flow_of_socket(ctx, &f, SL_HOOK_CONNECT4))
		return SL_PASS;
	sl_destination4(ctx, &f);
	return sl_socket_hook(ctx, &f);
}

SEC("cgroup/connect6")
int sluice_connect6(struct bpf_sock_addr *ctx)
{
	struct sl_flow f = {};

	if (!sl_flow_of_socket(ctx, &f, SL_HOOK_CONNECT6))
		return SL_PASS;
	sl_destination6(ctx, &f);
	return sl_socket_hook(ctx, &f);
}

SEC("cgroup/sendmsg4")
int sluice_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct sl_flow f = {};

	if (!sl_flow_of_socket(ctx, &f, SL_HOOK_SENDMSG4))
		return SL_PASS;
	sl_destination4(ctx, &f);
	return sl_socket_hook(ctx, &f);
}

SEC("cgroup/sendmsg6")
int sluice_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct sl_flow f = {};

	if (!sl_flow_of_socket(ctx, &f, SL_HOOK_SENDMSG6))
		return SL_PASS;
	sl_destination6(ctx, &f);
	return sl_socket_hook(ctx, &f);
}

/* ---- sockets: creation ---- */

/* Notes the process on sockets that only the packet hooks will see (raw, ping).
 * Never refuses. stamp.bpf.c stamps the uid. */
SEC("cgroup/sock_create")
int sluice_sock_create(struct bpf_sock *ctx)
{
	struct sl_process process = {};

	if (ctx->type != SL_SOCK_RAW && ctx->protocol != IPPROTO_ICMP &&
	    ctx->protocol != SL_PROTO_ICMPV6)
		return SL_PASS;
	sl_process_current(&process);
	sl_note_process(bpf_sk_storage_get(&sl_sockets, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE),
			&process);
	return SL_PASS;
}

/* ---- packets ---- */

struct sl_packet {
	struct sl_flow flow;
	struct sl_subject subject;
	struct sl_answer answer;
};

static __always_inline struct sl_socket *sl_packet_note(struct __sk_buff *skb, __u64 flags)
{
	struct bpf_sock *sk = skb->sk;

	if (!sk)
		return NULL;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return NULL;
	return bpf_sk_storage_get(&sl_sockets, sk, 0, flags);
}

/* Has this denial been reported by a socket hook or an earlier packet? UDP and
 * raw sockets: each send is an attempt of its own, so the note holds once. */
static __always_inline bool sl_is_reported(struct sl_socket *note, const struct sl_flow *f,
					   const struct sl_subject *s)
{
	if (!note || !(note->flags & SL_SOCK_REPORTED))
		return false;
	if (note->word != s->word || note->address_high != f->destination_high ||
	    note->address_low != f->destination_low || note->key != f->key ||
	    note->protocol != f->protocol)
		return false;
	if (f->protocol != IPPROTO_TCP)
		note->flags &= ~SL_SOCK_REPORTED;
	return true;
}

/* How a packet that is not to pass ends. */
static __always_inline int sl_refuse_packet(const struct sl_packet *p, __u32 flags)
{
	return !p->flow.inbound && (flags & SL_F_DROP) ? SL_DROP_SILENTLY : SL_REFUSE;
}

/* A packet that the policy, or its shape, denies: recorded once, then what mode
 * and on_deny say. Audit lets pass all but a missing policy. */
static __always_inline int sl_deny_packet(struct __sk_buff *skb, struct sl_packet *p)
{
	bool audit = (p->answer.flags & SL_F_AUDIT) && p->answer.reason != SL_REASON_NO_POLICY;
	bool tcp = p->flow.protocol == IPPROTO_TCP;
	struct sl_process process = {};
	struct sl_socket *note = NULL;

	if (!p->flow.inbound) {
		note = sl_packet_note(skb, tcp ? BPF_SK_STORAGE_GET_F_CREATE : 0);
		sl_process_socket(&process, note);
	}
	if (p->flow.inbound || !sl_is_reported(note, &p->flow, &p->subject)) {
		if (tcp)	/* its retransmissions are the same attempt */
			sl_note(note, &p->flow, &p->subject, SL_SOCK_REPORTED);
		sl_record(&p->flow, &p->subject, &p->answer, &process,
			  audit ? SL_EV_AUDIT_DENY : SL_EV_DENY);
	}
	return audit ? SL_PASS : sl_refuse_packet(p, p->answer.flags);
}

static __always_inline void sl_deny_because(struct sl_packet *p, __u8 reason)
{
	p->answer.deny = 1;
	p->answer.reason = reason;
	p->answer.rule = SL_NONE;
	p->answer.flags = sl_generation_flags(p->subject.word);
}

/* A flow's opener as a flow, to judge it again under a new generation. */
static __always_inline void sl_opener(const struct sl_flow_entry *e, struct sl_packet *p)
{
	struct sl_flow *f = &p->flow;
	bool a = e->flags & SL_FLOW_FROM_A;

	f->source_high = a ? e->key.a_high : e->key.b_high;
	f->source_low = a ? e->key.a_low : e->key.b_low;
	f->destination_high = a ? e->key.b_high : e->key.a_high;
	f->destination_low = a ? e->key.b_low : e->key.a_low;
	f->source_port = a ? e->key.a_port : e->key.b_port;
	f->destination_port = a ? e->key.b_port : e->key.a_port;
	f->key = e->open_key;
	f->inbound = !!(e->flags & SL_FLOW_INBOUND);
	p->subject.uid = e->uid;
	p->subject.has_uid = !!(e->flags & SL_FLOW_HAS_UID);
}

static __always_inline bool sl_is_current(const struct sl_flow_entry *e, __u64 word)
{
	return e->word == word &&
	       (!e->deadline_ns || bpf_ktime_get_boot_ns() < e->deadline_ns);
}

/* Notes what the judgement of a flow that we know was. A denied one stays, so
 * that its next packets are neither judged nor reported again. */
static __always_inline void sl_flow_judged(struct sl_flow_entry *e, const struct sl_packet *p)
{
	bool cut = p->answer.deny && !(p->answer.flags & SL_F_AUDIT);

	if (cut)
		__sync_fetch_and_or(&e->flags, SL_FLOW_DENIED);
	else
		__sync_fetch_and_and(&e->flags, ~SL_FLOW_DENIED);
	e->rule = p->answer.rule;
	e->deadline_ns = p->answer.deadline_ns;
	WRITE_ONCE(e->word, p->subject.word);
}

/* A new flow that passes (allowed, or denied in audit mode): its entry. False:
 * no room, and the answer is now a denial. */
static __always_inline bool sl_admit(struct sl_packet *p, __u64 now)
{
	struct sl_process nobody = {};
	int opened = sl_flow_open(&p->flow, &p->subject, &p->answer, now);

	if (opened == SL_NO_ROOM && !p->answer.deny) {
		sl_deny_because(p, SL_REASON_FLOW_TABLE);
		return false;
	}
	if (opened == SL_OPENED && !p->answer.deny)
		sl_record(&p->flow, &p->subject, &p->answer, &nobody, SL_EV_ALLOW);
	return true;
}

/* An ICMP error comes in if the packet that it quotes is of a flow of ours. */
static __always_inline bool sl_error_is_ours(struct __sk_buff *skb, struct sl_packet *p, __u64 now)
{
	struct sl_flow quoted = {};
	struct sl_flow_entry *e;

	if (sl_parse_ip(skb, sl_icmp_quote(0, &p->flow), &quoted) != SL_PARSED)
		return false;
	e = sl_flow_at(sl_flow_find(&quoted, p->subject.slot, now));
	return e && !(e->flags & SL_FLOW_DENIED);
}

/*
 * The packet's verdict. The order: its shape; an error about a flow of ours; a
 * flow that we know and that this generation judged; else the policy.
 */
static __always_inline int sl_judge_packet(struct __sk_buff *skb, struct sl_packet *p)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	struct sl_flow_entry *e = NULL;
	int reason, verdict;

	reason = sl_parse_ip(skb, 0, &p->flow);
	if (reason != SL_PARSED) {
		sl_deny_because(p, reason);
		return sl_deny_packet(skb, p);
	}
	if (p->flow.inbound && p->flow.icmp_query == SL_ICMP_ERROR) {
		if (sl_error_is_ours(skb, p, now))
			return SL_PASS;
	} else {
		e = sl_flow_at(sl_flow_find(&p->flow, p->subject.slot, now));
	}
	if (e && sl_is_current(e, p->subject.word)) {
		if (e->flags & SL_FLOW_DENIED)
			return sl_refuse_packet(p, sl_generation_flags(p->subject.word));
		sl_flow_touch(e, &p->flow, now);
		return SL_PASS;
	}
	if (e)
		sl_opener(e, p);
	else
		sl_subject_stamp(&p->subject, sl_packet_note(skb, 0));
	sl_verdict(&p->flow, &p->subject, &p->answer);
	if (e)
		sl_flow_judged(e, p);
	verdict = SL_PASS;
	if (p->answer.deny || (!e && !sl_admit(p, now)))
		verdict = sl_deny_packet(skb, p);
	if (verdict == SL_PASS && p->answer.deny && !e)
		sl_admit(p, now);
	return verdict;
}

static __always_inline int sl_packet_hook(struct __sk_buff *skb, bool inbound, __u8 hook)
{
	struct sl_packet p = {};

	if (!sl_subject_init(&p.subject))
		return SL_REFUSE;
	p.flow.inbound = inbound;
	p.flow.hook = hook;
	return sl_judge_packet(skb, &p);
}

SEC("cgroup_skb/egress")
int sluice_egress(struct __sk_buff *skb)
{
	return sl_packet_hook(skb, false, SL_HOOK_CGROUP_EGRESS);
}

/* Ingress may only say 0 or 1. */
SEC("cgroup_skb/ingress")
int sluice_ingress(struct __sk_buff *skb)
{
	return sl_packet_hook(skb, true, SL_HOOK_CGROUP_INGRESS) == SL_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
