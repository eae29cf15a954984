// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Reading the state: targets, their tables and counters. */
#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "state_internal.h"

/* The table of an index, mapped: *n_words words to be given to munmap. */
static const __u64 *map_table(const struct sl_state *s, __u32 index, size_t *n_words)
{
	struct bpf_map_info info = {};
	__u32 id, size = sizeof(info);
	void *at = MAP_FAILED;
	int fd;

	if (bpf_map_lookup_elem(s->maps[SL_M_TABLES], &index, &id))
		return NULL;
	fd = bpf_map_get_fd_by_id(id);
	if (fd < 0)
		return NULL;
	if (!bpf_obj_get_info_by_fd(fd, &info, &size)) {
		*n_words = (size_t)info.max_entries * SL_CHUNK_WORDS;
		at = mmap(NULL, *n_words * sizeof(__u64), PROT_READ, MAP_SHARED, fd, 0);
	}
	close(fd);
	return at == MAP_FAILED ? NULL : at;
}

__u64 sl_state_netns(const struct sl_state *s)
{
	return s->netns;
}

int sl_state_target(const struct sl_state *s, __u32 slot, struct sl_target *out)
{
	struct sl_target t;
	int err = sl_state_read_target(s, slot, &t);

	if (err || t.kind == SL_TARGET_FREE)
		return err ? err : -ENOENT;
	*out = t;
	return 0;
}

int sl_state_table(const struct sl_state *s, __u32 slot, struct sl_table *out)
{
	const __u64 *words;
	__u64 *copy;
	size_t n;

	words = s->words[slot] ? map_table(s, SL_WORD_INDEX(s->words[slot]), &n) : NULL;
	if (!words)
		return -ENOENT;
	copy = malloc(n * sizeof(*copy));
	if (copy)
		memcpy(copy, words, n * sizeof(*copy));
	munmap((void *)words, n * sizeof(*words));
	if (!copy)
		return -ENOMEM;
	*out = (struct sl_table){.words = copy, .n_words = n};
	return 0;
}

static __u32 table_flags(const struct sl_state *s, __u32 slot)
{
	const __u64 *words;
	__u32 flags;
	size_t n;

	words = s->words[slot] ? map_table(s, SL_WORD_INDEX(s->words[slot]), &n) : NULL;
	if (!words)
		return 0;
	flags = (__u32)words[SL_H_FLAGS];
	munmap((void *)words, n * sizeof(*words));
	return flags;
}

/* A device can have been renamed since. */
static void name_now(const struct sl_state *s, struct sl_target_view *view)
{
	struct sl_target *t = &view->target;
	char name[IF_NAMESIZE] = {};

	view->here = t->kind == SL_TARGET_DEVICE && t->netns == s->netns;
	if (!view->here || !view->attached || !if_indextoname(t->ifindex, name) ||
	    !strcmp(name, t->name))
		return;
	memcpy(view->attached_as, t->name, sizeof(view->attached_as));
	memcpy(t->name, name, sizeof(t->name));
}

static void read_lease(const struct sl_state *s, struct sl_target_view *view)
{
	struct sl_lease lease;

	if (bpf_map_lookup_elem(s->maps[SL_M_LEASES], &view->slot, &lease) ||
	    lease.until_ns <= sl_state_boot_ns())
		return;
	view->leased = lease.address;
	view->leased_until_ns = lease.until_ns;
}

int sl_state_targets(struct sl_state *s, sl_target_handler handler, void *context)
{
	struct sl_target t;
	__u32 i;

	sl_state_settle(s);
	for (i = 0; i < SL_SLOTS; i++) {
		struct sl_target_view view = {.slot = i};

		if (sl_state_read_target(s, i, &t))
			return -EIO;
		if (t.kind == SL_TARGET_FREE)
			continue;
		view.target = t;
		view.generation = SL_WORD_GENERATION(s->words[i]);
		view.flags = table_flags(s, i);
		view.attached = t.kind == SL_TARGET_CGROUP ? sl_state_judges_cgroup(s, i, &t) :
							     sl_state_is_attached(s, &t);
		if (t.kind == SL_TARGET_DEVICE) {
			view.preceding = view.attached ? sl_state_preceding(s, &t) : 0;
			name_now(s, &view);
			read_lease(s, &view);
		}
		bpf_map_lookup_elem(s->maps[SL_M_STATS], &i, &view.stats);
		sl_state_read_meter(s, i, &view.meter);
		handler(context, &view);
	}
	return 0;
}

int sl_state_hits(const struct sl_state *s, __u32 slot, sl_hit_handler handler, void *context)
{
	int fd = s->maps[SL_M_HITS];
	struct sl_hit_key key, next;
	struct sl_hit hit;
	void *at = NULL;

	while (!bpf_map_get_next_key(fd, at, &next)) {
		if ((next.slot == slot || slot == SL_SLOTS_ALL) &&
		    !bpf_map_lookup_elem(fd, &next, &hit))
			handler(context, &next, &hit);
		key = next;
		at = &key;
	}
	return errno == ENOENT ? 0 : -errno;
}
