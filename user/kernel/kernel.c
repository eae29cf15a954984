// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Load, switch, attach: the programs of one target. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "complaint.h"
#include "kernel.h"
#include "kernel_internal.h"
#include "lacks.h"
#include "lsm.h"
#include "no_btf.h"
#include "outer.h"
#include "parts.h"
#include "named.skel.h"
#include "sluice.skel.h"
#include "stamp.skel.h"
#include "walker.h"

#define SLOT 0
#define TABLES 2		/* places in sl_tables: the one in force, the next */
#define RING_BYTES (1u << 21)	/* about 14,000 events */
#define HITS_LEAST 4096		/* rows of sl_hits; the reasons without a rule are among them */

struct sl_kernel {
	struct sluice *plain;	/* one of these two: without names, with them */
	struct named *named;
	struct bpf_object *object; /* its object, borrowed: the maps */
	struct sl_parts parts;	/* the programs */
	struct stamp *stamp;	/* NULL: no uid rules */
	int tables_fd, flows_fd, names_fd, known_fd, learned_fd; /* outer maps; owned, -1 */
	__u64 *word;		/* sl_words[SLOT], mapped */
	__u32 lacks;		/* SL_LACKS_: what the programs are without */
	bool only;		/* its table stays */
	int walker;		/* owned; -errno: not loaded (yet) */
	__u64 looked_ns;	/* monotonic time of the last look for flows that are over */
	struct ring_buffer *ring;
	sl_event_handler handler;
	void *context;
};

const struct named *sl_kernel_named(const struct sl_kernel *k)
{
	return k->named;
}

static struct bpf_map *map_of(const struct sl_kernel *k, const char *name)
{
	return bpf_object__find_map_by_name(k->object, name);
}

static int write_target(struct sl_kernel *k, const struct sl_kernel_options *options, __u32 buckets)
{
	struct sl_target target = {.cgroup_id = options->cgroup_id,
				   .cgroup_level = options->cgroup_level, .buckets = buckets,
				   .kind = SL_TARGET_CGROUP, .flags = SL_TARGET_LIVE};
	__u32 slot = SLOT;

	return bpf_map_update_elem(bpf_map__fd(map_of(k, "sl_targets")), &slot, &target, 0) ?
		       -errno : 0;
}

static int map_word(struct sl_kernel *k)
{
	void *at = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED,
			bpf_map__fd(map_of(k, "sl_words")), 0);

	if (at == MAP_FAILED)
		return -errno;
	k->word = at;
	return 0;
}

static int on_event(void *context, void *data, size_t size)
{
	struct sl_kernel *k = context;

	if (size >= sizeof(struct sl_event))
		k->handler(k->context, data);
	return 0;
}

static int open_ring(struct sl_kernel *k)
{
	k->ring = ring_buffer__new(bpf_map__fd(map_of(k, "sl_events")), on_event, k, NULL);
	return k->ring ? 0 : -errno;
}

static int make_outer(struct bpf_map *map, const char *name, __u32 places, int inner_fd)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .inner_map_fd = inner_fd);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, name, sizeof(__u32), sizeof(__u32),
				places, &options), err;

	if (fd < 0)
		return -errno;
	err = bpf_map__reuse_fd(map, fd);
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* What is linked while the programs are verified, which takes as long as the grace
 * period: the first generation, the flow state, and what names need. */
struct first {
	int table, flows, patterns, known, learned;	/* inner maps; -1: none */
};

static int make_first(const struct sl_kernel_options *options, struct first *f, __u32 *buckets)
{
	f->flows = sl_flow_map(options->flows ? options->flows : SL_FLOWS_DEFAULT, buckets);
	if (f->flows < 0 || !options->table->n_patterns)
		return f->flows < 0 ? f->flows : 0;
	f->patterns = sl_pattern_trie(options->table);
	f->known = sl_known_map();
	f->learned = sl_learned_map();
	return f->patterns < 0 ? f->patterns : f->known < 0 ? f->known :
	       f->learned < 0 ? f->learned : 0;
}

