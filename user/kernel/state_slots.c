// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Targets in their slots: filled, switched, cleared. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "complaint.h"
#include "kernel.h"
#include "outer.h"
#include "state_internal.h"

int sl_state_read_target(const struct sl_state *s, __u32 slot, struct sl_target *out)
{
	return bpf_map_lookup_elem(s->maps[SL_M_TARGETS], &slot, out) ? -errno : 0;
}

int sl_state_write_target(const struct sl_state *s, __u32 slot, const struct sl_target *target)
{
	return bpf_map_update_elem(s->maps[SL_M_TARGETS], &slot, target, 0) ? -errno : 0;
}

int sl_state_find_free(const struct sl_state *s, __u32 *slot, struct sl_diag *diag)
{
	struct sl_target t;
	__u32 i;

	for (i = 0; i < SL_SLOTS; i++) {
		if (sl_state_read_target(s, i, &t))
			return -EIO;
		if (t.kind == SL_TARGET_FREE) {
			*slot = i;
			return 0;
		}
	}
	sl_error(diag, NULL, "%u targets are attached, no more have room; detach one "
		 "(`sluice status` lists them)", SL_SLOTS);
	return -ENOSPC;
}

static void clear_hits(const struct sl_state *s, __u32 slot)
{
	struct sl_hit_key key, next;
	void *at = NULL;
	int fd = s->maps[SL_M_HITS];
	bool more = !bpf_map_get_next_key(fd, at, &next);

	while (more) {
		key = next;
		more = !bpf_map_get_next_key(fd, &key, &next);
		if (key.slot == slot)
			bpf_map_delete_elem(fd, &key);
	}
}

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
	clear_hits(s, slot);
}

__u64 sl_state_boot_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* What a slot gets with a table. Descriptors, -1: none. */
struct filling {
	int table, patterns, flows, known, learned;
};

