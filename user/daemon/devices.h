/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Every network device whose name matches a pattern, as they come and go: what
 * `sluice watch` and sluiced share.
 *
 *   given.c        a policy's file, read again and again
 *   groups.c       which policy is for which device
 *   devices.c      which devices there are, and when something is to be done
 *   device_give.c  one device: its policy given, renewed, left alone
 *
 * Nothing here sleeps: the owner polls sl_links_fd and sl_addresses_open, calls
 * sl_devices_on_link, sl_devices_on_change, and sl_devices_work after each wake, at the
 * latest after sl_devices_timeout.
 */
#ifndef SLUICE_DAEMON_DEVICES_H
#define SLUICE_DAEMON_DEVICES_H

#include "given.h"
#include "target/links.h"

enum sl_group_of {
	SL_GROUP_OF_NAMES,	/* of devices; paths of cgroups */
	SL_GROUP_OF_UNITS,	/* patterns of systemd's units, where it puts them */
	SL_GROUP_OF_CONTAINERS, /* patterns of containers' names; none: any name */
};

/* Devices, or cgroups, that get the same policy. The first group with a pattern that
 * matches a target's name is the target's. Held by the set of groups, and by each target. */
struct sl_target_group {
	unsigned refs;
	char **patterns; /* owned, each owned; none: given by hand to one device */
	size_t n_patterns;
	char **labels; /* of containers, KEY=PATTERN: all to hold; owned, each owned */
	size_t n_labels;
	struct sl_given given; /* owned */
	char *policy;	       /* as the configuration names it; owned; NULL: by hand */
	enum sl_group_of of;
	bool has_veths;	       /* of containers: veths.h */
	bool chosen;	       /* only for containers that choose this policy */
	unsigned line;	       /* of the configuration; 0: none */
	bool warned;	       /* what the policy warns of was said */
};

/* One reference; NULL without memory. put: NULL is fine. */
struct sl_target_group *sl_target_group_new(void);
struct sl_target_group *sl_target_group_get(struct sl_target_group *group);
void sl_target_group_put(struct sl_target_group *group);
/* 0 or -ENOMEM. */
int sl_target_group_add_pattern(struct sl_target_group *group, const char *pattern);
int sl_target_group_add_label(struct sl_target_group *group, const char *label);

enum sl_watched_state {
	SL_WATCHED_WAITING, /* to be attached */
	SL_WATCHED_ATTACHED,
	SL_WATCHED_ISOLATED, /* denies everything: its policy could not be resolved */
	SL_WATCHED_LEFT,     /* has a policy that is not ours */
	SL_WATCHED_FAILED,   /* has nothing; to be tried again */
	SL_WATCHED_RELEASED, /* detached by hand: open until sl_devices_take_back */
};

/* Of a device, or a cgroup: whose it is, and how far that group's policy is there. */
struct sl_assignment {
	struct sl_target_group *group; /* a reference */
	enum sl_watched_state state;
	bool renew;   /* what its policy means here may have changed */
	bool pending; /* the policy that it should have could not be given to it */
	bool orphan;  /* its group is none of the set any more: keeps what it has */
	bool by_hand; /* its group is its own */
};

struct sl_watched {
	struct sl_device device;
	struct sl_assignment as;
	bool is_new;	     /* came after the start: nothing may pass before it is attached */
	bool held;	     /* nothing passes it since it came, or it has a policy */
	bool of_veth;	     /* its group is a pod's or a container's (veths.h) */
	__u32 slot;	     /* of what we gave last */
	__u64 generation;    /* that we made last; 0: none */
	__u64 meaning;	     /* a hash of its resolved policy */
	struct sl_seal seal; /* what is to be found in the kernel */
	char why[160];	     /* of isolated, kept and failed; empty: all is well */
};

struct sl_devices_ops {
	/* What became of a device: attached renewed isolated kept failed left lost renamed
	 * gone. policy and why may be NULL. */
	void (*tell)(void *context, const char *change, const struct sl_watched *watched,
		     const char *policy, const char *why);
	/* The open state is not the pinned one any more: replaces devices->state by that
	 * one, locked. 0, or -errno, said. */
	int (*reopen)(void *context);
};

