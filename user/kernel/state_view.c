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

/* A frozen map is the only one that stays what was compared when it was made. */
static bool is_frozen(int fd)
{
	char path[64], line[64];
	unsigned frozen = 0;
	FILE *info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = fopen(path, "re");
	while (info && fgets(line, sizeof(line), info))
		if (sscanf(line, "frozen: %u", &frozen) == 1)
			break;
	if (info)
		fclose(info);
	return frozen == 1;
}

/* The table's map, by its pin, which needs no CAP_SYS_ADMIN, or by its id. */
int sl_state_open_table(const struct sl_state *s, __u32 index, struct bpf_map_info *info)
{
	char *pin = s->path ? sl_state_pin(s, false, "table-%u", index) : NULL;
	__u32 id, size = sizeof(*info);
	int fd = pin ? bpf_obj_get(pin) : -1;

	free(pin);
	if (bpf_map_lookup_elem(s->maps[SL_M_TABLES], &index, &id)) {
		if (fd >= 0)
			close(fd);
		return -ENOENT;
	}
	if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, info, &size) && info->id == id)
		return fd;
	if (fd >= 0)
		close(fd);
	fd = bpf_map_get_fd_by_id(id);
	if (fd < 0)
		return -errno;
	size = sizeof(*info);
	return bpf_obj_get_info_by_fd(fd, info, &size) ? (close(fd), -errno) : fd;
}

/* -EUCLEAN: what its word leads to is no table of ours, or of another generation, or may be
 * written. */
int sl_state_map_table(const struct sl_state *s, __u32 slot, struct sl_table *out)
{
	__u64 word = __atomic_load_n(&s->words[slot], __ATOMIC_ACQUIRE);
	__u32 index = SL_WORD_INDEX(word);
	struct bpf_map_info info = {};
	__u64 *at = MAP_FAILED;
	size_t n;
	int fd;

	if (!word)
		return -ENOENT;
	fd = index / 2 == slot ? sl_state_open_table(s, index, &info) : -EUCLEAN;
	if (fd < 0)
		return fd == -ENOENT ? -EUCLEAN : fd;
	n = (size_t)info.max_entries * SL_PAGE_WORDS;
	if (info.type == BPF_MAP_TYPE_ARRAY && info.value_size == SL_PAGE_WORDS * sizeof(*at) &&
	    n >= SL_HEADER_WORDS && is_frozen(fd))
		at = mmap(NULL, n * sizeof(*at), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (at == MAP_FAILED)
		return -EUCLEAN;
	if (at[SL_H_MAGIC] != SL_TABLE_MAGIC || at[SL_H_WORDS] > n ||
	    at[SL_H_GENERATION] != SL_WORD_GENERATION(word)) {
		munmap(at, n * sizeof(*at));
		return -EUCLEAN;
	}
	*out = (struct sl_table){.words = at, .n_words = n};
	return 0;
}

void sl_state_unmap_table(struct sl_table *table)
{
	if (table->words)
		munmap(table->words, table->n_words * sizeof(*table->words));
	*table = (struct sl_table){};
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

__u64 sl_state_word(const struct sl_state *s, __u32 slot)
{
	return slot < SL_SLOTS ? __atomic_load_n(&s->words[slot], __ATOMIC_ACQUIRE) : 0;
}

static int copy_table(const __u64 *words, size_t n, struct sl_table *out)
{
	__u64 *copy = malloc(n * sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	memcpy(copy, words, n * sizeof(*copy));
	*out = (struct sl_table){.words = copy, .n_words = n};
	return 0;
}

int sl_state_table(const struct sl_state *s, __u32 slot, struct sl_table *out)
{
	struct sl_table mapped;
	int err = sl_state_map_table(s, slot, &mapped);

	if (err)
		return err;
	err = copy_table(mapped.words, mapped.n_words, out);
	sl_state_unmap_table(&mapped);
	return err;
}

int sl_state_table_of(const struct sl_state *s, __u32 slot, __u64 generation, struct sl_table *out)
{
	const struct sl_table *before = sl_state_before(s, slot, generation);

	return before ? copy_table(before->words, before->n_words, out) : sl_state_table(s, slot, out);
}

static void read_table(const struct sl_state *s, struct sl_target_view *view)
{
	struct sl_table mapped;
	int err = sl_state_map_table(s, view->slot, &mapped);

	view->broken = err && err != -ENOENT;
	if (err)
		return;
	view->flags = (__u32)mapped.words[SL_H_FLAGS];
	sl_state_unmap_table(&mapped);
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
		read_table(s, &view);
		view.attached = t.kind == SL_TARGET_CGROUP ? sl_state_judges_cgroup(s, i, &t) :
							     sl_state_is_attached(s, &t);
		if (t.kind == SL_TARGET_DEVICE) {
			view.moved = !view.attached && sl_state_is_moved(s, &t);
			view.preceding = view.attached ? sl_state_preceding(s, &t) : 0;
			name_now(s, &view);
			view.peer = view.attached ? sl_state_peer(s, &view.target) :
						    SL_PEER_UNKNOWN;
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
