// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Another version's state. What its targets obey and remember (tables, words, flows, names,
 * sockets) is in maps whose layout has a number of its own: where that is ours, too, our
 * programs go on with the very same maps. They are loaded beside the old ones, and then put into
 * each link in the place of the old one: the kernel changes a link's program in one step, so each
 * packet is judged by one of the two, by the same table. Until the last link both are in use;
 * sl_info says so (SL_ABI_BETWEEN), and whoever is ended meanwhile is followed by one that begins
 * again.
 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "complaint.h"
#include "device.skel.h"
#include "state_internal.h"
#include "tc.h"

#define NETNS_PREFIX "netns-"

/* Counters and events of the old one are gone on with. */
static bool is_carried(const struct sl_state *s, unsigned which)
{
	return !sl_state_layouts[which].counts ||
	       (s->info.abi != SL_ABI_BETWEEN && sl_state_has_layout(s, which));
}

/* ---- whether it is possible ---- */

static int refuse(const struct sl_state *s, const char *pin, const char *why, struct sl_diag *diag)
{
	sl_error(diag, NULL, "%s/%s: %s (ABI %u; this version's is %u): it is not taken over, and goes on "
		 "as it is. Go on with the version that made it; or detach all with that one, which "
		 "opens, and attach with this one", s->path, pin, why, s->info.abi, SL_ABI_VERSION);
	return -EINVAL;
}

static int check_layouts(const struct sl_state *s, struct sl_diag *diag)
{
	unsigned i;

	if (s->info.table_magic != SL_TABLE_MAGIC || s->info.slots != SL_SLOTS)
		return refuse(s, "sl_tables", "tables of another layout or number", diag);
	for (i = 0; i < SL_LAYOUTS; i++)
		if (!sl_state_layouts[i].counts && !sl_state_has_layout(s, i))
			return refuse(s, sl_state_layouts[i].map, "of another layout", diag);
	return 0;
}

/* A filter of clsact belongs to the device, not to a pin: it is replaced from where the device is. */
static int check_filters(const struct sl_state *s, const struct sl_target *targets,
			 struct sl_diag *diag)
{
	__u32 i;

	for (i = 0; i < SL_SLOTS; i++)
		if (targets[i].kind == SL_TARGET_DEVICE && (targets[i].flags & SL_TARGET_LIVE) &&
		    !(targets[i].flags & SL_TARGET_TCX) && targets[i].netns != s->netns)
			return refuse(s, targets[i].name,
				      "a device in another network namespace, on a kernel before 6.6", diag);
	return 0;
}

static struct sl_target *read_targets(const struct sl_state *s)
{
	struct sl_target *targets = calloc(SL_SLOTS, sizeof(*targets));
	__u32 i;

	for (i = 0; targets && i < SL_SLOTS; i++)
		bpf_map_lookup_elem(s->maps[SL_M_TARGETS], &i, &targets[i]);
	return targets;
}

/* ---- events that only the old version reads ---- */

static int count_event(void *context, void *data, size_t size)
{
	(*(__u64 *)context)++;
	return 0;
}

/* A descriptor, or -1: they are carried, or cannot be counted. */
static int open_old_events(const struct sl_state *s)
{
	char *pin = is_carried(s, SL_M_EVENTS) ? NULL : sl_state_pin(s, false, "sl_events");
	int fd = pin ? bpf_obj_get(pin) : -1;

	free(pin);
	return fd;
}

/* Once nothing writes there any more. */
static void count_unread(struct sl_state *s, int fd)
{
	struct ring_buffer *ring = fd >= 0 ? ring_buffer__new(fd, count_event, &s->unread, NULL) : NULL;

	if (ring)
		ring_buffer__consume(ring);
	ring_buffer__free(ring);
}

/* ---- the programs of a network namespace ---- */

struct place {
	struct sl_state *s;
	const char *folder;	/* netns-COOKIE */
	struct device *skel;
};

