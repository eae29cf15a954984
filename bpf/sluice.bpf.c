// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The cgroup programs. The packet hooks decide; connect and sendmsg only give
 * the early, typed error and know the process.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SL_ON_DEVICE 0
#ifndef SL_BY_CGROUP
#define SL_BY_CGROUP 0
#endif
#define SL_ONE_TABLE (!SL_BY_CGROUP)

#include "socket_hook.bpf.h"
#include "packet_hook.bpf.h"
#if SL_NAMES
#include "nat.bpf.h"
#include "sni.bpf.h"
#endif
#include "known.bpf.h"
#if SL_BY_CGROUP
#include "meter.bpf.h"
#include "stamp.bpf.h"
#endif

SEC("cgroup/connect4")
int sluice_connect4(struct bpf_sock_addr *ctx)
{
	struct sl_flow f = {};

	if (!sl_flow_of_socket(ctx, &f, SL_HOOK_CONNECT4))
		return SL_PASS;
	sl_destination4(ctx, &f);
	return sl_socket_hook(ctx, &f, true, false);
}

SEC("cgroup/connect6")
int sluice_connect6(struct bpf_sock_addr *ctx)
{
	struct sl_flow f = {};

	if (!sl_flow_of_socket(ctx, &f, SL_HOOK_CONNECT6))
		return SL_PASS;
	sl_destination6(ctx, &f);
	return sl_socket_hook(ctx, &f, false, false);
}

SEC("cgroup/sendmsg4")
int sluice_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct sl_flow f = {};

	if (!sl_flow_of_socket(ctx, &f, SL_HOOK_SENDMSG4))
		return SL_PASS;
	sl_destination4(ctx, &f);
	return sl_socket_hook(ctx, &f, true, true);
}

SEC("cgroup/sendmsg6")
int sluice_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct sl_flow f = {};

	if (!sl_flow_of_socket(ctx, &f, SL_HOOK_SENDMSG6))
		return SL_PASS;
	sl_destination6(ctx, &f);
	return sl_socket_hook(ctx, &f, false, true);
}

/* Would a socket of the protocol have its packets sent by one without its note, which would count as
 * made at home? SCTP's accepted ones inherit none (sctp_v4_create_accept_sk). A cgroup's may be a
 * container's, which is not to lose the protocol for it: docs/SECURITY.md. */
static __always_inline bool sl_loses_note(__u32 protocol)
{
	return sl_sends_by_others(protocol) || (!SL_BY_CGROUP && protocol == IPPROTO_SCTP);
}

/* Notes the namespace of a socket that is made in another than the target's, and
 * refuses one that it cannot note it on. */
static __always_inline bool sl_note_netns(struct bpf_sock *ctx, __u64 own)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	struct sl_socket *note;

	if (netns == own)
		return true;
	if (sl_loses_note(ctx->protocol))
		return false;
	note = bpf_sk_storage_get(&sl_sockets, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!note)
		return false;
	note->netns = netns;
	note->flags |= SL_SOCK_ELSEWHERE;
	return true;
}

#if SL_BY_CGROUP
/* What all targets' sockets get, and those of a target with uid rules. */
static __always_inline int sl_prepare_socket(struct bpf_sock *ctx)
{
	int slot = sl_slot_of_new(ctx);
	struct sl_subject s = {};
	struct sl_target *t;

	if (slot == SL_NOBODYS)
		return SL_PASS;
	t = sl_subject_init(&s, slot) ? sl_subject_target(&s) : NULL;
	if (!t || !sl_note_netns(ctx, t->netns))
		return SL_REFUSE;
	return (sl_generation_flags(s.word) & SL_F_UIDS) ? sl_stamp(ctx) : SL_PASS;
}
#else
static __always_inline int sl_prepare_socket(struct bpf_sock *ctx)
{
	return sl_note_netns(ctx, sl_netns) ? SL_PASS : SL_REFUSE; /* stamp.bpf.c stamps the uid */
}
#endif

/* Notes the process, too, on sockets that only the packet hooks will see (raw, ping). */
SEC("cgroup/sock_create")
int sluice_sock_create(struct bpf_sock *ctx)
{
	if (sl_prepare_socket(ctx) != SL_PASS)
		return SL_REFUSE;
	if (ctx->type != SL_SOCK_RAW && ctx->protocol != IPPROTO_ICMP &&
	    ctx->protocol != SL_PROTO_ICMPV6)
		return SL_PASS;
	sl_note_process(bpf_sk_storage_get(&sl_sockets, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE));
	return SL_PASS;
}