static void close_first(struct first *f)
{
	const int fds[] = {f->flows, f->patterns, f->known, f->learned};
	size_t i;

	for (i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static int open_and_load_stamp(struct sl_kernel *k, const char *path, int types)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .btf_custom_path = types < 0 ? NULL : path);
	int err;

	k->stamp = stamp__open_opts(&opts);
	if (!k->stamp)
		return -errno;
	err = types < 0 ? 0 : sl_few_types(types, bpf_object__btf(k->stamp->obj));
	if (!err)
		err = bpf_map__reuse_fd(k->stamp->maps.sl_sockets,
					bpf_map__fd(map_of(k, "sl_sockets")));
	return err ? err : stamp__load(k->stamp);
}

/* It looks for the kernel's types: while the others are verified. */
static int load_stamp(void *context)
{
	char path[SL_NO_BTF_PATH];
	int types = sl_no_btf(path), err = open_and_load_stamp(context, path, types);

	if (types >= 0)
		close(types);
	return err;
}

/* The parts of the programs are opened while the maps are made. */
static void begin_parts(struct sl_kernel *k, bool names)
{
	struct sl_parts_source source = {
		.name = names ? "named" : "sluice",
		.kind = {.types = names, .silent = !sl_never_silent(k->lacks)},
	};

	source.elf = names ? named__elf_bytes(&source.size) : sluice__elf_bytes(&source.size);
	sl_parts_begin(&k->parts, &source);
}

static int load_with_first(struct sl_kernel *k, const struct first *f,
			   const struct sl_kernel_options *options)
{
	const struct {
		const char *name;
		__u32 places;
		int inner, *keep;
	} outers[] = {
		{"sl_tables", TABLES, f->table, &k->tables_fd},
		{"sl_flows", 1, f->flows, &k->flows_fd},
		{"sl_names", TABLES, f->patterns, &k->names_fd},
		{"sl_known", 1, f->known, &k->known_fd},
		{"sl_learned", 1, f->learned, &k->learned_fd},
	};
	struct sl_outer_change first[5];
	size_t i, n = 0;
	int err, linked;

	for (i = 0; i < 5; i++) {
		if (outers[i].inner < 0)
			continue;
		*outers[i].keep = make_outer(map_of(k, outers[i].name), outers[i].name,
					     outers[i].places, outers[i].inner);
		if (*outers[i].keep < 0)
			return *outers[i].keep;
		first[n++] = (struct sl_outer_change){.outer_fd = *outers[i].keep, .index = 0,
						      .fd = outers[i].inner};
	}
	sl_outer_begin(first, n);
	err = sl_parts_load(&k->parts, k->object, options->uids ? load_stamp : NULL, k);
	linked = sl_outer_wait(first, n);
	return err ? err : linked;
}

/* A row for each rule and reason of one policy, twice over; the map's own size, 2 MiB of empty
 * buckets, takes a ms to make. */
static int size_hits(struct bpf_map *map, const struct sl_table *table)
{
	const __u32 most = bpf_map__max_entries(map);
	const __u64 rules = table->words[SL_H_DECISIONS] >> 32;
	__u64 rows = HITS_LEAST + 2 * rules;

	return rows < most ? bpf_map__set_max_entries(map, rows) : 0;
}

/* Its programs are loaded from others: parts.h. */
static int open_object(struct sl_kernel *k, bool names, const char *btf)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .btf_custom_path = btf);
	__u64 seed, netns = sl_netns_cookie();

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return -EIO;
	if (names) {
		k->named = named__open_opts(&opts);
		if (!k->named)
			return -errno;
		k->object = k->named->obj;
		k->named->rodata->sl_slot = SLOT;
		k->named->rodata->sl_netns = netns;
		k->named->rodata->sl_seed = seed;
		k->named->rodata->sl_lacks = k->lacks;
		return bpf_map__set_max_entries(k->named->maps.sl_scratch,
						libbpf_num_possible_cpus() * SL_SCRATCH_PLACES);
	}
	k->plain = sluice__open_opts(&opts);
	if (!k->plain)
		return -errno;
	k->object = k->plain->obj;
	k->plain->rodata->sl_slot = SLOT;
	k->plain->rodata->sl_netns = netns;
	k->plain->rodata->sl_seed = seed;
	k->plain->rodata->sl_lacks = k->lacks;
	return 0;
}

