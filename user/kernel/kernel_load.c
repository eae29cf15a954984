// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* One command's programs and maps, loaded: what needs no order is done at once. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "complaint.h"
#include "kernel.h"
#include "kernel_internal.h"
#include "lacks.h"
#include "named.skel.h"
#include "no_btf.h"
#include "outer.h"
#include "sluice.skel.h"
#include "stamp.skel.h"

#define RING_BYTES (1u << 21)	/* about 14,000 events */
#define HITS_LEAST 4096		/* rows of sl_hits; the reasons without a rule are among them */

static int write_target(struct sl_kernel *k, const struct sl_kernel_options *options, __u32 buckets)
{
	struct sl_target target = {.cgroup_id = options->cgroup_id,
				   .cgroup_level = options->cgroup_level, .buckets = buckets,
				   .kind = SL_TARGET_CGROUP, .flags = SL_TARGET_LIVE};
	__u32 slot = SL_KERNEL_SLOT;

	return bpf_map_update_elem(bpf_map__fd(sl_kernel_map(k, "sl_targets")), &slot, &target, 0) ?
		       -errno : 0;
}

static int map_word(struct sl_kernel *k)
{
	void *at = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED,
			bpf_map__fd(sl_kernel_map(k, "sl_words")), 0);

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
	k->ring = ring_buffer__new(bpf_map__fd(sl_kernel_map(k, "sl_events")), on_event, k, NULL);
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
					bpf_map__fd(sl_kernel_map(k, "sl_sockets")));
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
		{"sl_tables", SL_KERNEL_TABLES, f->table, &k->tables_fd},
		{"sl_flows", 1, f->flows, &k->flows_fd},
		{"sl_names", SL_KERNEL_TABLES, f->patterns, &k->names_fd},
		{"sl_known", 1, f->known, &k->known_fd},
		{"sl_learned", 1, f->learned, &k->learned_fd},
	};
	struct sl_outer_change first[5];
	size_t i, n = 0;
	int err, linked;

	for (i = 0; i < 5; i++) {
		if (outers[i].inner < 0)
			continue;
		*outers[i].keep = make_outer(sl_kernel_map(k, outers[i].name), outers[i].name,
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
		k->named->rodata->sl_slot = SL_KERNEL_SLOT;
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
	k->plain->rodata->sl_slot = SL_KERNEL_SLOT;
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
		err = bpf_map__set_max_entries(sl_kernel_map(k, "sl_events"), RING_BYTES);
	if (!err)
		err = size_hits(sl_kernel_map(k, "sl_hits"), options->table);
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
