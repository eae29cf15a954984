// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The state as a whole: adopted, or made, or refused. Adopting is the same work as
 * making: the object is opened, each map is the pinned one where there is one, and
 * only what a namespace lacks is loaded.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "complaint.h"
#include "device.skel.h"
#include "outer.h"
#include "state_internal.h"

struct bpf_map *sl_state_map_of(const struct device *skel, enum sl_state_map m)
{
	return bpf_object__find_map_by_name(skel->obj, sl_state_map_names[m]);
}

int sl_state_size_maps(const struct device *skel)
{
	const struct {
		enum sl_state_map map;
		__u32 entries;
	} sizes[] = {
		{SL_M_TABLES, 2 * SL_SLOTS}, {SL_M_WORDS, SL_SLOTS}, {SL_M_TARGETS, SL_SLOTS},
		{SL_M_STATS, SL_SLOTS}, {SL_M_HITS, SL_STATE_HITS}, {SL_M_FLOWS, SL_SLOTS},
		{SL_M_LOCKS, SL_SLOTS}, {SL_M_BUDGETS, SL_SLOTS}, {SL_M_LIMITERS, SL_SLOTS},
		{SL_M_EVENTS, SL_STATE_RING}, {SL_M_LEASES, SL_SLOTS}, {SL_M_METERS, SL_SLOTS},
		{SL_M_NAMES, 2 * SL_SLOTS}, {SL_M_KNOWN, SL_SLOTS}, {SL_M_LEARNED, SL_SLOTS},
		{SL_M_SCRATCH, (__u32)libbpf_num_possible_cpus() * SL_SCRATCH_PLACES},
		{SL_M_DEVICES, SL_SLOTS},
	};
	size_t i;
	int err = 0;

	for (i = 0; i < sizeof(sizes) / sizeof(*sizes) && !err; i++)
		err = bpf_map__set_max_entries(sl_state_map_of(skel, sizes[i].map), sizes[i].entries);
	/* defined by headers that cgroup programs share, used by none of ours */
	return err ? err : bpf_map__set_autocreate(skel->maps.sl_sockets, false);
}

/* ---- maps and programs ---- */

static bool is_of_netns(enum sl_state_map m)
{
	return m == SL_M_DEVICES;
}

/* The pinned map of this place becomes the object's; -ENOENT: there is none. */
int sl_state_adopt_map(struct sl_state *s, const struct device *skel, enum sl_state_map m,
		     struct sl_diag *diag)
{
	char *pin = sl_state_pin(s, is_of_netns(m), "%s", sl_state_map_names[m]);
	struct bpf_map *map = sl_state_map_of(skel, m);
	int fd;

	if (!pin)
		return -ENOMEM;
	fd = sl_state_get_map(pin, map, diag);
	free(pin);
	if (fd < 0)
		return fd;
	s->maps[m] = fd;
	return bpf_map__reuse_fd(map, fd);
}

/* Adopts every pinned map. A state that has a sl_info has all maps but a namespace's. */
static int adopt_maps(struct sl_state *s, const struct device *skel, bool complete,
		      struct sl_diag *diag)
{
	enum sl_state_map m;
	int err;

	for (m = SL_M_INFO + 1; m < SL_M_MAX; m++) {
		err = sl_state_adopt_map(s, skel, m, diag);
		if (err == -ENOENT && complete && !is_of_netns(m))
			return sl_state_refuse(s, diag, "half written: a map is missing");
		if (err && err != -ENOENT)
			return err;
		if (!err && !complete && !is_of_netns(m))
			return sl_state_refuse(s, diag, "half written: sl_info is missing");
	}
	return 0;
}

static int keep(int fd)
{
	int copy = dup(fd);

	return copy < 0 ? -errno : copy;
}

/* What was made at load is pinned, and its descriptors are kept. */
static int take_maps(struct sl_state *s, const struct device *skel)
{
	enum sl_state_map m;
	char *pin;
	int err;

	for (m = SL_M_INFO + 1; m < SL_M_MAX; m++) {
		if (s->maps[m] >= 0)
			continue;
		s->maps[m] = keep(bpf_map__fd(sl_state_map_of(skel, m)));
		if (s->maps[m] < 0)
			return s->maps[m];
		if (!s->path)
			continue;
		pin = sl_state_pin(s, is_of_netns(m), "%s", sl_state_map_names[m]);
		err = !pin ? -ENOMEM : bpf_obj_pin(s->maps[m], pin) ? -errno : 0;
		free(pin);
		if (err)
			return err;
	}
	return 0;
}