struct sl_devices {
	const char *program;   /* who complains on stderr */
	const char *isolation; /* the policy's name of a device that is isolated */
	const struct sl_devices_ops *ops;
	void *context;
	bool managed;			 /* sluiced: tables say so, and are adopted as they are */
	__u64 check_ns;			 /* how often to look whether all is still attached */
	struct sl_target_group **groups; /* owned, a reference each */
	size_t n_groups;
	struct sl_links *links;
	struct sl_state *state;	    /* locked only while something is changed */
	struct sl_watched *devices; /* owned */
	size_t n_devices;
	__u64 renew_at_ns;   /* monotonic; 0: nothing to renew */
	__u64 changed_at_ns; /* of the first change that is not answered yet */
	__u64 retry_at_ns;   /* 0: nothing has failed */
	__u64 check_at_ns;   /* whether all is still attached */
	__u64 busy_at_ns;    /* others were changing the state: to be looked at again */
	unsigned retries;    /* without success */
	size_t next;	     /* where work goes on; 0: from the beginning */
	bool veth_said;
	bool started;	     /* the devices that were there are known */
	bool sweep;	     /* a device is gone */
};

__u64 sl_now_ns(void); /* monotonic */

/* ---- devices.c ---- */

/* "PROGRAM: NAME" on stderr, the name escaped. */
void sl_devices_say_name(const struct sl_devices *devices, const char *name);

/* The handler of sl_links_open; context: struct sl_devices. */
void sl_devices_on_link(void *context, enum sl_link_change change, const struct sl_link *link,
			const struct sl_link *before);

/* Addresses, routes, or a device's place among them changed: soon renew. */
void sl_devices_on_change(struct sl_devices *devices);

/* What the clock asks for, then attaches what waits, renews what is to be renewed,
 * and forgets what is gone. Of many that come at once not all at a stretch: who calls has other
 * work, and when at_most_ns are over calls again after sl_devices_timeout, which is 0 then. */
void sl_devices_work(struct sl_devices *devices, __u64 at_most_ns);

/* Milliseconds until sl_devices_work has something to do again; -1: never. */
int sl_devices_timeout(const struct sl_devices *devices);

/* Every device gets a new generation of the policy that its group has (anew), or gets
 * one if the policy means something else now. */
void sl_devices_renew_all(struct sl_devices *devices, bool anew);

/* Frees what was known of the devices and groups; the devices keep what they have. */
void sl_devices_free(struct sl_devices *devices);

/* Adds one that no pattern leads to; nothing without memory. */
void sl_devices_add(struct sl_devices *devices, unsigned ifindex, const char *name,
		    struct sl_target_group *group);

struct sl_watched *sl_devices_find(struct sl_devices *devices, unsigned ifindex);
void sl_devices_drop(struct sl_devices *devices, struct sl_watched *watched);

/* ---- groups.c ---- */

/* Holds this group instead of the one that it has, which may be the same. */
void sl_assign(struct sl_assignment *as, struct sl_target_group *group);
/* And is to be given that group's policy, also where it has one. */
void sl_assign_anew(struct sl_assignment *as, struct sl_target_group *group);
/* And that for the group of a new set which matches; NULL: none does, it is an orphan and keeps its
 * own. */
void sl_assign_matching(struct sl_assignment *as, struct sl_target_group *group);

/* The first group that has the name, or NULL. */
struct sl_target_group *sl_devices_match(const struct sl_devices *devices, const char *name);

/*
 * Takes these groups (and the array) over, instead of those that it has. Devices that
 * were given a policy by hand keep it; what no group names any more keeps what it has, and
 * is an orphan.
 */
void sl_devices_regroup(struct sl_devices *devices, struct sl_target_group **groups, size_t n);

/* Devices that were detached by hand are attached again. */
void sl_devices_take_back(struct sl_devices *devices);

/* ---- device_give.c: one device, the state being locked ---- */

/* What the state says of a device: present is false if it has no target. */
struct sl_device_found {
	bool present, attached;
	bool broken; /* what it obeys is no table that is whole */
	__u32 slot;
	__u64 generation;
};

/* True if the device has a policy that is not ours: it is left alone, and that is told. */
bool sl_device_leaves(struct sl_devices *devices, struct sl_watched *watched,
		      const struct sl_device_found *found);
/* A device without a policy of ours: afterwards it has one, is left alone, or failed. */
void sl_device_give(struct sl_devices *devices, struct sl_watched *watched,
		    const struct sl_device_found *found);
/* The policy of its group, whatever it has now; what it has stays on failure. 0, or -errno
 * with the reason in diag. */
int sl_device_give_now(struct sl_devices *devices, struct sl_watched *watched,
		       struct sl_diag *diag);
/* One of ours: gets a new generation if its policy means something else now. */
void sl_device_renew(struct sl_devices *devices, struct sl_watched *watched);
/* Does its number still lead to the device of that name? */
bool sl_device_is_there(const struct sl_watched *watched);
/* Tries again later, each time later. */
void sl_devices_retry_later(struct sl_devices *devices);

#endif
