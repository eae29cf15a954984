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
	if (slot >= SL_SLOTS)
		return -ENOENT;
	*out = s->targets[slot];
	return 0;
}

int sl_state_write_target(const struct sl_state *s, __u32 slot, const struct sl_target *target)
{
	return bpf_map_update_elem(s->maps[SL_M_TARGETS], &slot, target, 0) ? -errno : 0;
}

int sl_state_find_free(const struct sl_state *s, __u32 *slot)
{
	__u32 i;

	for (i = 0; i < SL_SLOTS; i++)
		if (s->targets[i].kind == SL_TARGET_FREE && !sl_state_is_pending(s, i)) {
			*slot = i;
			return 0;
		}
	return -ENOSPC;
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

/* The pin of a table: read by who may not open maps by their id. */
void sl_state_unpin_table(const struct sl_state *s, __u32 index)
{
	char *pin = s->path ? sl_state_pin(s, false, "table-%u", index) : NULL;

	if (pin)
		unlink(pin);
	free(pin);
}

static int pin_table(const struct sl_state *s, __u32 index, int fd)
{
	char *pin;
	int err;

	if (!s->path)
		return 0;
	sl_state_unpin_table(s, index);
	pin = sl_state_pin(s, false, "table-%u", index);
	err = !pin ? -ENOMEM : bpf_obj_pin(fd, pin) ? -errno : 0;
	free(pin);
	return err;
}

/* Puts into the outer maps what there is. The places are empty, or hold what nobody
 * reads any more: so nobody needs to wait for those that read what was there. */
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
	int err = pin_table(s, index, f->table);

	for (i = 0; i < 5; i++)
		if (all[i].fd >= 0)
			changes[n++] = all[i];
	if (!err)
		err = sl_outer_shown(sl_state_begin(s, changes, n), n);
	if (err) {	/* the others may still be on their way */
		sl_state_settle(s);
		sl_state_unpin_table(s, index);
	}
	return err;
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

int sl_state_switch_slot(struct sl_state *s, __u32 slot, const struct sl_table *table,
			 struct sl_diag *diag)
{
	__u32 old = SL_WORD_INDEX(s->words[slot]), index = old ^ 1;
	struct filling f = {-1, -1, -1, -1, -1};
	struct sl_table before = {};
	int err = make_generation(table, &f, diag);

	if (sl_state_is_pending(s, slot))	/* both places are in use */
		sl_state_settle(s);
	if (!err && table->n_patterns)
		err = make_names(s, slot, &f);
	if (!err)
		err = link_filling(s, slot, index, &f);
	if (!err) {
		sl_state_table(s, slot, &before); /* its labels; without: its counts stay old */
		__atomic_store_n(&s->words[slot], sl_table_switch_word(table, index),
				 __ATOMIC_RELEASE);
		sl_state_switched(s, slot, old, &before);
	} else if (!diag->n_errors) {
		sl_say_why(diag, "the new generation cannot be linked", err);
	}
	close_filling(&f);
	return err;
}

void sl_state_on_end(struct sl_state *s, sl_end_handler handler, void *context)
{
	s->on_end = handler;
	s->on_end_context = context;
}

void sl_state_on_switched(struct sl_state *s, sl_switched_handler handler, void *context)
{
	s->on_switched = handler;
	s->on_switched_context = context;
}

/* The word first: whoever still finds the slot is denied (no-policy). */
void sl_state_clear_slot(struct sl_state *s, __u32 slot, const struct sl_target *t)
{
	const struct sl_outer_change changes[] = {
		{.outer_fd = s->maps[SL_M_TABLES], .index = 2 * slot, .fd = -1},
		{.outer_fd = s->maps[SL_M_TABLES], .index = 2 * slot + 1, .fd = -1},
		{.outer_fd = s->maps[SL_M_NAMES], .index = 2 * slot, .fd = -1},
		{.outer_fd = s->maps[SL_M_NAMES], .index = 2 * slot + 1, .fd = -1},
		{.outer_fd = s->maps[SL_M_FLOWS], .index = slot, .fd = -1},
		{.outer_fd = s->maps[SL_M_KNOWN], .index = slot, .fd = -1},
		{.outer_fd = s->maps[SL_M_LEARNED], .index = slot, .fd = -1},
	};

	if (sl_state_is_pending(s, slot))
		sl_state_settle(s);
	sl_state_clearing(s, slot, t);
	__atomic_store_n(&s->words[slot], 0, __ATOMIC_RELEASE);
	sl_state_end_flows(s, slot);
	if (s->on_end)
		s->on_end(s->on_end_context, s, slot);
	sl_state_begin(s, changes, sizeof(changes) / sizeof(*changes));
	sl_state_cleared(s);
}

int sl_state_add_unattached(struct sl_state *s, unsigned ifindex, const struct sl_table *table,
			    __u32 *slot, struct sl_diag *diag)
{
	struct sl_target target = {.kind = SL_TARGET_DEVICE, .flags = SL_TARGET_LIVE,
				   .netns = s->netns, .ifindex = ifindex};
	__u64 word;
	int err = sl_state_find_free(s, slot);

	if (!err)
		err = sl_state_fill_slot(s, &target, table, *slot, diag);
	if (err)
		return err;
	word = SL_DEVICE_WORD(ifindex, *slot);
	if (!bpf_map_update_elem(s->maps[SL_M_DEVICES], &ifindex, &word, 0))
		return 0;
	err = -errno;
	sl_error(diag, NULL, "interface %u: %s", ifindex, strerror(-err));
	sl_state_forget(s, *slot);
	return err;
}

int sl_state_switch(struct sl_state *s, __u32 slot, const struct sl_table *table,
		    struct sl_diag *diag)
{
	int err = sl_state_switch_slot(s, slot, table, diag);

	sl_state_settle(s);
	return err;
}

void sl_state_forget(struct sl_state *s, __u32 slot)
{
	struct sl_target t = {};

	if (!sl_state_read_target(s, slot, &t))
		bpf_map_delete_elem(s->maps[SL_M_DEVICES], &t.ifindex);
	sl_state_clear_slot(s, slot, &t);
	sl_state_settle(s);
}