static int pin_in(const struct place *p, const char *name, int fd)
{
	char *pin = sl_state_pin(p->s, false, "%s/%s", p->folder, name);
	int err = pin ? sl_state_replace_pin(p->s, fd, pin) : -ENOMEM;

	free(pin);
	return err;
}

/* The maps that there are become the object's; what the first object made is the others' too. */
static int share_maps(const struct place *p, struct sl_diag *diag)
{
	const struct bpf_map *devices = sl_state_map_of(p->skel, SL_M_DEVICES);
	char *pin = sl_state_pin(p->s, false, "%s/%s", p->folder, sl_state_map_names[SL_M_DEVICES]);
	enum sl_state_map m;
	int err = 0, fd;

	for (m = SL_M_INFO + 1; m < SL_M_DEVICES && !err; m++)
		if (p->s->maps[m] >= 0)
			err = bpf_map__reuse_fd(sl_state_map_of(p->skel, m), p->s->maps[m]);
	fd = pin && !err ? sl_state_get_map(pin, devices, diag) : -ENOMEM;
	free(pin);
	if (err || fd < 0)
		return err ? err : fd;
	err = bpf_map__reuse_fd(sl_state_map_of(p->skel, SL_M_DEVICES), fd);
	close(fd);
	return err;
}

/* Those that begin anew. */
static int keep_maps(struct sl_state *s, const struct device *skel)
{
	enum sl_state_map m;

	for (m = SL_M_INFO + 1; m < SL_M_DEVICES; m++) {
		if (s->maps[m] >= 0)
			continue;
		s->maps[m] = dup(bpf_map__fd(sl_state_map_of(skel, m)));
		if (s->maps[m] < 0)
			return -errno;
	}
	return 0;
}

/* link-INDEX-from and -to, and moved-SINCE-... (state_attached.c): of which direction? */
static bool is_link(const char *name, enum sl_direction *direction)
{
	const char *word = strrchr(name, '-');

	if ((strncmp(name, "link-", 5) && strncmp(name, "moved-", 6)) || !word || (strcmp(word, "-from") && strcmp(word, "-to")))
		return false;
	*direction = strcmp(word, "-to") ? SL_EGRESS : SL_INGRESS;
	return true;
}

static int replace_link(const struct place *p, const char *name, const int *programs,
			struct sl_diag *diag)
{
	enum sl_direction direction;
	char *pin;
	int err;

	if (!is_link(name, &direction))
		return 0;
	pin = sl_state_pin(p->s, false, "%s/%s", p->folder, name);
	err = pin ? sl_tcx_replace(pin, direction, programs ? programs[direction] : -1) : -ENOMEM;
	if (err == -ENOLINK)	/* its device is gone */
		err = 0;
	else if (err == -EXDEV)
		err = sl_error(diag, NULL, "%s: no link of a device's program; it is not adopted: remove "
			       "the pin (`sluice status` then tells what is not enforced)", pin);
	else if (err)
		sl_say_why(diag, pin ? pin : "a link", err);
	free(pin);
	return err;
}

/* programs NULL: only looks whether they are what they should be. */
static int replace_links(const struct place *p, const int *programs, struct sl_diag *diag)
{
	char *path = sl_state_pin(p->s, false, "%s", p->folder);
	DIR *dir = path ? opendir(path) : NULL;
	int err = dir ? 0 : path ? -errno : -ENOMEM;
	struct dirent *entry;

	while (dir && !err && (entry = readdir(dir)))
		err = replace_link(p, entry->d_name, programs, diag);
	if (dir)
		closedir(dir);
	free(path);
	return err;
}

static int replace_programs(const struct place *p, struct sl_diag *diag)
{
	const int programs[2] = {
		[SL_EGRESS] = bpf_program__fd(p->skel->progs.sluice_from_workload),
		[SL_INGRESS] = bpf_program__fd(p->skel->progs.sluice_to_workload),
	};
	int i, err = replace_links(p, programs, diag);

	for (i = 0; i < 2 && !err; i++)
		err = pin_in(p, sl_state_program_names[i], programs[i]);
	return err;
}

