// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What the forwarder (user/forward) asks: a tc program that is only ever run by
 * BPF_PROG_TEST_RUN, over the maps of a command's programs. So a question is judged, and
 * an address learned, by the very code that does it for packets, under the same locks.
 * No SEC("syscall") program: those sleep, and 6.1 gives them neither spin locks nor tries.
 */
#define SL_NAMES 1

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SL_ON_DEVICE 0

#include "packet_hook.bpf.h"
#include "dns.bpf.h"
#include "sluice_forward.h"

/* Who asks a cgroup's forwarder is in the forwarder's network namespace, since that listens on
 * loopback: its cookie. 0: a command's, which learns in one alone. */
const volatile __u64 sl_listens_in = 0;

static __always_inline struct sl_ask *sl_ask_of(struct __sk_buff *skb)
{
	struct sl_ask *ask = (void *)(long)skb->data;

	return (void *)(ask + 1) > (void *)(long)skb->data_end ? NULL : ask;
}

/* The workload's packet, as its egress hook saw it. */
static __always_inline void sl_ask_flow(const struct sl_ask *ask, struct sl_flow *f)
{
	f->hook = SL_HOOK_FORWARDER;
	f->family = 4;
	f->protocol = (__u8)ask->protocol;
	f->source_low = ask->client;
	f->destination_low = ask->forwarder;
	f->source_port = ask->client_port;
	f->destination_port = f->key = ask->forwarder_port;
	f->has_source = f->has_ports = f->local = 1;
}

/* SL_PARSED or the reason of the question's denial. */
static __always_inline int sl_ask_question(struct sl_packet *p, struct sl_dns *d)
{
	int reason = SL_REASON_DNS_MALFORMED;

	if (sl_dns_question(d) == SL_DNS_GOOD)
		reason = sl_gate_question(&p->subject, d, &p->answer);
	if (reason != SL_PARSED)
		return reason;
	p->answer.reason = p->answer.rule == SL_NONE ? SL_REASON_DEFAULT : SL_REASON_RULE;
	if (p->answer.flags & SL_F_LOG_ALL)
		sl_record_question(&p->flow, &p->subject, &p->answer, d, NULL);
	return SL_PARSED;
}

static __always_inline int sl_ask_alias(struct sl_packet *p, struct sl_dns *d)
{
	d->aliases[0] = SL_DNS_HEADER;
	if (!sl_alias_is_denied(&p->subject, d, 0))
		return SL_PARSED;
	d->type = sl_dns_u16(d, d->end);	/* the event is about this name */
	sl_dns_decide(&p->subject, sl_dns_class(&p->subject, d), &p->answer);
	return SL_REASON_DNS_ANSWER;
}

static __always_inline void sl_ask_learn(struct sl_packet *p, struct sl_dns *d)
{
	if (sl_dns_answer(d) == SL_DNS_GOOD && sl_dns_records(d) == SL_DNS_GOOD)
		sl_learn_all(&p->subject, d);
}

/* Not static: verified once, and its frame of the stack is its own. */
__noinline int sl_ask_message(struct __sk_buff *skb, struct sl_packet *p, struct sl_dns *d,
			      __u32 what)
{
	int reason = SL_PARSED;

	if (!p || !d)
		return SL_REASON_DNS_PENDING;
	p->answer.rule = SL_NONE;
	if (!sl_dns_load(skb, d, sizeof(struct sl_ask), skb->len - sizeof(struct sl_ask)))
		return SL_REASON_DNS_MALFORMED;
	if (what == SL_ASK_QUESTION)
		reason = sl_ask_question(p, d);
	else if (what == SL_ASK_ALIAS)
		reason = sl_ask_alias(p, d);
	else
		sl_ask_learn(p, d);
	if (reason == SL_PARSED)
		return reason;
	if (p->answer.rule == SL_NONE)
		p->answer.flags = sl_generation_flags(p->subject.word);
	p->answer.deny = 1;
	p->answer.reason = reason;
	sl_record_question(&p->flow, &p->subject, &p->answer, d, NULL);
	return reason;
}

static __always_inline int sl_ask_answer(struct __sk_buff *skb, const struct sl_packet *p,
					 int reason)
{
	struct sl_ask *ask = sl_ask_of(skb);

	if (!ask)
		return SL_ASK_BUSY;
	ask->rule = p->answer.rule;
	ask->flags = p->answer.flags;
	ask->reason = reason;
	return reason == SL_PARSED || (p->answer.flags & SL_F_AUDIT) ? SL_ASK_PASS :
								       SL_ASK_REFUSED;
}

/* Whoever has no flow of the target's is not the target. */
SEC("tc")
int sluice_forward(struct __sk_buff *skb)
{
	struct sl_ask *ask = sl_ask_of(skb);
	struct sl_packet p = {};
	struct sl_dns *d;
	__u32 what;
	int reason;

	if (!ask || !sl_subject_init(&p.subject, sl_slot))
		return SL_ASK_BUSY;
	p.subject.where = sl_listens_in;
	what = ask->what;
	sl_ask_flow(ask, &p.flow);
	if (what == SL_ASK_QUESTION &&
	    sl_flow_find(&p.flow, p.subject.slot, bpf_ktime_get_coarse_ns()) == SL_NO_PLACE)
		return SL_ASK_STRANGER;
	d = sl_scratch_take();
	if (!d)
		return SL_ASK_BUSY;
	reason = sl_ask_message(skb, &p, d, what);
	sl_scratch_give(d);
	return sl_ask_answer(skb, &p, reason);
}

char _license[] SEC("license") = "Dual BSD/GPL";
