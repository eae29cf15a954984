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
	sl_learn_all(&p->subject, d);
	return SL_PARSED;
}

#endif
