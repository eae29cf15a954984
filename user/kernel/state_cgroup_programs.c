// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The programs of cgroups, one set for the machine: made when the first cgroup is
 * attached, adopted after that. They share the maps of the state, and have three of
 * their own. The witness's pin is the last: without it nothing of them is in use.
 *
 * Another version's programs are replaced by ours, by overlap: loaded
 * over the same maps, put into every link in the place of the old one (no packet finds
 * the link without a program), then pinned in its place.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup.skel.h"
#include "complaint.h"
#include "state_internal.h"

static const char *const own_maps[] = {"sl_cgroups", "sl_points", "sl_sockets"};

static char *own_pin(const struct sl_state *s, const char *name)
{
	return sl_state_pin(s, false, SL_CGROUPS_FOLDER "/%s", name);
}

static int share_maps(const struct sl_state *s, const struct cgroup *skel)
{
	enum sl_state_map m;
	struct bpf_map *map;
	int err = 0;

	for (m = SL_M_INFO + 1; m < SL_M_MAX && !err; m++) {
		map = bpf_object__find_map_by_name(skel->obj, sl_state_map_names[m]);
		if (map)
			err = bpf_map__reuse_fd(map, s->maps[m]);
	}
	return err;
}

/* Without the witness what there is was made half-way, and holds nothing. */
static void remove_rest(const struct sl_state *s, const struct cgroup *skel)
{
	struct bpf_program *program;
	char *pin;
	size_t i;

	bpf_object__for_each_program(program, skel->obj) {
		pin = own_pin(s, bpf_program__name(program));
		if (pin)
			unlink(pin);
		free(pin);
	}
	for (i = 0; i < sizeof(own_maps) / sizeof(*own_maps); i++) {
		pin = own_pin(s, own_maps[i]);
		if (pin)
			unlink(pin);
		free(pin);
	}
}

static int pin_one(const struct sl_state *s, int fd, const char *name)
{
	char *pin = own_pin(s, name);
	int err = !pin ? -ENOMEM : bpf_obj_pin(fd, pin) ? -errno : 0;

	free(pin);
	return err;
}

static int pin_all(const struct sl_state *s, const struct cgroup *skel)
{
	struct bpf_program *program;
	int err = 0;
	size_t i;

	for (i = 0; i < sizeof(own_maps) / sizeof(*own_maps) && !err; i++)
		err = pin_one(s, bpf_object__find_map_fd_by_name(skel->obj, own_maps[i]),
			      own_maps[i]);
	bpf_object__for_each_program(program, skel->obj)
		if (!err && strcmp(bpf_program__name(program), SL_WITNESS))
			err = pin_one(s, bpf_program__fd(program), bpf_program__name(program));
	return err ? err : pin_one(s, bpf_program__fd(skel->progs.sluice_witness), SL_WITNESS);
}

/* A hash of the object, FNV-1a by words: which programs they are. Never 0. By bytes it takes
 * longer, 1.4 ms, than anything else that an attach does. */
static __u32 version(void)
{
	size_t n, i;
	const char *bytes = cgroup__elf_bytes(&n);
	__u64 hash = 14695981039346656037u, word = 0;

	for (i = 0; i + sizeof(word) <= n; i += sizeof(word)) {
		memcpy(&word, bytes + i, sizeof(word));
		hash = (hash ^ word) * 1099511628211u;
	}
	word = 0;
	memcpy(&word, bytes + i, n - i);
	hash = (hash ^ word) * 1099511628211u;
	hash ^= hash >> 32;
	return (__u32)hash ? (__u32)hash : 1;
}

static int note_version(struct sl_state *s)
{
	s->info.cgroup_programs = version();
	return sl_state_write_info(s);
}

static int make(struct sl_state *s, struct cgroup *skel, struct sl_diag *diag)
{
	char *folder = own_pin(s, "");
	int err = !folder ? -ENOMEM : mkdir(folder, 0700) && errno != EEXIST ? -errno : 0;

	free(folder);
	if (err)
		return err;
	remove_rest(s, skel);
	err = share_maps(s, skel);
	skel->rodata->sl_seed = s->info.seed;
	if (!err)
		err = cgroup__load(skel);
	if (!err)
		err = pin_all(s, skel);
	if (!err)
		err = note_version(s);
	if (err) {
		sl_say_why(diag, "the cgroup programs cannot be loaded", err);
		remove_rest(s, skel);
	}
	return err;
}

