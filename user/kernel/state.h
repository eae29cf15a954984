/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Targets that outlive a process: one set of maps and programs for many devices and
 * cgroups, pinned in the bpf file system (or private, for tests; then devices only). `attach`, `detach`,
 * `status` and, later, the daemon work on it. A target has a slot; what switches
 * its policy is one word (include/sluice_abi.h).
 *
 * Everything that changes the state is done under a lock that is held from
 * sl_state_open to sl_state_close.
 */
#ifndef SLUICE_STATE_H
#define SLUICE_STATE_H

#include "compile/compile.h"
#include "kernel.h"
#include "sluice_abi.h"

struct sl_state;

#define SL_STATE_PATH "/sys/fs/bpf/sluice"
#define SL_SLOTS 4096		/* targets at once */

struct sl_state_options {
	const char *path;	/* of the pins; NULL: private, gone with the process */
	bool create;		/* make what is missing; else -ENOENT without a word */
	bool upgrade;		/* takes another version's over, where that is possible */
	bool no_wait;		/* sl_state_relock: -EAGAIN, without a word, while others change it */
};

/*
 * Opens (adopts) or makes the state for the caller's network namespace. 0 or
 * -errno with the reason in diag: pins of another ABI, of a wrong type, or half
 * written are refused with their path. Close with sl_state_close.
 */
int sl_state_open(const struct sl_state_options *options, struct sl_state **out,
		  struct sl_diag *diag);
void sl_state_close(struct sl_state *state);

/* SL_ABI_VERSION, of the pins that this program makes. */
__u32 sl_state_abi(void);

/* Was it another version's, and taken over by this process? Which ABI's, and how many events of it
 * nobody had read and nobody can. */
bool sl_state_taken_over(const struct sl_state *state, __u32 *abi, __u64 *unread);

/*
 * The kernel takes a grace period (8 to 20 ms) to be done with what was replaced or taken
 * away. Attaching and detaching do not wait for it: it is waited for once for all of them,
 * here, and when the state is unlocked or closed. What is attached is enforced before.
 */
void sl_state_settle(struct sl_state *state);

/* Lets others change the state; from here on only read, until it is locked again: 0,
 * or -errno with the reason in diag; -ESTALE: another state is pinned there now. */
void sl_state_unlock(struct sl_state *state);
int sl_state_relock(struct sl_state *state, struct sl_diag *diag);

/* A device, as the caller's network namespace knows it. */
struct sl_device {
	unsigned ifindex;
	char name[16];
};

/* Is it one end of a veth pair? At the other end is then no machine, but a network
 * namespace whose root can send so that tc does not see it (docs/SECURITY.md). */
bool sl_device_is_veth(const char *name);

/* -ENODEV, or -EOPNOTSUPP for what is no Ethernet device, with the reason in diag. */
int sl_device_find(const char *name, struct sl_device *out, struct sl_diag *diag);

/* The generation number for the next table; never given twice. */
__u64 sl_state_next_generation(struct sl_state *state);

/*
 * Makes the device obey the table, which was compiled with a binding: a device
 * that has a target gets the new generation (its flows stay and are judged
 * again), another a new target, attached last, so that nothing is judged before
 * all is in place. *slot tells where. On failure nothing has changed.
 */
int sl_state_attach_device(struct sl_state *state, const struct sl_device *device,
			   const struct sl_table *table, __u32 *slot, struct sl_diag *diag);

/*
 * Nothing passes the device (no-policy) until sl_state_attach_device gives it a table:
 * for one that was found late, since it takes no grace period. One that has a target
 * is left as it is. A held device stays held if this process dies.
 */
int sl_state_hold_device(struct sl_state *state, const struct sl_device *device,
			 struct sl_diag *diag);

/* Takes the programs off the device and forgets the target. -ENOENT: it has none. */
int sl_state_detach_device(struct sl_state *state, const struct sl_device *device,
			   struct sl_diag *diag);

/* The same by slot, of a cgroup, or a device in any namespace. -EXDEV: only from there. */
int sl_state_detach_slot(struct sl_state *state, __u32 slot, struct sl_diag *diag);