static int load(struct sl_kernel *k, const struct sl_kernel_options *options, int table_fd)
{
	struct first first = {.table = table_fd, .flows = -1, .patterns = -1, .known = -1,
			      .learned = -1};
	char path[SL_NO_BTF_PATH];
	__u32 buckets;
	bool names = options->table->words[SL_H_FLAGS] & SL_F_NAMES;
	int no_btf = sl_no_btf(path), err;

	begin_parts(k, names);
	err = open_object(k, names, no_btf < 0 ? NULL : path);
	if (!err)
		err = bpf_map__set_max_entries(map_of(k, "sl_events"), RING_BYTES);
	if (!err)
		err = size_hits(map_of(k, "sl_hits"), options->table);
	if (!err)
		err = make_first(options, &first, &buckets);
	if (!err)
		err = load_with_first(k, &first, options);
	close_first(&first);
	if (no_btf >= 0)
		close(no_btf);
	if (!err)
		err = write_target(k, options, buckets);
	if (!err)
		err = map_word(k);
	if (!err)
		__atomic_store_n(k->word, sl_table_switch_word(options->table, 0),
				 __ATOMIC_RELEASE);
	return err ? err : open_ring(k);
}

int sl_kernel_load(const struct sl_kernel_options *options, struct sl_kernel **out,
		   struct sl_diag *diag)
{
	libbpf_print_fn_t before;
	struct sl_kernel *k;
	int err, first_fd;

	if (!options->table)
		return sl_error(diag, NULL, "no first generation to load (options.table)");
	sl_bpffs_ensure(); /* a failure is said where something is pinned: doctor, attach */
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	k->tables_fd = k->flows_fd = k->names_fd = k->known_fd = k->learned_fd = k->walker = -1;
	k->only = options->only;
	k->lacks = k->only ? sl_lacks_of(options->table) : 0;
	first_fd = sl_kernel_table_map(options->table, diag);
	if (first_fd < 0) {
		free(k);
		return first_fd;
	}
	before = sl_complaints_begin();
	err = load(k, options, first_fd);
	sl_complaints_end(before);
	close(first_fd);
	if (err) {
		sl_say_why(diag, "the kernel programs cannot be loaded", err);
		sl_kernel_free(k);
		return err;
	}
	*out = k;
	return 0;
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
	__u32 old_index = SL_WORD_INDEX(old), index = (old_index + 1) % TABLES;
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
	return err ? err : tell_directions(map_of(w->kernel, "sl_directions"));
}

/* Optional: the command's seccomp filter says the same. */
static int attach_lsm(const struct sl_kernel *k, int cgroup_fd, struct sl_diag *diag)
{
	const struct sl_lsm_maps maps = {
		.tables = k->tables_fd,
		.words = bpf_map__fd(map_of(k, "sl_words")),
		.stats = bpf_map__fd(map_of(k, "sl_stats")),
		.hits = bpf_map__fd(map_of(k, "sl_hits")),
		.budgets = bpf_map__fd(map_of(k, "sl_budgets")),
		.events = bpf_map__fd(map_of(k, "sl_events")),
		.slot = SLOT,
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
	struct bpf_map *map = map_of(context, name);

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
		sl_walker_run(k->walker, SLOT, last ? SL_SETTLE_DETACHED : SL_SETTLE_OVER);
}

int sl_kernel_stats(const struct sl_kernel *k, struct sl_stats *stats)
{
	__u32 slot = SLOT;

	return bpf_map_lookup_elem(bpf_map__fd(map_of(k, "sl_stats")), &slot, stats) ? -errno : 0;
}

int sl_kernel_hits(const struct sl_kernel *k, sl_hit_handler handler, void *context)
{
	int fd = bpf_map__fd(map_of(k, "sl_hits"));
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
