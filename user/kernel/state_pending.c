// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What waits for a grace period. One is 8 to 20 ms long, and as many changes as one likes
 * share it: so what is done to many targets is begun for each and ended for all.
 */
#include <bpf/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "state_internal.h"

/* Changes that are made fast: of one target or two. Of more the kernel's usual grace period ends
 * while the next ones are begun, and where CPUs are short it is the faster one. */
#define SL_PENDING_FEW 16

static void hurry(struct sl_pending *p, bool yes)
{
	if (yes && !p->expedited)
		sl_expedite_begin();
	else if (!yes && p->expedited)
		sl_expedite_end();
	p->expedited = yes;
}

static void wait(struct sl_state *s)
{
	sl_outer_wait(s->pending.changes, s->pending.n_changes);
	s->pending.many = s->pending.n_changes > SL_PENDING_FEW;
	s->pending.n_changes = 0;
	hurry(&s->pending, false);
}

struct sl_outer_change *sl_state_begin(struct sl_state *s, const struct sl_outer_change *changes,
				       size_t n)
{
	struct sl_pending *p = &s->pending;
	struct sl_outer_change *begun;

	if (p->n_changes + n > SL_PENDING_CHANGES)
		wait(s);
	hurry(p, !p->many && p->n_changes + n <= SL_PENDING_FEW);
	begun = p->changes + p->n_changes;
	memcpy(begun, changes, n * sizeof(*changes));
	sl_outer_begin(begun, n);
	p->n_changes += n;
	return begun;
}

/* The table is kept for who drains the events: mapped, since most hear of none. */
void sl_state_clearing(struct sl_state *s, __u32 slot, const struct sl_target *t)
{
	struct sl_cleared *c = &s->pending.cleared[s->pending.n_cleared++];

	*c = (struct sl_cleared){.slot = slot, .target = *t};
	if (s->on_switched)
		sl_state_map_table(s, slot, &c->before);
}

void sl_state_cleared(struct sl_state *s)
{
	if (s->pending.n_cleared == SL_PENDING_SLOTS)
		sl_state_settle(s);
}

void sl_state_switched(struct sl_state *s, __u32 slot, __u32 index, struct sl_table *before)
{
	struct sl_pending *p = &s->pending;

	p->switched[p->n_switched++] = (struct sl_switched){slot, index, *before};
	*before = (struct sl_table){};
	if (p->n_switched == SL_PENDING_SLOTS)
		sl_state_settle(s);
}

bool sl_state_is_pending(const struct sl_state *s, __u32 slot)
{
	const struct sl_pending *p = &s->pending;
	size_t i;

	for (i = 0; i < p->n_cleared; i++)
		if (p->cleared[i].slot == slot)
			return true;
	for (i = 0; i < p->n_switched; i++)
		if (p->switched[i].slot == slot)
			return true;
	return false;
}

static bool is_of(const struct sl_table *table, __u64 generation)
{
	return table->words && table->words[SL_H_GENERATION] == generation;
}

const struct sl_table *sl_state_before(const struct sl_state *s, __u32 slot, __u64 generation)
{
	const struct sl_pending *p = &s->pending;
	size_t i;

	for (i = 0; i < p->n_switched; i++)
		if (p->switched[i].slot == slot && is_of(&p->switched[i].before, generation))
			return &p->switched[i].before;
	for (i = 0; i < p->n_cleared; i++)
		if (p->cleared[i].slot == slot && p->cleared[i].before.words &&
		    (!generation || is_of(&p->cleared[i].before, generation)))
			return &p->cleared[i].before;
	return NULL;
}

int sl_state_target_of(const struct sl_state *s, __u32 slot, struct sl_target *out)
{
	const struct sl_pending *p = &s->pending;

	for (size_t i = 0; i < p->n_cleared; i++)
		if (p->cleared[i].slot == slot) {
			*out = p->cleared[i].target;
			return 0;
		}
	return sl_state_target(s, slot, out);
}

