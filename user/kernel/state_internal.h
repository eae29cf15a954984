/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the files of the pinned state share:
 *
 *   state.c          open, adopt or make; the programs of a namespace
 *   state_info.c     whose it is: written, read, refused
 *   state_pins.c     paths, and what a pin must be
 *   state_layouts.c  which version of what each map holds
 *   state_upgrade.c  another version's state taken over
 *   state_upgrade_netns.c    ... and its programs of devices replaced
 *   state_slots.c    targets: their slots, tables, switching, forgetting
 *   state_pending.c  what waits for a grace period, for many targets at once
 *   state_hits.c     counters across generations
 *   state_flows.c    going through a target's flows
 *   state_devices.c  devices: attach, detach
 *   state_attached.c ... and whether one is, or where it went
 *   state_peer.c     ... and the other end of a veth
 *   state_seal.c     is all as it was left? and devices put back
 *   state_cgroups.c  cgroups: attach, detach
 *   state_points.c   where the cgroups' programs are attached: levels, folding
 *   state_links.c    ... by which links
 *   state_cgroup_programs.c  the cgroups' programs and maps: adopt or make
 *   cgroup_target.c  a cgroup from its directory, and back from its id
 *   state_sweep.c    targets whose device or cgroup is gone
 *   state_meter.c    reading: what a device counts, and what we count of it
 *   state_view.c     reading: targets, counters
 *   state_events.c   reading: events, one reader at a time
 *   state_names.c    reading: what was learned
 */
#ifndef SLUICE_STATE_INTERNAL_H
#define SLUICE_STATE_INTERNAL_H

#include <bpf/libbpf.h>
#include <libmnl/libmnl.h>

#include "expedite.h"
#include "outer.h"
#include "state.h"

#define SL_STATE_MAGIC 0x534c535441544531ull	/* "SLSTATE1" */
#define SL_STATE_HITS (1u << 17)
#define SL_STATE_RING (4u << 20)		/* bytes: about 32,000 events */
#define SL_STATE_FLOWS 16384			/* of a target: 2.5 MiB */

#define SL_LAYOUTS_ROOM 32	/* maps that sl_info can tell of */

/* The one value of sl_info: what was pinned, and by which rules. Written last. */
struct sl_info {
	__u64 magic, table_magic, next_generation, seed;
	__u32 abi, slots, mark;
	__u32 swept;		/* the slot at which the next look for what is gone begins */
	__u32 cgroup_programs;	/* of which object they are, a hash; 0: there are none */
	__u32 reserved;
	__u8 layouts[SL_LAYOUTS_ROOM]; /* sl_state_layouts; 0 behind them */
};

#define SL_ABI_BETWEEN 0	/* sl_info.abi while one version takes another's state over */

/* The maps of the state, by their place in maps[]. The last one is a namespace's. */
enum sl_state_map {
	SL_M_INFO, SL_M_TABLES, SL_M_WORDS, SL_M_TARGETS, SL_M_STATS, SL_M_HITS, SL_M_FLOWS,
	SL_M_LOCKS, SL_M_BUDGETS, SL_M_LIMITERS, SL_M_EVENTS, SL_M_LEASES, SL_M_METERS,
	SL_M_DENIALS, SL_M_NAMES, SL_M_KNOWN, SL_M_LEARNED, SL_M_SCRATCH, SL_M_DEVICES,
	SL_M_MAX,
};

#define SL_PENDING_CHANGES 256	/* threads at once */
#define SL_PENDING_SLOTS 64

/* A slot whose new generation is in force, and the old one still linked. */
struct sl_switched {
	__u32 slot;
	__u32 index;		/* of the old table */
	struct sl_table before;	/* the old table, owned; without words: its counts stay old */
};

/* A slot that nothing leads to any more. */
struct sl_cleared {
	__u32 slot;
	struct sl_target target;	/* whose it was */
	struct sl_table before;	/* what it obeyed, mapped (sl_state_unmap_table); without words: unknown */
};

