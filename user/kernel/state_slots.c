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

static int find_free(const struct sl_state *s, __u32 *slot, struct sl_diag *diag)
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

static __u64 boot_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static int link_new(struct sl_state *s, __u32 slot, int table_fd, int flows_fd)
{
	struct sl_outer_change changes[2] = {
		{.outer_fd = s->maps[SL_M_TABLES], .index = 2 * slot, .fd = table_fd},
		{.outer_fd = s->maps[SL_M_FLOWS], .index = slot, .fd = flows_fd},
	};

	return sl_outer_change(changes, 2);
}

int sl_state_fill_slot(struct sl_state *s, struct sl_target *target, const struct sl_table *table,
		       __u32 *slot, struct sl_diag *diag)
{
	int err = find_free(s, slot, diag), table_fd, flows_fd;

	if (err)
		return err;
	table_fd = sl_kernel_table_map(table, diag);
	if (table_fd < 0)
		return table_fd;
	flows_fd = sl_flow_map(SL_STATE_FLOWS, &target->buckets);
	target->since_ns = boot_ns();
	err = flows_fd < 0 ? flows_fd : sl_state_write_target(s, *slot, target);
	if (!err)
		err = link_new(s, *slot, table_fd, flows_fd);
	if (!err)
		__atomic_store_n(&s->words[*slot], sl_table_switch_word(table, 2 * *slot),
				 __ATOMIC_RELEASE);
	else
		sl_say_why(diag, "the target's tables cannot be linked", err);
	close(table_fd);
	if (flows_fd >= 0)
		close(flows_fd);
	if (err)
		sl_state_clear_slot(s, *slot);
	return err;
}

int sl_state_switch_slot(struct sl_state *s, __u32 slot, const struct sl_table *table,
			 struct sl_diag *diag)
{
	__u32 old = SL_WORD_INDEX(s->words[slot]), index = old ^ 1;
	struct sl_outer_change put = {.outer_fd = s->maps[SL_M_TABLES], .index = index};
	struct sl_outer_change drop = {.outer_fd = s->maps[SL_M_TABLES], .index = old, .fd = -1};
	struct sl_table before = {};
	int err;

	sl_state_table(s, slot, &before);	/* for its labels; without: its counts stay old */
	put.fd = sl_kernel_table_map(table, diag);
	if (put.fd < 0) {
		free(before.words);
		return put.fd;
	}
	err = sl_outer_change(&put, 1);
	if (!err) {
		__atomic_store_n(&s->words[slot], sl_table_switch_word(table, index),
				 __ATOMIC_RELEASE);
		/* linked once more for the grace period: then nobody reads the old one */
		if (!sl_outer_change(&put, 1))
			sl_outer_change(&drop, 1);
		if (before.words)
			sl_state_carry_hits(s, slot, &before, table);
	} else {
		sl_say_why(diag, "the new generation cannot be linked", err);
	}
	close(put.fd);
	free(before.words);
	return err;
}

/* The word first: whoever still finds the slot is denied (no-policy). */
void sl_state_clear_slot(struct sl_state *s, __u32 slot)
{
	const struct sl_target none = {};
	struct sl_outer_change changes[3] = {
		{.outer_fd = s->maps[SL_M_TABLES], .index = 2 * slot, .fd = -1},
		{.outer_fd = s->maps[SL_M_TABLES], .index = 2 * slot + 1, .fd = -1},
		{.outer_fd = s->maps[SL_M_FLOWS], .index = slot, .fd = -1},
	};

	__atomic_store_n(&s->words[slot], 0, __ATOMIC_RELEASE);
	sl_outer_change(changes, 3);
	clear_counters(s, slot);
	sl_state_write_target(s, slot, &none);
}

int sl_state_add_unattached(struct sl_state *s, unsigned ifindex, const struct sl_table *table,
			    __u32 *slot, struct sl_diag *diag)
{
	struct sl_target target = {.kind = SL_TARGET_DEVICE, .flags = SL_TARGET_LIVE,
				   .netns = s->netns, .ifindex = ifindex};
	__u64 word;
	int err = sl_state_fill_slot(s, &target, table, slot, diag);

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