static int take_programs(struct sl_state *s, const struct device *skel)
{
	const int fds[2] = {[SL_EGRESS] = bpf_program__fd(skel->progs.sluice_from_workload),
			    [SL_INGRESS] = bpf_program__fd(skel->progs.sluice_to_workload)};
	char *pin;
	int i, err;

	for (i = 0; i < 2; i++) {
		s->programs[i] = keep(fds[i]);
		if (s->programs[i] < 0)
			return s->programs[i];
		if (!s->path)
			continue;
		pin = sl_state_pin(s, true, "%s", sl_state_program_names[i]);
		err = !pin ? -ENOMEM : bpf_obj_pin(fds[i], pin) ? -errno : 0;
		free(pin);
		if (err)
			return err;
	}
	return 0;
}

/* Both pinned programs of this namespace, or -ENOENT. */
static int adopt_programs(struct sl_state *s, struct sl_diag *diag)
{
	char *pin;
	int i;

	for (i = 0; i < 2; i++) {
		pin = sl_state_pin(s, true, "%s", sl_state_program_names[i]);
		if (!pin)
			return -ENOMEM;
		s->programs[i] = sl_state_get_program(s, pin, sl_state_program_names[i],
						       BPF_PROG_TYPE_SCHED_CLS, diag);
		free(pin);
		if (s->programs[i] < 0)
			return s->programs[i];
	}
	return 0;
}

/* A namespace's programs that were made half-way are made again. */
static void drop_programs(struct sl_state *s)
{
	char *pin;
	int i;

	for (i = 0; i < 2; i++) {
		if (s->programs[i] >= 0)
			close(s->programs[i]);
		s->programs[i] = -1;
		pin = sl_state_pin(s, true, "%s", sl_state_program_names[i]);
		if (pin)
			unlink(pin);
		free(pin);
	}
}

static int load_programs(struct sl_state *s, struct device *skel)
{
	int err;

	skel->rodata->sl_seed = s->info.seed;
	skel->rodata->sl_mark = s->info.mark;
	skel->rodata->sl_netns = s->netns;
	err = device__load(skel);
	if (!err)
		err = take_maps(s, skel);
	return err ? err : take_programs(s, skel);
}

/* Everything that is missing is made; sl_info last. */
static int make_missing(struct sl_state *s, struct device *skel, bool complete,
			struct sl_diag *diag)
{
	int err = s->path && complete ? adopt_programs(s, diag) : -ENOENT;

	if (err == -ENOENT && s->path)
		drop_programs(s);
	if (err == -ENOENT) {
		err = load_programs(s, skel);
		if (err)
			sl_say_why(diag, "the device programs cannot be loaded", err);
	}
	if (!err && !complete)
		err = sl_state_write_info(s);
	if (!err && !complete && s->path)
		err = sl_state_pin_info(s);
	return err;
}

int sl_state_open_whole(struct sl_state *s, struct sl_diag *diag)
{
	struct device *skel = device__open();
	int err = skel ? sl_state_size_maps(skel) : -errno;

	if (!err)
		err = adopt_maps(s, skel, true, diag);
	if (!err)
		err = make_missing(s, skel, true, diag);
	device__destroy(skel);
	return err;
}

#define WORDS_SIZE (SL_SLOTS * sizeof(__u64))
#define TARGETS_SIZE (SL_SLOTS * sizeof(struct sl_target))

static int map_slots(struct sl_state *s)
{
	void *at = mmap(NULL, WORDS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			s->maps[SL_M_WORDS], 0);

	if (at == MAP_FAILED)
		return -errno;
	s->words = at;
	at = mmap(NULL, TARGETS_SIZE, PROT_READ, MAP_SHARED, s->maps[SL_M_TARGETS], 0);
	if (at == MAP_FAILED)
		return -errno;
	s->targets = at;
	return 0;
}