/* Begun, but not over: sl_state_settle. */
struct sl_pending {
	struct sl_outer_change changes[SL_PENDING_CHANGES];
	size_t n_changes;
	bool expedited;		/* sl_expedite_begin, without its end */
	bool many;		/* those before these were many: so may these be */
	struct sl_cleared cleared[SL_PENDING_SLOTS];	/* not free yet */
	size_t n_cleared;
	struct sl_switched switched[SL_PENDING_SLOTS];
	size_t n_switched;
};

/* Programs that use the state's maps, and no others of these names: looked through once. */
#define SL_CHECKED 16

struct sl_checked {
	struct {
		__u32 id;
		__u64 loaded_ns;	/* the kernel may use an id again */
	} programs[SL_CHECKED];
	size_t n;		/* the latest one's place is n - 1, modulo SL_CHECKED */
};

struct device;

struct sl_state {
	char *path;		/* owned; NULL: private */
	char *netns_path;	/* owned: PATH/netns-COOKIE */
	int lock_fd;		/* the directory, under flock; -1 */
	int reader_fd;		/* PATH/reader, under flock: the events are ours; -1 */
	int walker;		/* walker.h, owned; -errno: not loaded (yet) */
	sl_end_handler on_end;	/* NULL: nobody wants to know */
	void *on_end_context;
	sl_switched_handler on_switched;	/* NULL: the same */
	void *on_switched_context;
	__u64 looked_ns;	/* boot time of the last look for flows that are over ... */
	__u32 look_at;		/* ... and where the next one begins */
	bool no_wait;		/* of the options */
	__u64 netns;
	int maps[SL_M_MAX];	/* owned; -1 */
	int programs[2];	/* by enum sl_direction; owned */
	int peer;		/* sluice_peer of this namespace: owned; -1 until it is needed */
	int cgroups, points;	/* sl_cgroups, sl_points: owned; -1 until they are needed */
	__u64 *words;		/* sl_words, mapped */
	const struct sl_target *targets; /* sl_targets, mapped */
	struct sl_pending pending;
	struct sl_checked *checked;	/* owned */
	struct sl_info info;
	__u32 taken_from;	/* the ABI that was taken over; 0: none */
	__u64 unread;		/* events of it that nobody had read, and that ours cannot */
	struct ring_buffer *ring;
	sl_event_handler handler;
	void *context;
};

/* ---- state_pins.c ---- */

extern const char *const sl_state_map_names[SL_M_MAX];
extern const char *const sl_state_program_names[2];

