// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* One command's programs, loaded (kernel_load.c): attach, switch, read. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "complaint.h"
#include "kernel.h"
#include "kernel_internal.h"
#include "lsm.h"
#include "named.skel.h"
#include "outer.h"
#include "sluice.skel.h"
#include "stamp.skel.h"
#include "walker.h"

const struct named *sl_kernel_named(const struct sl_kernel *k)
{
	return k->named;
}

struct bpf_map *sl_kernel_map(const struct sl_kernel *k, const char *name)
{
	return bpf_object__find_map_by_name(k->object, name);
}

static void close_outers(const struct sl_kernel *k)
{
	const int fds[] = {k->tables_fd, k->flows_fd, k->names_fd, k->known_fd, k->learned_fd,
			   k->walker};
	size_t i;

	for (i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

void sl_kernel_free(struct sl_kernel *k)
{
	if (!k)
		return;
	ring_buffer__free(k->ring);
	if (k->word)
		munmap(k->word, sysconf(_SC_PAGESIZE));
	stamp__destroy(k->stamp);
	sl_parts_close(&k->parts);
	sluice__destroy(k->plain);
	named__destroy(k->named);
	close_outers(k);
	free(k);
}

/* The table of an index and its patterns; -1: none. */
static int link_generation(const struct sl_kernel *k, __u32 index, int table_fd, int patterns_fd)
{
	struct sl_outer_change changes[2] = {
		{.outer_fd = k->tables_fd, .index = index, .fd = table_fd},
		{.outer_fd = k->names_fd, .index = index, .fd = patterns_fd},
	};

	return sl_outer_change(changes, k->named ? 2 : 1);
}

/* What the target was loaded without cannot be had by a new generation. */
static int check_suits(const struct sl_kernel *k, const struct sl_table *table,
		       struct sl_diag *diag)
{
	__u64 flags = table->words[SL_H_FLAGS];

	if (k->only)
		return sl_error(diag, NULL, "the programs of this target were made for its first "
				"policy alone (options.only)");
	if ((flags & SL_F_UIDS) && !k->stamp)
		return sl_error(diag, NULL, "the policy has uid rules, and the target was loaded "
				"without the programs that know a socket's uid");
	if ((flags & SL_F_NAMES) && !k->named)
		return sl_error(diag, NULL, "the policy has names, and the target was loaded "
				"without the programs that read DNS");
	return 0;
}

int sl_kernel_switch(struct sl_kernel *k, const struct sl_table *table, struct sl_diag *diag)
{
	__u64 old = __atomic_load_n(k->word, __ATOMIC_ACQUIRE);
	__u64 generation = table->words[SL_H_GENERATION];
	__u32 old_index = SL_WORD_INDEX(old), index = (old_index + 1) % SL_KERNEL_TABLES;
	int fd, patterns = -1, err;

	if (generation <= SL_WORD_GENERATION(old))
		return sl_error(diag, NULL, "generation %llu is not newer than %llu",
				(unsigned long long)generation,
				(unsigned long long)SL_WORD_GENERATION(old));
	err = check_suits(k, table, diag);
	fd = err ? err : sl_kernel_table_map(table, diag);
	if (fd < 0)
		return fd;
	if (table->n_patterns)
		patterns = sl_pattern_trie(table);
	err = patterns < -1 ? patterns : link_generation(k, index, fd, patterns);
	if (!err) {
		__atomic_store_n(k->word, sl_table_switch_word(table, index), __ATOMIC_RELEASE);
		/* nobody may be reading the old table when it goes: link the new
		 * one once more, for the grace period */
		if (!link_generation(k, index, fd, patterns))
			link_generation(k, old_index, -1, -1);
	} else {
		sl_say_why(diag, "the new generation cannot be linked", err);
	}
	if (patterns >= 0)
		close(patterns);
	close(fd);
	return err;
}

static int attach_at(const struct bpf_program *program, int cgroup_fd, enum bpf_attach_type hook)
{
	return bpf_prog_attach(bpf_program__fd(program), cgroup_fd, hook, BPF_F_ALLOW_MULTI) ?
		       -errno : 0;
}

/* One program at both hooks of packets: until it is told which is which it refuses all. The
 * kernel has made a place for each. */
static int tell_directions(const struct bpf_map *map)
{
	struct bpf_cgroup_storage_key key, next;
	int fd = bpf_map__fd(map);
	void *at = NULL;
	__u64 value;

	while (!bpf_map_get_next_key(fd, at, &next)) {
		value = SL_DIRECTION_KNOWN |
			(next.attach_type == BPF_CGROUP_INET_INGRESS ? SL_INGRESS : SL_EGRESS);
		if (bpf_map_update_elem(fd, &next, &value, BPF_EXIST))
			return -errno;
		key = next;
		at = &key;
	}
	return errno == ENOENT ? 0 : -errno;
}

struct where {
	const struct sl_kernel *kernel;
	int cgroup_fd;
};

static int attach_part(const struct bpf_program *program, void *context)
{
	const struct where *w = context;
	int err = attach_at(program, w->cgroup_fd, bpf_program__expected_attach_type(program));

	if (err || strcmp(bpf_program__name(program), "sluice_packet"))
		return err;
	err = attach_at(program, w->cgroup_fd, BPF_CGROUP_INET_EGRESS);
	return err ? err : tell_directions(sl_kernel_map(w->kernel, "sl_directions"));
}

/* Optional: the command's seccomp filter says the same. */
static int attach_lsm(const struct sl_kernel *k, int cgroup_fd, struct sl_diag *diag)
{
	const struct sl_lsm_maps maps = {
		.tables = k->tables_fd,
		.words = bpf_map__fd(sl_kernel_map(k, "sl_words")),
		.stats = bpf_map__fd(sl_kernel_map(k, "sl_stats")),
		.hits = bpf_map__fd(sl_kernel_map(k, "sl_hits")),
		.budgets = bpf_map__fd(sl_kernel_map(k, "sl_budgets")),
		.events = bpf_map__fd(sl_kernel_map(k, "sl_events")),
		.slot = SL_KERNEL_SLOT,
	};
	int err = sl_lsm_attach(cgroup_fd, &maps, diag);

	return err == -EPERM || err == -EOPNOTSUPP ? 0 : err;
}

int sl_kernel_attach_cgroup(struct sl_kernel *k, int cgroup_fd, struct sl_diag *diag)
{
	struct where where = {.kernel = k, .cgroup_fd = cgroup_fd};
	int err = sl_parts_each(&k->parts, attach_part, &where);

	if (!err && k->stamp)
		err = attach_at(k->stamp->progs.sluice_stamp, cgroup_fd,
				BPF_CGROUP_INET_SOCK_CREATE);
	if (err)
		sl_say_why(diag, "a program cannot be attached to the cgroup", err);
	return err ? err : attach_lsm(k, cgroup_fd, diag);
}

int sl_kernel_events_fd(const struct sl_kernel *k)
{
	return ring_buffer__epoll_fd(k->ring);
}

int sl_kernel_drain(struct sl_kernel *k, sl_event_handler handler, void *context)
{
	k->handler = handler;
	k->context = context;
	return ring_buffer__consume(k->ring);
}

static int map_fd(const void *context, const char *name)
{
	struct bpf_map *map = sl_kernel_map(context, name);

	return map ? bpf_map__fd(map) : -1;
}

void sl_kernel_tell_ends(struct sl_kernel *k, bool last)
{
	struct sl_stats stats;
	struct timespec ts;
	__u64 now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = ts.tv_sec * 1000000000ull + ts.tv_nsec;
	if (!last && now - k->looked_ns < 1000000000)
		return;
	k->looked_ns = now;
	if (sl_kernel_stats(k, &stats) || !stats.logged)
		return;
	if (k->walker < 0)
		k->walker = sl_walker_load(map_fd, k);
	if (k->walker >= 0)
		sl_walker_run(k->walker, SL_KERNEL_SLOT, last ? SL_SETTLE_DETACHED : SL_SETTLE_OVER);
}

int sl_kernel_stats(const struct sl_kernel *k, struct sl_stats *stats)
{
	__u32 slot = SL_KERNEL_SLOT;

	return bpf_map_lookup_elem(bpf_map__fd(sl_kernel_map(k, "sl_stats")), &slot, stats) ? -errno : 0;
}

int sl_kernel_hits(const struct sl_kernel *k, sl_hit_handler handler, void *context)
{
	int fd = bpf_map__fd(sl_kernel_map(k, "sl_hits"));
	struct sl_hit_key key, next;
	struct sl_hit hit;
	void *at = NULL;

	while (!bpf_map_get_next_key(fd, at, &next)) {
		if (!bpf_map_lookup_elem(fd, &next, &hit))
			handler(context, &next, &hit);
		key = next;
		at = &key;
	}
	return errno == ENOENT ? 0 : -errno;
}