static void close_filling(struct filling *f)
{
	const int fds[] = {f->table, f->patterns, f->flows, f->known, f->learned};
	size_t i;

	for (i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* A generation's own maps. */
static int make_generation(const struct sl_table *table, struct filling *f, struct sl_diag *diag)
{
	f->table = sl_kernel_table_map(table, diag);
	if (f->table < 0)
		return f->table;
	if (table->n_patterns)
		f->patterns = sl_pattern_trie(table);
	if (f->patterns < -1)
		sl_say_why(diag, "the patterns of names cannot be put into the kernel", f->patterns);
	return f->patterns < -1 ? f->patterns : 0;
}

/* What a target needs once a generation of it has names. */
static int make_names(const struct sl_state *s, __u32 slot, struct filling *f)
{
	__u32 id;

	if (!bpf_map_lookup_elem(s->maps[SL_M_KNOWN], &slot, &id))
		return 0;	/* from an earlier generation */
	f->known = sl_known_map();
	f->learned = sl_learned_map();
	return f->known < 0 ? f->known : f->learned < 0 ? f->learned : 0;
}

/* Puts into the outer maps what there is; one grace period for all. */
static int link_filling(struct sl_state *s, __u32 slot, __u32 index, const struct filling *f)
{
	const struct sl_outer_change all[] = {
		{.outer_fd = s->maps[SL_M_TABLES], .index = index, .fd = f->table},
		{.outer_fd = s->maps[SL_M_NAMES], .index = index, .fd = f->patterns},
		{.outer_fd = s->maps[SL_M_FLOWS], .index = slot, .fd = f->flows},
		{.outer_fd = s->maps[SL_M_KNOWN], .index = slot, .fd = f->known},
		{.outer_fd = s->maps[SL_M_LEARNED], .index = slot, .fd = f->learned},
	};
	struct sl_outer_change changes[5];
	size_t i, n = 0;

	for (i = 0; i < 5; i++)
		if (all[i].fd >= 0)
			changes[n++] = all[i];
	return sl_outer_change(changes, n);
}

static int fill(struct sl_state *s, struct sl_target *target, const struct sl_table *table,
		__u32 slot, struct filling *f, struct sl_diag *diag)
{
	int err = make_generation(table, f, diag);

	if (err)
		return err;
	f->flows = sl_flow_map(SL_STATE_FLOWS, &target->buckets);
	if (f->flows < 0)
		return f->flows;
	if (table->n_patterns)
		err = make_names(s, slot, f);
	if (!err)
		err = sl_state_write_target(s, slot, target);
	return err ? err : link_filling(s, slot, 2 * slot, f);
}

int sl_state_fill_slot(struct sl_state *s, struct sl_target *target, const struct sl_table *table,
		       __u32 slot, struct sl_diag *diag)
{
	struct filling f = {-1, -1, -1, -1, -1};
	int err;

	target->since_ns = sl_state_boot_ns();
	err = fill(s, target, table, slot, &f, diag);
	close_filling(&f);
	if (!err) {
		__atomic_store_n(&s->words[slot], sl_table_switch_word(table, 2 * slot),
				 __ATOMIC_RELEASE);
		return 0;
	}
	if (!diag->n_errors)
		sl_say_why(diag, "the target's tables cannot be linked", err);
	return err;
}

/* The old generation's places are emptied once nobody reads them: the table is linked
 * once more, for the grace period. */
static void drop_generation(struct sl_state *s, __u32 index, __u32 new_index, int table_fd)
{
	struct sl_outer_change again = {.outer_fd = s->maps[SL_M_TABLES], .index = new_index,
					.fd = table_fd};
	struct sl_outer_change drop[2] = {
		{.outer_fd = s->maps[SL_M_TABLES], .index = index, .fd = -1},
		{.outer_fd = s->maps[SL_M_NAMES], .index = index, .fd = -1},
	};

	if (!sl_outer_change(&again, 1))
		sl_outer_change(drop, 2);
}

int sl_state_switch_slot(struct sl_state *s, __u32 slot, const struct sl_table *table,
			 struct sl_diag *diag)
{
	__u32 old = SL_WORD_INDEX(s->words[slot]), index = old ^ 1;
	struct filling f = {-1, -1, -1, -1, -1};
	struct sl_table before = {};
	int err = make_generation(table, &f, diag);

	if (!err && table->n_patterns)
		err = make_names(s, slot, &f);
	if (!err)
		err = link_filling(s, slot, index, &f);
	if (!err) {
		sl_state_table(s, slot, &before); /* its labels; without: its counts stay old */
		__atomic_store_n(&s->words[slot], sl_table_switch_word(table, index),
				 __ATOMIC_RELEASE);
		drop_generation(s, old, index, f.table);
		if (before.words)
			sl_state_carry_hits(s, slot, &before, table);
	} else if (!diag->n_errors) {
		sl_say_why(diag, "the new generation cannot be linked", err);
	}
	close_filling(&f);
	free(before.words);
	return err;
}

/* The word first: whoever still finds the slot is denied (no-policy). */
void sl_state_clear_slot(struct sl_state *s, __u32 slot)
{
	const struct sl_target none = {};
	struct sl_outer_change changes[] = {
		{.outer_fd = s->maps[SL_M_TABLES], .index = 2 * slot, .fd = -1},
		{.outer_fd = s->maps[SL_M_TABLES], .index = 2 * slot + 1, .fd = -1},
		{.outer_fd = s->maps[SL_M_NAMES], .index = 2 * slot, .fd = -1},
		{.outer_fd = s->maps[SL_M_NAMES], .index = 2 * slot + 1, .fd = -1},
		{.outer_fd = s->maps[SL_M_FLOWS], .index = slot, .fd = -1},
		{.outer_fd = s->maps[SL_M_KNOWN], .index = slot, .fd = -1},
		{.outer_fd = s->maps[SL_M_LEARNED], .index = slot, .fd = -1},
	};

	__atomic_store_n(&s->words[slot], 0, __ATOMIC_RELEASE);
	sl_outer_change(changes, sizeof(changes) / sizeof(*changes));
	clear_counters(s, slot);
	sl_state_write_target(s, slot, &none);
}

int sl_state_add_unattached(struct sl_state *s, unsigned ifindex, const struct sl_table *table,
			    __u32 *slot, struct sl_diag *diag)
{
	struct sl_target target = {.kind = SL_TARGET_DEVICE, .flags = SL_TARGET_LIVE,
				   .netns = s->netns, .ifindex = ifindex};
	__u64 word;
	int err = sl_state_find_free(s, slot, diag);

	if (!err)
		err = sl_state_fill_slot(s, &target, table, *slot, diag);
	if (err)
		return err;
	word = SL_DEVICE_WORD(ifindex, *slot);
	if (!bpf_map_update_elem(s->maps[SL_M_DEVICES], &ifindex, &word, 0))
		return 0;
	err = -errno;
	sl_error(diag, NULL, "interface %u: %s", ifindex, strerror(-err));
	sl_state_clear_slot(s, *slot);
	return err;
}

int sl_state_switch(struct sl_state *s, __u32 slot, const struct sl_table *table,
		    struct sl_diag *diag)
{
	return sl_state_switch_slot(s, slot, table, diag);
}

void sl_state_forget(struct sl_state *s, __u32 slot)
{
	struct sl_target t;

	if (!sl_state_read_target(s, slot, &t))
		bpf_map_delete_elem(s->maps[SL_M_DEVICES], &t.ifindex);
	sl_state_clear_slot(s, slot);
}