/* ---- another version's ---- */

static int replace_pin(const struct sl_state *s, int fd, const char *name)
{
	char *pin = own_pin(s, name);
	int err = pin ? sl_state_replace_pin(s, fd, pin) : -ENOMEM;

	free(pin);
	return err;
}

static int load_over(struct sl_state *s, struct cgroup *skel)
{
	int err = share_maps(s, skel), fd;
	struct bpf_map *map;
	char *pin;
	size_t i;

	for (i = 0; i < sizeof(own_maps) / sizeof(*own_maps) && !err; i++) {
		map = bpf_object__find_map_by_name(skel->obj, own_maps[i]);
		pin = own_pin(s, own_maps[i]);
		fd = pin ? bpf_obj_get(pin) : -1;
		err = fd < 0 ? -errno : bpf_map__reuse_fd(map, fd);
		if (fd >= 0)
			close(fd);
		free(pin);
	}
	skel->rodata->sl_seed = s->info.seed;
	return err ? err : cgroup__load(skel);
}

static int replace_all(struct sl_state *s, const struct cgroup *skel)
{
	struct bpf_program *program;
	int err = 0, fd;

	bpf_object__for_each_program(program, skel->obj) {
		fd = bpf_program__fd(program);
		err = sl_state_update_links(s, bpf_program__name(program), fd);
		if (!err)
			err = replace_pin(s, fd, bpf_program__name(program));
		if (err)
			break;
	}
	return err;
}

/* Given up half-way it is begun again: the version is noted last. */
int sl_state_renew_cgroups(struct sl_state *s, struct sl_diag *diag)
{
	struct cgroup *skel = cgroup__open();
	int err = skel ? load_over(s, skel) : -errno;

	if (!err)
		err = replace_all(s, skel);
	if (!err)
		err = note_version(s);
	if (err)
		sl_say_why(diag, "the cgroup programs of another version, which are in use, "
			   "cannot be replaced", err);
	cgroup__destroy(skel);
	return err;
}

/* ---- adopted ---- */

static int get_map(const struct sl_state *s, const struct bpf_map *like, struct sl_diag *diag)
{
	char *pin = own_pin(s, bpf_map__name(like));
	int fd = pin ? sl_state_get_map(pin, like, diag) : -ENOMEM;

	free(pin);
	return fd;
}

static bool is_complete(const struct sl_state *s)
{
	char *pin = own_pin(s, SL_WITNESS);
	bool there = pin && !access(pin, F_OK);

	free(pin);
	return there;
}

static int adopt(struct sl_state *s, struct cgroup *skel, struct sl_diag *diag)
{
	int cgroups = get_map(s, skel->maps.sl_cgroups, diag);
	int points = cgroups < 0 ? cgroups : get_map(s, skel->maps.sl_points, diag);

	if (points < 0) {
		if (cgroups >= 0)
			close(cgroups);
		if (points == -ENOENT)
			points = sl_error(diag, NULL, "%s/" SL_CGROUPS_FOLDER ": a map is missing; it is not "
					  "adopted. Detach all and remove the pins: rm -r %s",
					  s->path, s->path);
		return points;
	}
	s->cgroups = cgroups;
	s->points = points;
	return 0;
}

int sl_state_open_cgroups(struct sl_state *s, bool create, struct sl_diag *diag)
{
	struct cgroup *skel;
	int err;

	if (s->cgroups >= 0)
		return 0;
	if (!s->path || (!create && !is_complete(s)))
		return -ENOENT;
	skel = cgroup__open();
	if (!skel)
		return -errno;
	err = bpf_map__set_max_entries(skel->maps.sl_cgroups, SL_SLOTS);
	if (!err && !is_complete(s))
		err = make(s, skel, diag);
	if (!err)
		err = adopt(s, skel, diag);
	cgroup__destroy(skel);
	if (!err && create && s->info.cgroup_programs != version())
		err = sl_state_renew_cgroups(s, diag);
	return err;
}