/* ---- cleared ---- */

/* What the kernel counted and remembered for the slot. */
static void clear_counters(const struct sl_state *s, __u32 slot)
{
	static const enum sl_state_map maps[] = {SL_M_STATS, SL_M_BUDGETS, SL_M_LIMITERS,
						 SL_M_LEASES};
	const union {
		struct sl_stats stats;
		__u64 words[16];
	} zero = {};
	int cpus = libbpf_num_possible_cpus();
	void *meters = calloc(cpus > 0 ? cpus : 1, sizeof(struct sl_meter));
	size_t i;

	for (i = 0; i < sizeof(maps) / sizeof(*maps); i++)
		bpf_map_update_elem(s->maps[maps[i]], &slot, &zero, 0);
	if (meters)
		bpf_map_update_elem(s->maps[SL_M_METERS], &slot, meters, 0);
	free(meters);
}

/* Nobody writes there any more. */
static void free_cleared(struct sl_state *s)
{
	const struct sl_target none = {};
	struct sl_pending *p = &s->pending;
	__u32 slots[SL_PENDING_SLOTS];
	size_t i;

	for (i = 0; i < p->n_cleared; i++)
		slots[i] = p->cleared[i].slot;
	if (p->n_cleared)
		sl_state_clear_hits(s, slots, p->n_cleared);
	for (i = 0; i < p->n_cleared; i++) {
		clear_counters(s, slots[i]);
		sl_state_unpin_table(s, 2 * slots[i]);
		sl_state_unpin_table(s, 2 * slots[i] + 1);
		sl_state_write_target(s, slots[i], &none);
		sl_state_unmap_table(&p->cleared[i].before);
	}
	p->n_cleared = 0;
}

/* ---- switched ---- */

/* A grace period: nobody still reads the old generations. A table is linked once more, in
 * its own place. */
static bool grace(struct sl_state *s, const struct sl_switched *any)
{
	struct sl_outer_change again = {.outer_fd = s->maps[SL_M_TABLES], .index = any->index ^ 1};
	struct bpf_map_info info = {};

	again.fd = sl_state_open_table(s, again.index, &info);
	if (again.fd < 0)
		return false;
	sl_outer_change(&again, 1);
	close(again.fd);
	return !again.err;
}

static void carry_hits(struct sl_state *s, struct sl_switched *w)
{
	struct sl_table now = {};

	/* what flows carried under the old generation, first; unsettled it would stay old */
	if (w->before.words && !sl_state_table(s, w->slot, &now) &&
	    !sl_state_settle_flows(s, w->slot))
		sl_state_carry_hits(s, w->slot, &w->before, &now);
	free(w->before.words);
	free(now.words);
}

/* Without the grace period the old tables stay linked: the next generation takes their
 * places. */
static void drop_old(struct sl_state *s)
{
	struct sl_pending *p = &s->pending;
	bool over = p->n_switched && grace(s, &p->switched[0]);
	size_t i;

	for (i = 0; i < p->n_switched && over; i++) {
		const struct sl_outer_change drop[2] = {
			{.outer_fd = s->maps[SL_M_TABLES], .index = p->switched[i].index, .fd = -1},
			{.outer_fd = s->maps[SL_M_NAMES], .index = p->switched[i].index, .fd = -1},
		};

		sl_state_begin(s, drop, 2);
		sl_state_unpin_table(s, p->switched[i].index);
	}
	wait(s);
	if (p->n_switched && s->on_switched)
		s->on_switched(s->on_switched_context);
	for (i = 0; i < p->n_switched; i++)
		carry_hits(s, &p->switched[i]);
	p->n_switched = 0;
}

void sl_state_settle(struct sl_state *s)
{
	wait(s);
	/* the events of programs that still ran when their word went: it is known yet whose they are */
	if (s->pending.n_cleared && s->on_switched)
		s->on_switched(s->on_switched_context);
	free_cleared(s);
	drop_old(s);
}