/* `PATH/name`, or below netns_path; owned, NULL without memory. */
char *sl_state_pin(const struct sl_state *s, bool of_netns, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Opens a pinned map and compares it with what our programs take it for; a
 * descriptor, or -errno with the path in diag (-ENOENT: without a word). */
int sl_state_get_map(const char *pin, const struct bpf_map *like, struct sl_diag *diag);
/* The same of a program, which must use the maps of the state that are open. */
int sl_state_get_program(const struct sl_state *s, const char *pin, const char *name,
			 enum bpf_prog_type type, struct sl_diag *diag);

/* 0 or -errno. */
int sl_state_detach_link(int fd);
/* Detaches a pinned link and removes the pin. Without its pin the link would go too, but
 * only when the kernel comes to it. */
void sl_state_drop_link(const char *pin);

/* Makes the directory (0700), takes its lock. -ENOENT if it is not there and !create. */
int sl_state_lock(struct sl_state *s, bool create, struct sl_diag *diag);

/* ---- state_info.c ---- */

/* Makes the map. */
int sl_state_new_info(struct sl_state *s);
/* -ENOENT: there is none; -EXDEV: another version's, that may be taken over. */
int sl_state_read_info(struct sl_state *s, bool upgrade, struct sl_diag *diag);
int sl_state_write_info(const struct sl_state *s);
int sl_state_pin_info(const struct sl_state *s);
int sl_state_refuse(const struct sl_state *s, struct sl_diag *diag, const char *why);

/* ---- state_layouts.c ---- */

/* The layout of what a map holds: another number with each change of it. By the state's maps,
 * and then those of the cgroups' programs. */
struct sl_state_layout {
	const char *map;	/* its pin's name; of a cgroup's: below the folder */
	__u8 version;
	bool counts;		/* counters and events: begun anew where the layout is another */
};

#define SL_LAYOUTS (SL_M_MAX + 3)
extern const struct sl_state_layout sl_state_layouts[SL_LAYOUTS];

void sl_state_note_layouts(struct sl_state *s);
/* Does our programs' map hold what the pinned one does? */
bool sl_state_has_layout(const struct sl_state *s, unsigned which);

/* ---- state_upgrade.c ---- */

/*
 * Another version's state, whose sl_info was read: its programs are replaced by ours, link by
 * link and in one step each, over the same maps. What counts, and is of another layout, begins
 * anew. 0 or -errno: what there is goes on as it was, or is taken over by the next try.
 */
int sl_state_take_over(struct sl_state *s, struct sl_diag *diag);

/* ---- state_upgrade_netns.c ---- */

/* Of the network namespace whose folder of pins is `folder`. */
typedef int sl_state_namespace(struct sl_state *s, const char *folder, struct sl_diag *diag);

/* Could they be replaced? */
int sl_state_check_namespace(struct sl_state *s, const char *folder, struct sl_diag *diag);
int sl_state_take_namespace(struct sl_state *s, const char *folder, struct sl_diag *diag);
/* Calls it for each that has programs, until it returns other than 0: that. */
int sl_state_each_namespace(struct sl_state *s, sl_state_namespace *call, struct sl_diag *diag);

/* ---- state.c ---- */

/* Maps and programs of an object. */
int sl_state_size_maps(const struct device *skel);
struct bpf_map *sl_state_map_of(const struct device *skel, enum sl_state_map m);
int sl_state_adopt_map(struct sl_state *s, const struct device *skel, enum sl_state_map m,
		       struct sl_diag *diag);
/* Adopts all maps and programs, and makes what this network namespace lacks. */
int sl_state_open_whole(struct sl_state *s, struct sl_diag *diag);
/* A pin of its name, in the place of the one that there is. */
int sl_state_replace_pin(const struct sl_state *s, int fd, const char *pin);

/* ---- state_view.c ---- */

/* The map of a table, by its pin, which needs no CAP_SYS_ADMIN, or by its id; *info of it.
 * A descriptor; -ENOENT: there is none; -errno. */
int sl_state_open_table(const struct sl_state *s, __u32 index, struct bpf_map_info *info);
/* sl_state_table without a copy: mapped, to be given to sl_state_unmap_table. */
int sl_state_map_table(const struct sl_state *s, __u32 slot, struct sl_table *out);
void sl_state_unmap_table(struct sl_table *table);

/* ---- state_slots.c ---- */

/* Takes away the pin of a table that is no more. */
void sl_state_unpin_table(const struct sl_state *s, __u32 index);

int sl_state_read_target(const struct sl_state *s, __u32 slot, struct sl_target *out);
int sl_state_write_target(const struct sl_state *s, __u32 slot, const struct sl_target *target);

__u64 sl_state_boot_ns(void);
/* -ENOSPC: there is none, without a word. */
int sl_state_find_free(const struct sl_state *s, __u32 *slot);

/* A slot for a new target: its word obeys the table. On failure the word is still 0. */
int sl_state_fill_slot(struct sl_state *s, struct sl_target *target, const struct sl_table *table,
		       __u32 slot, struct sl_diag *diag);
/* A new generation for a slot that is in use. */
int sl_state_switch_slot(struct sl_state *s, __u32 slot, const struct sl_table *table,
			 struct sl_diag *diag);
/* Nothing of the target is left once it is settled; what led to the slot must be gone. t: whose it
 * was, which until then sl_state_target_of tells. */
void sl_state_clear_slot(struct sl_state *s, __u32 slot, const struct sl_target *t);

/* ---- state_pending.c ---- */

/* Begins changes of outer maps, which sl_state_settle ends; they are copied. Returns
 * where they are now. */
struct sl_outer_change *sl_state_begin(struct sl_state *s, const struct sl_outer_change *changes,
				       size_t n);
/* The slot's word is going, and was; in between sl_state_before knows its table. */
void sl_state_clearing(struct sl_state *s, __u32 slot, const struct sl_target *t);
void sl_state_cleared(struct sl_state *s);
/* Takes `before` over. */
void sl_state_switched(struct sl_state *s, __u32 slot, __u32 index, struct sl_table *before);
/* Is something of this slot not over yet? */
bool sl_state_is_pending(const struct sl_state *s, __u32 slot);
/* The table of a generation that is no longer in force, but not given up yet (0: a cleared slot's
 * last); borrowed. NULL: none. */
const struct sl_table *sl_state_before(const struct sl_state *s, __u32 slot, __u64 generation);

/* ---- state_flows.c ---- */

/* Tells the ends of flows whose opening was an event: their target is going. */
void sl_state_end_flows(struct sl_state *s, __u32 slot);

/* ---- state_hits.c ---- */

/* What cleared slots counted. */
void sl_state_clear_hits(const struct sl_state *s, const __u32 *slots, size_t n);
/* What the slot counted under the old table goes on under the new one. */
void sl_state_carry_hits(const struct sl_state *s, __u32 slot, const struct sl_table *old,
			 const struct sl_table *new);

/* ---- state_attached.c ---- */

/* Links or filters are there, on a device that has the target's index; and that is the
 * device, in the target's namespace (which asks the kernel more). */
bool sl_state_is_linked(const struct sl_state *s, const struct sl_target *target);
bool sl_state_is_attached(const struct sl_state *s, const struct sl_target *target);
/* Its links are on a device of another namespace. */
bool sl_state_is_moved(const struct sl_state *s, const struct sl_target *target);
/* Might a device that is not attached, in whole, be there all the same? */
bool sl_state_may_live(const struct sl_state *s, const struct sl_target *target);
bool sl_state_has_filter(const struct sl_state *s, const struct sl_target *target,
			 enum sl_direction direction);
/* Another device comes to have the index of one that was moved: what is pinned of that gets
 * names that have no index in them, and nothing leads to it, as nothing is to pass it. */
int sl_state_set_aside(struct sl_state *s, __u32 slot, struct sl_target *target);
/* The id of somebody's program that has its frames before ours; 0: none, or unknown. */
__u32 sl_state_preceding(const struct sl_state *s, const struct sl_target *target);
/* The pins of a device's links, and of the one at a veth's other end; owned, NULL without
 * memory. */
char *sl_state_link_pin(const struct sl_state *s, const struct sl_target *t,
			enum sl_direction direction);
char *sl_state_peer_pin(const struct sl_state *s, const struct sl_target *t);

/* ---- state_devices.c ---- */

/* A link of our program before all others, pinned; the pin that was there goes. */
int sl_state_attach_tcx(const struct sl_state *s, const struct sl_target *t,
			enum sl_direction direction);
int sl_state_lead_to(const struct sl_state *s, unsigned ifindex, __u32 slot);
bool sl_state_find_device(const struct sl_state *s, unsigned ifindex, __u32 *slot,
			  struct sl_target *t);
/* Takes off what a target has on its device, and forgets it; its slot is free once that is
 * settled. */
void sl_state_forget_target(struct sl_state *s, __u32 slot, const struct sl_target *target);

/* ---- state_meter.c ---- */

/* Frames that the interface has received, low 32 bits; false: the kernel does not tell. */
bool sl_device_received(unsigned ifindex, __u32 *frames);

/* Asks the kernel for one interface of the caller's namespace: on_link gets the message, or
 * is not called. */
void sl_link_ask(unsigned ifindex, mnl_cb_t on_link, void *context);

/* ---- state_peer.c ---- */

/*
 * Of a veth that is a target by tcx: puts a program on the egress of its other end, wherever
 * that is, which ends the frames that would go past tc on ours; one that is there stays. 0
 * or -errno: then it is SL_PEER_OPEN. Pinned beside the device's links. Another device has
 * no other end: 0.
 */
int sl_state_guard_peer(struct sl_state *s, const struct sl_target *t);
void sl_state_drop_peer(const struct sl_state *s, const struct sl_target *t);

/* ---- state_sweep.c ---- */

/* sl_state_sweep for a few of the targets, others each time. */
void sl_state_sweep_some(struct sl_state *s);
/* A free slot, after a look for what is gone if there is none. */
int sl_state_find_room(struct sl_state *s, __u32 *slot, struct sl_diag *diag);

/* ---- state_cgroups.c ---- */

bool sl_state_judges_cgroup(struct sl_state *s, __u32 slot, const struct sl_target *target);
void sl_state_forget_cgroup(struct sl_state *s, __u32 slot, const struct sl_target *target);
/* Removed, and no socket of it is left; or given up half-way. */
bool sl_state_is_cgroup_over(struct sl_state *s, __u32 slot, const struct sl_target *target);

/* ---- state_cgroup_programs.c ---- */

/* Opens sl_cgroups and sl_points, once: adopted, or (create) made with the programs.
 * -ENOENT without a word: there are none, so no cgroup is attached. */
int sl_state_open_cgroups(struct sl_state *s, bool create, struct sl_diag *diag);

/* Ours in the place of those that are pinned, which may be another version's. */
int sl_state_renew_cgroups(struct sl_state *s, struct sl_diag *diag);

/* ---- state_points.c ---- */

/* An attach point: a cgroup that carries the programs. */
struct sl_point_place {
	__u64 id;
	__u32 level;
	int fd;			/* its directory */
};

/* A cgroup on the path of this one, by its depth; and the uppermost attach point on it,
 * or the cgroup itself, which becomes one with sl_state_ensure_links. Close place->fd. */
int sl_state_open_point(const struct sl_cgroup_target *cgroup, unsigned level,
			struct sl_point_place *place);
int sl_state_find_point(const struct sl_state *s, const struct sl_cgroup_target *cgroup,
			struct sl_point_place *place);
/* Takes the programs off, unless a target is still judged there. */
void sl_state_drop_point(struct sl_state *s, __u64 id);

/* Tells the programs at which depths there are targets. -E2BIG: at too many. */
int sl_state_write_levels(struct sl_state *s, __u64 id, __u32 level, struct sl_diag *diag);

/* Attach points below this one come to be judged by it. cgroup: whose path is known to
 * hold them, too; may be NULL. */
void sl_state_fold_points(struct sl_state *s, const struct sl_point_place *place,
			  const struct sl_cgroup_target *cgroup);

/* Writes the word of a target, by which it is found. */
int sl_state_lead_cgroup(const struct sl_state *s, const struct sl_target *target, __u32 slot);

/* Removes what belongs to no target. */
void sl_state_sweep_points(struct sl_state *s);

/* ---- state_links.c ---- */

#define SL_CGROUPS_FOLDER "cgroups"
#define SL_WITNESS "sluice_witness"

/* Of an attach point: is any there, or are all? The missing ones are made, and judge
 * nothing before sl_state_write_levels. */
bool sl_state_has_links(const struct sl_state *s, __u64 id, bool all);
int sl_state_ensure_links(const struct sl_state *s, __u64 id, int fd, struct sl_diag *diag);
void sl_state_drop_links(const struct sl_state *s, __u64 id);

/* A target's link that says nothing: it lasts as long as a socket of the cgroup does. */
int sl_state_add_witness(const struct sl_state *s, __u64 id, int fd, struct sl_diag *diag);
void sl_state_drop_witness(const struct sl_state *s, __u64 id);
bool sl_state_has_witness(const struct sl_state *s, __u64 id);

/* All links of this program's hook run this one from now on. */
int sl_state_update_links(const struct sl_state *s, const char *program, int fd);

/* ---- cgroup_place.c ---- */

#define SL_CGROUP_ROOT_ID 1	/* of the hierarchy's root: kernfs_create_root() */

/* The directory of the hierarchy's root, else (*whole false) of the highest cgroup that a
 * mount shows and that we are in; -ENOENT. */
int sl_cgroup_open_root(bool *whole);

/* ---- cgroup_target.c ---- */

/* The directory of a cgroup, or -errno; -ESTALE: it has been removed; -ENOENT: that cannot be
 * told, since no mount shows all that there are. */
int sl_state_open_cgroup_id(__u64 id);
/* False also if it cannot be told. */
bool sl_state_is_below(__u64 id, __u64 above, unsigned above_level);

#endif