static int open_maps(struct sl_state *s, bool create, bool upgrade, struct sl_diag *diag)
{
	int err = s->path ? sl_state_read_info(s, upgrade, diag) : -ENOENT;
	bool complete = !err;
	struct device *skel;

	if (err == -EXDEV) {
		err = sl_state_take_over(s, diag);
		return err ? err : map_slots(s);
	}
	if (err == -ENOENT && create)
		err = sl_state_new_info(s);
	if (err)
		return err;
	skel = device__open();
	if (!skel)
		return -errno;
	err = sl_state_size_maps(skel);
	if (!err && s->path)
		err = adopt_maps(s, skel, complete, diag);
	if (!err && create)
		err = make_missing(s, skel, complete, diag);
	else if (!err)	/* another namespace's state is looked at, not changed */
		err = adopt_programs(s, diag);
	if (err == -ENOENT && !create)
		err = 0;
	device__destroy(skel);
	return err ? err : map_slots(s);
}

static int make_paths(struct sl_state *s, const char *path)
{
	s->netns = sl_netns_cookie();
	if (!path)
		return 0;
	s->path = strdup(path);
	if (!s->path)
		return -ENOMEM;
	return asprintf(&s->netns_path, "%s/netns-%llu", path, (unsigned long long)s->netns) < 0 ?
		       -ENOMEM : 0;
}

int sl_state_open(const struct sl_state_options *options, struct sl_state **out,
		  struct sl_diag *diag)
{
	struct sl_checked *checked = calloc(1, sizeof(*checked));
	struct sl_state *s = calloc(1, sizeof(*s));
	bool create = options->create || !options->path;
	libbpf_print_fn_t before;
	int err, i;

	if (!s || !checked) {
		free(checked);
		free(s);
		return -ENOMEM;
	}
	s->checked = checked;
	for (i = 0; i < SL_M_MAX; i++)
		s->maps[i] = -1;
	s->programs[0] = s->programs[1] = s->lock_fd = s->reader_fd = s->walker = -1;
	s->cgroups = s->points = s->peer = -1;
	err = make_paths(s, options->path);
	if (!err && s->path)
		err = sl_state_lock(s, create, diag);
	before = sl_complaints_begin();
	if (!err)
		err = open_maps(s, create, options->upgrade, diag);
	if (err && err != -ENOENT && !diag->n_errors)
		sl_say_why(diag, options->path ? options->path : "the state", err);
	sl_complaints_end(before);
	if (err) {
		sl_state_close(s);
		return err;
	}
	s->no_wait = options->no_wait;
	*out = s;
	return 0;
}

void sl_state_close(struct sl_state *s)
{
	int i;

	if (!s)
		return;
	sl_state_settle(s);
	ring_buffer__free(s->ring);
	if (s->words)
		munmap(s->words, WORDS_SIZE);
	if (s->targets)
		munmap((void *)s->targets, TARGETS_SIZE);
	for (i = 0; i < SL_M_MAX; i++)
		if (s->maps[i] >= 0)
			close(s->maps[i]);
	for (i = 0; i < 2; i++)
		if (s->programs[i] >= 0)
			close(s->programs[i]);
	if (s->cgroups >= 0)
		close(s->cgroups);
	if (s->points >= 0)
		close(s->points);
	if (s->peer >= 0)
		close(s->peer);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	if (s->reader_fd >= 0)
		close(s->reader_fd);
	if (s->walker >= 0)
		close(s->walker);
	free(s->checked);
	free(s->path);
	free(s->netns_path);
	free(s);
}

int sl_state_relock(struct sl_state *s, struct sl_diag *diag)
{
	__u64 seed = s->info.seed;
	int err;

	if (!s->path || s->lock_fd >= 0)
		return 0;
	err = sl_state_lock(s, true, diag);
	if (err) {
		sl_state_unlock(s);
		return err;
	}
	close(s->maps[SL_M_INFO]);
	s->maps[SL_M_INFO] = -1;
	err = sl_state_read_info(s, false, diag);
	if (!err && s->info.seed == seed)
		return 0;
	if (err == -ENOENT || !err) {
		sl_error(diag, NULL, "%s is not what it was: somebody removed the pins", s->path);
		err = -ESTALE;
	}
	sl_state_unlock(s);
	return err;
}

void sl_state_unlock(struct sl_state *s)
{
	sl_state_settle(s);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	s->lock_fd = -1;
}

__u32 sl_state_abi(void)
{
	return SL_ABI_VERSION;
}

bool sl_state_taken_over(const struct sl_state *s, __u32 *abi, __u64 *unread)
{
	*abi = s->taken_from;
	*unread = s->unread;
	return s->taken_from;
}

int sl_state_program_fd(const struct sl_state *s, enum sl_direction direction)
{
	return s->programs[direction];
}