/*
 * A cgroup, by its directory. Its id is never given to another cgroup while the machine
 * is up (kernfs counts on, fs/kernfs/dir.c): a removed cgroup's successor of the same
 * path is another target.
 */
#define SL_CGROUP_LEVELS 64	/* deeper ones are refused */

struct sl_cgroup_target {
	char *path;		/* owned: absolute, as the caller's mounts show it */
	int fd;			/* owned: the directory */
	__u64 id;
	unsigned level;		/* the hierarchy's root is 0 */
	unsigned top;		/* the level of the highest one that its mount shows */
	__u64 ids[SL_CGROUP_LEVELS]; /* of the cgroups on its path; ids[level] is id */
	/* Cookie of the network namespace that the workload's sockets are taken to be of, for
	 * a new target; those made elsewhere are told apart. 0: the caller's. */
	__u64 netns;
};

/*
 * Opens a cgroup by the path of its directory, or by its name in the hierarchy
 * (`/a/b` as /proc/PID/cgroup has it). -ENOENT, -ENOTDIR, -EXDEV (no cgroup2, or a mount
 * that shows neither the hierarchy's root nor a cgroup that we are in), -ELOOP (too deep), with the reason in diag.
 * Close with sl_cgroup_close_target.
 */
int sl_cgroup_open_target(const char *path, struct sl_cgroup_target *out, struct sl_diag *diag);
void sl_cgroup_close_target(struct sl_cgroup_target *cgroup);

/* The level of a cgroup that we are in, and the ids from the root (0) to us, which are the
 * callee's. -ENOENT: we are not in it, or may not ask (CAP_BPF, CAP_PERFMON). */
int sl_cgroup_above(__u64 id, const __u64 **ids);

/*
 * The mount of cgroup2 that shows most: the hierarchy from its root, else from a cgroup that
 * we are in, else any, whose cgroups sl_cgroup_open_target then refuses; *point is owned.
 * *foreign: paths of /proc/PID/cgroup are no paths below it, since a cgroup namespace counts
 * them from elsewhere. -errno with the reason in diag: there is none.
 */
int sl_cgroup_mount(char **point, bool *foreign, struct sl_diag *diag);

/*
 * Makes the cgroup obey the table, which was compiled without a binding. One that has a
 * target gets the new generation. Another becomes a target: its sockets, and those of
 * all cgroups below it that are no targets themselves, are judged by it from one moment
 * on, when all is in place. The programs are attached where no cgroup above carries
 * them; else the kernel only learns one more place to look. -errno: nothing has changed.
 */
int sl_state_attach_cgroup(struct sl_state *state, const struct sl_cgroup_target *cgroup,
			   const struct sl_table *table, __u32 *slot, struct sl_diag *diag);

/* Nothing passes the cgroup's sockets (no-policy) until sl_state_attach_cgroup gives it
 * a table; one that has a target is left as it is. */
int sl_state_hold_cgroup(struct sl_state *state, const struct sl_cgroup_target *cgroup,
			 struct sl_diag *diag);

/* Forgets the target: the cgroup is judged by the nearest target above it, or by none.
 * -ENOENT: it is none. */
int sl_state_detach_cgroup(struct sl_state *state, const struct sl_cgroup_target *cgroup,
			   struct sl_diag *diag);

/* The slot of a cgroup's own target, by its id. -ENOENT: it is none. */
int sl_state_find_cgroup(struct sl_state *state, __u64 id, __u32 *slot);

/* Where a target's cgroup is now, as the caller's mounts show it; owned. NULL: it has
 * been removed. */
char *sl_state_cgroup_path(const struct sl_target *target);
/* The same, or where it was if that is known (below). */
char *sl_state_cgroup_name(const struct sl_target *target);

/* Where a cgroup is or (*removed, unless NULL) was, owned; NULL: not known. */
typedef char *(*sl_cgroup_finder)(void *context, __u64 id, bool *removed);
/* Who may not open a cgroup by its id (CAP_DAC_READ_SEARCH) asks find first, and then looks at
 * all that there are. For the process; NULL: nobody is asked. */
void sl_cgroup_found_by(sl_cgroup_finder find, void *context);

/* Forgets all targets whose device is gone, whose cgroup has been removed and has no socket
 * left, or that were given up half-way; returns how many. Attaching looks at a few each
 * time, so that they go without it too. */