static int load(const struct place *p)
{
	p->skel->rodata->sl_seed = p->s->info.seed;
	p->skel->rodata->sl_mark = p->s->info.mark;
	p->skel->rodata->sl_netns = strtoull(p->folder + strlen(NETNS_PREFIX), NULL, 10);
	return device__load(p->skel);
}

static bool has_programs(const struct sl_state *s, const char *folder)
{
	char *pin = sl_state_pin(s, false, "%s/%s", folder, sl_state_map_names[SL_M_DEVICES]);
	bool has = pin && !access(pin, F_OK);

	free(pin);
	return has;
}

static int open_programs(struct place *p)
{
	p->skel = device__open();
	if (!p->skel)
		return errno ? -errno : -ENOMEM;
	return sl_state_size_maps(p->skel);
}

static int check_namespace(struct sl_state *s, const char *folder, struct sl_diag *diag)
{
	struct place p = {s, folder, NULL};
	int err = open_programs(&p);

	if (!err)
		err = share_maps(&p, diag);
	if (!err)
		err = replace_links(&p, NULL, diag);
	device__destroy(p.skel);
	return err;
}

static int take_namespace(struct sl_state *s, const char *folder, struct sl_diag *diag)
{
	struct place p = {s, folder, NULL};
	int err = open_programs(&p);

	if (!err)
		err = share_maps(&p, diag);
	if (!err)
		err = load(&p);
	if (!err)
		err = keep_maps(s, p.skel);
	if (!err)
		err = replace_programs(&p, diag);
	if (err && !diag->n_errors)
		sl_say_why(diag, "the device programs cannot be replaced", err);
	device__destroy(p.skel);
	return err;
}

typedef int namespace_fn(struct sl_state *s, const char *folder, struct sl_diag *diag);

static int each_namespace(struct sl_state *s, namespace_fn *call, struct sl_diag *diag)
{
	DIR *dir = opendir(s->path);
	int err = dir ? 0 : -errno;
	struct dirent *entry;

	while (dir && !err && (entry = readdir(dir)))
		if (!strncmp(entry->d_name, NETNS_PREFIX, strlen(NETNS_PREFIX)) &&
		    has_programs(s, entry->d_name))
			err = call(s, entry->d_name, diag);
	if (dir)
		closedir(dir);
	return err;
}

/* ---- before 6.6 ---- */

static int replace_filters(const struct sl_state *s, const struct sl_target *targets,
			   struct sl_diag *diag)
{
	enum sl_direction d;
	int err = 0;
	__u32 i;

	for (i = 0; i < SL_SLOTS && !err; i++) {
		const struct sl_target *t = &targets[i];

		if (t->kind != SL_TARGET_DEVICE || !(t->flags & SL_TARGET_LIVE) ||
		    (t->flags & SL_TARGET_TCX))
			continue;
		for (d = SL_EGRESS; d <= SL_INGRESS && !err; d++)
			if (sl_clsact_program(t->ifindex, d))
				err = sl_clsact_replace(s->programs[d], t->ifindex, d);
		if (err)
			sl_say_why(diag, t->name, err);
	}
	return err;
}

/* ---- all of it ---- */

/* What is carried, as our programs take it for: else its pin is refused. */
static int open_carried(struct sl_state *s, struct sl_diag *diag)
{
	struct device *skel = device__open();
	int err = skel ? sl_state_size_maps(skel) : -errno;
	enum sl_state_map m;

	for (m = SL_M_INFO + 1; m < SL_M_DEVICES && !err; m++) {
		if (!is_carried(s, m))
			continue;
		err = sl_state_adopt_map(s, skel, m, diag);
		if (err == -ENOENT)
			err = refuse(s, sl_state_map_names[m], "half written: it is missing", diag);
	}
	device__destroy(skel);
	return err;
}

