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
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "complaint.h"
#include "device.skel.h"
#include "state_internal.h"
#include "tc.h"

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

	s->checked->n = 0;	/* against these maps */
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
		err = sl_state_each_namespace(s, sl_state_take_namespace, diag);
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
		err = sl_state_each_namespace(s, sl_state_check_namespace, diag);
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