int sl_state_sweep(struct sl_state *state);

/* The caller's network namespace, as targets name it. */
__u64 sl_state_netns(const struct sl_state *state);

/* The cookie of a network namespace (an open /proc/PID/ns/net), which needs CAP_SYS_ADMIN
 * if it is another's; 0: the kernel does not tell. */
__u64 sl_netns_cookie_of(int netns_fd);

/* The other end of a veth, whose root can have frames go past tc at ours. */
enum sl_peer {
	SL_PEER_UNKNOWN,	/* no veth, or of another network namespace */
	SL_PEER_GUARDED,	/* a program of ours there ends such frames */
	SL_PEER_OPEN,		/* none is: docs/SECURITY.md */
};

/* Of a device of the caller's namespace. */
enum sl_peer sl_state_peer(const struct sl_state *state, const struct sl_target *target);
enum sl_peer sl_state_device_peer(const struct sl_state *state, const struct sl_device *device);

/* One target, as status shows it. */
struct sl_target_view {
	__u32 slot;
	struct sl_target target;
	__u64 generation;
	__u32 flags;		/* SL_F_ of its table */
	bool attached;		/* its programs are on the device, or judge the cgroup */
	bool moved;		/* not attached: it is in another namespace now, and passes nothing */
	__u32 preceding;	/* the id of somebody's program that has its frames before ours, and
				 * decides which ours get at all; 0: none, or unknown */
	enum sl_peer peer;	/* of a device that is `attached` */
	bool broken;		/* its word leads to no table of ours that is whole */
	bool here;		/* in the caller's network namespace: target.name is the name now */
	char attached_as[16];	/* the name when it was attached, if it has another now */
	__u32 leased;		/* by DHCP, host byte order; 0: nothing, now */
	__u64 leased_until_ns;	/* boot time */
	struct sl_stats stats;
	struct sl_meter meter;
};

typedef void (*sl_target_handler)(void *context, const struct sl_target_view *view);
int sl_state_targets(struct sl_state *state, sl_target_handler handler, void *context);

/* Frames that the device has received since it was attached, and our programs never saw.
 * Only of a device that is `here`. */
__u32 sl_state_unjudged(const struct sl_state *state, const struct sl_target_view *view);

/*
 * What a target consists of in the kernel, as ids that are never given twice: what its
 * device or cgroup runs, and what leads from there to its table. Whoever put a policy in
 * place keeps the seal; one that is taken later and differs tells that somebody else
 * changed something. Zero where there is nothing.
 */
struct sl_seal {
	__u64 word;			/* sl_words[slot] */
	__u64 leads;			/* sl_devices[ifindex]; of a cgroup: its id, if its
					 * programs are on and lead to the slot */
	__u64 target;			/* a hash of sl_targets[slot] */
	__u32 table, flows, patterns;	/* ids of inner maps */
	__u32 links[2], programs[2];	/* by enum sl_direction */
	__u32 first[2];			/* the program that the hook runs first */
};

/* 0; -ENOENT: the slot is free; else -errno: it cannot be told (no descriptor, no memory).
 * Needs no lock. */
int sl_state_seal(const struct sl_state *state, __u32 slot, struct sl_seal *out);
/* Which part is not what it was, in words (static); NULL: all is. */
const char *sl_seal_broken(const struct sl_seal *was, const struct sl_seal *is);

/*
 * Puts back what leads to the slot of a device: programs that are missing, others' or not
 * the first are attached anew; while one is moved every frame is dropped, so that none is
 * judged by nobody. A word that leads to another slot's table is cleared: everything is denied
 * until the device is given a policy. 0 or -errno; state locked. -EOPNOTSUPP: a clsact
 * filter is missing; sl_state_attach_device attaches all anew.
 */
int sl_state_mend(struct sl_state *state, const struct sl_device *device, __u32 slot);

/* Has the device a target whose programs are on it? Needs no lock. */
bool sl_state_device_is_attached(const struct sl_state *state, const struct sl_device *device);

/* What is attached in a slot. -ENOENT: nothing. */
int sl_state_target(const struct sl_state *state, __u32 slot, struct sl_target *out);
/* The same, and while its end is under way who it was. */
int sl_state_target_of(const struct sl_state *state, __u32 slot, struct sl_target *out);