static int pin_new_maps(const struct sl_state *s, const bool carried[SL_M_MAX])
{
	enum sl_state_map m;
	int err = 0;
	char *pin;

	for (m = SL_M_INFO + 1; m < SL_M_DEVICES && !err; m++) {
		if (carried[m])
			continue;
		pin = sl_state_pin(s, false, "%s", sl_state_map_names[m]);
		err = pin ? sl_state_replace_pin(s, s->maps[m], pin) : -ENOMEM;
		free(pin);
	}
	return err;
}

/* sl_state_open_cgroups() replaces what is of another object. */
static int take_cgroups(struct sl_state *s, struct sl_diag *diag)
{
	int err = sl_state_open_cgroups(s, false, diag);

	if (err)
		return err == -ENOENT ? 0 : err;	/* no cgroup was ever attached */
	return sl_state_renew_cgroups(s, diag);
}

/* The links of one that was moved have its `since` in their names. */
static bool was_moved(const struct sl_state *s, const struct sl_target *t)
{
	char *pin = sl_state_pin(s, false, "netns-%llu/moved-%llu-from", (unsigned long long)t->netns,
				 (unsigned long long)t->since_ns);
	bool moved = !pin || !access(pin, F_OK);

	free(pin);
	return moved;
}

/* Counters that begin anew say since when. */
static int begin_counters(const struct sl_state *s, const struct sl_target *targets)
{
	struct sl_target t;
	int err = 0;
	__u32 i;

	for (i = 0; i < SL_SLOTS && !err; i++) {
		if (targets[i].kind == SL_TARGET_FREE || was_moved(s, &targets[i]))
			continue;
		t = targets[i];
		t.since_ns = sl_state_boot_ns();
		err = sl_state_write_target(s, i, &t);
	}
	return err;
}

static void close_maps(struct sl_state *s)
{
	enum sl_state_map m;

	for (m = SL_M_INFO + 1; m < SL_M_MAX; m++) {
		if (s->maps[m] >= 0)
			close(s->maps[m]);
		s->maps[m] = -1;
	}
}

/* As any state of our version is opened; what our own namespace lacks is made. */
static int open_own(struct sl_state *s, const struct sl_target *targets, struct sl_diag *diag)
{
	int err;

	close_maps(s);
	err = sl_state_open_whole(s, diag);
	return err ? err : replace_filters(s, targets, diag);
}

static int replace_all(struct sl_state *s, const struct sl_target *targets, struct sl_diag *diag)
{
	bool carried[SL_M_MAX];
	enum sl_state_map m;
	int err;

	for (m = 0; m < SL_M_MAX; m++)
		carried[m] = s->maps[m] >= 0;
	s->info.abi = SL_ABI_BETWEEN;
	err = sl_state_write_info(s);
	if (!err)
		err = each_namespace(s, take_namespace, diag);
	if (!err)
		err = pin_new_maps(s, carried);
	if (!err)
		err = open_own(s, targets, diag);
	if (!err)
		err = take_cgroups(s, diag);
	if (!err && !carried[SL_M_STATS])
		err = begin_counters(s, targets);
	if (err)
		return err;
	s->info.abi = SL_ABI_VERSION;
	sl_state_note_layouts(s);
	return sl_state_write_info(s);
}

int sl_state_take_over(struct sl_state *s, struct sl_diag *diag)
{
	__u32 from = s->info.abi;
	struct sl_target *targets = NULL;
	int err = check_layouts(s, diag), events = -1;

	if (!err)
		err = sl_state_claim_events(s, diag);	/* who reads them still works with them */
	if (!err)
		err = open_carried(s, diag);
	if (!err)
		targets = read_targets(s);
	if (!err)
		err = targets ? check_filters(s, targets, diag) : -ENOMEM;
	if (!err)
		err = each_namespace(s, check_namespace, diag);
	if (!err) {
		events = open_old_events(s);
		err = replace_all(s, targets, diag);
	}
	if (!err) {
		s->taken_from = from;
		count_unread(s, events);
	} else if (!diag->n_errors)
		sl_say_why(diag, "another version's state cannot be taken over", err);
	if (events >= 0)
		close(events);
	free(targets);
	return err;
}
