/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A target of reload_fire, and what its events and counts must be. */
#ifndef SLUICE_TESTS_FIRE_ACCOUNT_H
#define SLUICE_TESTS_FIRE_ACCOUNT_H

#include <pthread.h>

#include "kernel/kernel.h"
#include "target/cgroup.h"
#include "shared.h"

#define PIDS 64

struct target {
	unsigned number;
	struct sl_cgroup cgroup;
	struct sl_kernel *kernel;
	struct sl_policy *policy[2];
	struct sl_compiled compiled[2]; /* to check events against */
	_Atomic __u64 swaps;
	pthread_t thread;
	/* of the events, which main reads */
	__u64 received, sequences; /* how many; the sum of their numbers */
	struct {
		__u32 pid;
		__u64 generation;
	} newest[PIDS];
	__u64 hits;
};

/* A call's hook runs in its process: what it meets never gets older. The packet
 * hooks are left out, they name the process by a note on its socket. */
static void check_order(struct target *t, const struct sl_event *e)
{
	size_t i;

	if (!(e->flags & SL_EVENT_PROCESS) || e->hook > SL_HOOK_SENDMSG6)
		return;
	for (i = 0; i < PIDS && t->newest[i].pid && t->newest[i].pid != e->pid; i++)
		;
	if (i == PIDS)
		return;
	if (e->generation < t->newest[i].generation)
		fire_wrong("target %u: process %u was judged by generation %llu after %llu",
			   t->number, e->pid, (unsigned long long)e->generation,
			   (unsigned long long)t->newest[i].generation);
	t->newest[i].pid = e->pid;
	t->newest[i].generation = e->generation;
}

static void on_event(void *context, const struct sl_event *e)
{
	struct target *t = context;
	struct sl_question q = {
		.family = e->family, .protocol = e->protocol, .key = e->destination_port};
	struct sl_cidr address = {.family = e->family, .len = e->family == 4 ? 32 : 128};
	struct sl_answer a;

	check_order(t, e);
	t->received++;
	t->sequences += e->sequence;
	if (e->direction != SL_EGRESS)
		return;
	memcpy(address.addr, e->destination, sizeof(address.addr));
	sl_question_address(&q, &address);
	sl_table_judge(&t->compiled[(e->generation - 1) % 2].table, &q, &a);
	if (!a.deny || a.rule != e->rule || a.reason != e->reason)
		fire_wrong("target %u: an event of generation %llu says rule %d reason %u, its "
			   "table rule %d reason %u%s",
			   t->number, (unsigned long long)e->generation, (int)e->rule, e->reason,
			   (int)a.rule, a.reason, a.deny ? "" : ", and allows it");
}

static void on_hit(void *context, const struct sl_hit_key *key, const struct sl_hit *hit)
{
	struct target *t = context;

	t->hits += hit->count;
}

static void check_counts(struct target *t)
{
	struct sl_stats s = {};

	if (sl_kernel_stats(t->kernel, &s) || sl_kernel_hits(t->kernel, on_hit, t))
		fire_wrong("target %u: no counts", t->number);
	printf("target %u: %llu decided: %llu allowed, %llu denied; %llu submitted, %llu "
	       "suppressed "
	       "(%llu over the budget), %llu lost\n",
	       t->number, (unsigned long long)s.decided, (unsigned long long)s.allowed,
	       (unsigned long long)s.denied, (unsigned long long)s.submitted,
	       (unsigned long long)s.suppressed, (unsigned long long)s.over_budget,
	       (unsigned long long)s.lost);
	if (s.decided != s.submitted + s.suppressed + s.lost || s.decided != s.allowed + s.denied ||
	    s.audit_denied)
		fire_wrong("target %u: the counts do not add up", t->number);
	if (s.submitted != t->received || s.sequence != s.submitted)
		fire_wrong("target %u: %llu events were read", t->number,
			   (unsigned long long)t->received);
	if (t->received && t->sequences != t->received * (t->received - 1) / 2)
		fire_wrong("target %u: the events' numbers have gaps", t->number);
	if (t->hits + s.uncounted != s.decided)
		fire_wrong("target %u: hits by rule are %llu and %llu uncounted", t->number,
			   (unsigned long long)t->hits, (unsigned long long)s.uncounted);
	if (!s.denied || !s.allowed || !s.submitted)
		fire_wrong("target %u: nothing happened", t->number);
}

#endif