/* The long way. */
static __always_inline int sl_judge_packet(struct __sk_buff *skb, struct sl_packet *p, bool inbound)
{
	int reason, verdict;

	sl_packet_origin(skb, &p->flow);
	reason = sl_parse_packet(skb, p, 0);
#if SL_BY_CGROUP
	if (reason == SL_PARSED && (sl_generation_flags(p->subject.word) & SL_F_NAMES))
		p->subject.where = sl_netns_of_packet(skb);
#endif
#if SL_NAMES
	if (!inbound && reason == SL_PARSED && sl_reads_dns(&p->subject))
		sl_undo_nat(skb, &p->flow);
#endif
	verdict = reason == SL_PARSED ? sl_judge_fragments(skb, p) : sl_deny_shape(skb, p, reason);
#if SL_NAMES
	if (verdict == SL_PASS)
		verdict = sl_judge_dns(skb, p, inbound);
	if (verdict == SL_PASS)
		verdict = sl_judge_sni(skb, p, inbound);
#endif
	if (verdict == SL_PASS)
		verdict = sl_shape(skb, p, inbound);
	if (verdict != SL_PASS)
		sl_uncarry(&p->flow, p->subject.slot, skb->len);
	return verdict;
}

static __always_inline int sl_packet_hook(struct __sk_buff *skb, bool inbound, __u8 hook)
{
	int slot = sl_slot_of_packet(skb), verdict = SL_PASS;
	struct sl_packet p;

	if (slot == SL_NOBODYS)
		return SL_PASS;
	__builtin_memset(&p.subject, 0, sizeof(p.subject));
	if (!sl_subject_init(&p.subject, slot))
		return SL_REFUSE;
	if (!sl_passes_as_known(skb, &p.subject, inbound)) {
		sl_packet_begin(&p, inbound, hook);
		verdict = sl_judge_packet(skb, &p, inbound);
	}
#if SL_BY_CGROUP
	sl_meter_packet(skb, p.subject.slot, inbound, verdict == SL_PASS);
#endif
	return verdict;
}

/* One of the three, whatever the verifier knows of the verdict. */
SEC("cgroup_skb/egress")
int sluice_egress(struct __sk_buff *skb)
{
	int verdict = sl_packet_hook(skb, false, SL_HOOK_CGROUP_EGRESS);

	return verdict == SL_PASS ? SL_PASS :
	       verdict == SL_DROP_SILENTLY ? SL_DROP_SILENTLY : SL_REFUSE;
}

/* Ingress may only say 0 or 1. */
SEC("cgroup_skb/ingress")
int sluice_ingress(struct __sk_buff *skb)
{
	return sl_packet_hook(skb, true, SL_HOOK_CGROUP_INGRESS) == SL_PASS;
}

#if !SL_BY_CGROUP
/* By the hook, where the program below is attached; the kernel makes it, all zero, and user space
 * writes SL_DIRECTION_KNOWN and the direction. */
struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, struct bpf_cgroup_storage_key);
	__type(value, __u64);
} sl_directions SEC(".maps");

/* The two above as one program, which is attached at both hooks and verified once. No packet says
 * which way it goes; the hook's storage does. Nothing passes before that is written. What has
 * expected "ingress" at its load may say 0 or 1 at either hook, so where a packet may have to be
 * dropped silently the two are loaded. */
SEC("cgroup_skb/ingress")
int sluice_packet(struct __sk_buff *skb)
{
	const __u64 *at = bpf_get_local_storage(&sl_directions, 0);
	__u64 known = READ_ONCE(*at), inbound = known & SL_INGRESS;
	__u64 hook = SL_HOOK_CGROUP_EGRESS;

	if (!(known & SL_DIRECTION_KNOWN))
		return SL_REFUSE;
	barrier_var(inbound);	/* one path of the verifier's for both */
	hook += inbound * (SL_HOOK_CGROUP_INGRESS - SL_HOOK_CGROUP_EGRESS);
	return sl_packet_hook(skb, inbound, hook) == SL_PASS;
}
#endif

char _license[] SEC("license") = "Dual BSD/GPL";
