/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Answers (docs/names.md, "Answers"): for a question that is outstanding, and by a chain of
 * CNAMEs that no rule denies.
 */
#ifndef SLUICE_DNS_ANSWER_BPF_H
#define SLUICE_DNS_ANSWER_BPF_H

#include "dns_learn.bpf.h"

/* Does the i-th alias of an answer lead to a name that a rule denies? An alias need not
 * be listed itself. Not static: verified once. */
__noinline int sl_alias_is_denied(const struct sl_subject *s, struct sl_dns *d, __u32 i)
{
	struct sl_answer a = {};
	__u32 class;

	if (!s || !d)
		return 1;
	i &= SL_DNS_ALIASES_MAX - 1;
	if (sl_dns_read_again(d, d->aliases[i]) != SL_DNS_READ)
		return 1;
	if (d->odd)
		return 0;
	class = sl_dns_class(s, d);
	if (class == SL_NONE)
		return 0;
	sl_dns_decide(s, class, &a);
	return a.rule != SL_NONE && a.deny;
}

/*
 * Is it not the target's own word? A command may hold the resolver's address in a network
 * namespace that it has made, and speak from it at home if it may bind port 53
 * (ip_unprivileged_port_start). Over loopback both hooks see the packet: sl_note_resolver.
 * Which namespaces are its own is known of a command; in a cgroup there may be containers, and
 * what an answer teaches is known in the namespace where it came, and nowhere else.
 */
static __always_inline bool sl_is_anothers_answer(const struct sl_packet *p)
{
	struct sl_flow_entry *e;

	if (SL_ON_DEVICE)
		return true;
#if SL_BY_CGROUP
	if (!p->subject.where)
		return false;
#else
	if (p->flow.netns)
		return false;
#endif
	if (!p->flow.local)
		return true;
	e = sl_flow_at(p->subject.slot, (int)p->flow.carrier - 1);
	return e && !(e->flags & SL_FLOW_ITSELF);
}

/* One answer, shape and question having been read. */
static __always_inline int sl_judge_answer(struct sl_packet *p, struct sl_dns *d, int verdict)
{
	__u32 i;

	if (verdict == SL_DNS_BAD || !sl_question_take(p, d))
		return SL_REASON_DNS_ANSWER;
	if (verdict == SL_DNS_EMPTY)
		return SL_PARSED;
	if (sl_dns_records(d) != SL_DNS_GOOD)
		return SL_REASON_DNS_ANSWER;
	for (i = 0; i < SL_DNS_ALIASES_MAX && i < d->n_aliases; i++)
		if (sl_alias_is_denied(&p->subject, d, i))
			return SL_REASON_DNS_ANSWER;
	if (sl_is_anothers_answer(p))
		sl_learn_all(&p->subject, d);
	return SL_PARSED;
}

#endif