/* The words of a target's table, a copy owned by the caller. 0 or -errno; -ENOENT: it has
 * none (it is held); -EUCLEAN: what stands there is none of ours, of another generation, or
 * not frozen. */
int sl_state_table(const struct sl_state *state, __u32 slot, struct sl_table *out);

/* That of a generation as far as it is known: while a switch or an end is under way the old one's
 * too (an end's where somebody hears of it: sl_state_on_switched; generation 0: its last). Else as
 * sl_state_table: what is in force. */
int sl_state_table_of(const struct sl_state *state, __u32 slot, __u64 generation,
		      struct sl_table *out);

/* The word that the slot obeys: another one with each generation. */
__u64 sl_state_word(const struct sl_state *state, __u32 slot);

/* What the slot's target has sent and got; adds to *out. */
void sl_state_read_meter(const struct sl_state *state, __u32 slot, struct sl_meter *out);

/* The same of its decisions; zeros if they cannot be read. */
void sl_state_read_stats(const struct sl_state *state, __u32 slot, struct sl_stats *out);

/* Calls back when this process clears a slot, while its counters are still there. */
typedef void (*sl_end_handler)(void *context, const struct sl_state *state, __u32 slot);
void sl_state_on_end(struct sl_state *state, sl_end_handler handler, void *context);

/* Calls back when this process has switched generations or cleared slots, nobody in the kernel reads
 * the old tables any more, and sl_state_table_of still knows them: to drain the events that they
 * decided. */
typedef void (*sl_switched_handler)(void *context);
void sl_state_on_switched(struct sl_state *state, sl_switched_handler handler, void *context);

/* Decisions of a slot, or of all, by (rule or reason), and the bytes of its flows as far as they are
 * settled. 0 or -errno. */
#define SL_SLOTS_ALL (~0u)
int sl_state_hits(const struct sl_state *state, __u32 slot, sl_hit_handler handler,
		  void *context);

/* Settles what the target's flows have carried until now, for sl_state_hits. 0 or -errno. */
int sl_state_settle_flows(struct sl_state *state, __u32 slot);

/* Makes events of flows that are over, at most once a second: for the one who reads the events,
 * before each sl_state_drain(). */
void sl_state_tell_ends(struct sl_state *state);

/* An address that a name owns in a target. */
struct sl_lesson {
	__u64 high, low;	/* host byte order; IPv4 in the low 32 bits */
	__u32 family;		/* 4 or 6 */
	__u32 left_s;		/* until its time is over */
	char name[SL_NAME_CHARACTERS + 1];
};

/* What a slot's target has learned, without what is over; what is written meanwhile may
 * be left out. Whether a name may still be asked is not looked at. 0 or -errno. */
typedef void (*sl_lesson_handler)(void *context, const struct sl_lesson *lesson);
int sl_state_learned(const struct sl_state *state, __u32 slot, sl_lesson_handler handler,
		     void *context);

/* Events have one reader, since whoever takes one takes it from the others: this process
 * becomes it until the state is closed. 0, or -EBUSY with the process that is in diag. */
int sl_state_claim_events(struct sl_state *state, struct sl_diag *diag);

/* The process that reads them; 0: none, or none that can be named here. */
int sl_state_events_reader(const struct sl_state *state);

/* Events of all targets: a descriptor to poll; a drain that calls back for each
 * and returns how many, or -errno. Both claim them. */
int sl_state_events_fd(struct sl_state *state);
int sl_state_drain(struct sl_state *state, sl_event_handler handler, void *context);

/*
 * For tests, on a private state: a target without a device, whose frames are
 * those of interface ifindex (1: what BPF_PROG_TEST_RUN uses), and the programs.
 */
int sl_state_add_unattached(struct sl_state *state, unsigned ifindex,
			    const struct sl_table *table, __u32 *slot, struct sl_diag *diag);
int sl_state_switch(struct sl_state *state, __u32 slot, const struct sl_table *table,
		    struct sl_diag *diag);
void sl_state_forget(struct sl_state *state, __u32 slot);
int sl_state_program_fd(const struct sl_state *state, enum sl_direction direction);

#endif
