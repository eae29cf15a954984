/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The kernel stage: the only module that sees the skeleton. Loads the programs
 * for one target, puts generations in place, attaches, reads what the kernel
 * counted and drains its events.
 */
#ifndef SLUICE_KERNEL_H
#define SLUICE_KERNEL_H

#include "compile/compile.h"
#include "sluice_abi.h"

struct sl_kernel;

struct sl_kernel_options {
	__u64 cgroup_id;	/* the target's cgroup; 0: none (no task check) */
	__u32 cgroup_level;	/* its depth in the hierarchy, root = 0 */
	__u32 flows;		/* entries of flow state; 0 = SL_FLOWS_DEFAULT */
	bool uids;		/* stamp every socket: the policy has uid rules */
	bool only;		/* no other generation will come: sl_kernel_switch refuses */
	const struct sl_table *table; /* borrowed: the first generation */
};

#define SL_FLOWS_DEFAULT 16384	/* 2.5 MiB */

/* Loads and verifies the programs, the first generation in place. *out is owned by the caller. -errno; what is
 * missing (a capability, a kernel feature) is said in diag. */
int sl_kernel_load(const struct sl_kernel_options *options, struct sl_kernel **out,
		   struct sl_diag *diag);

/* Closes everything. Programs attached to a cgroup go on until it is removed. */
void sl_kernel_free(struct sl_kernel *kernel);

/*
 * Makes the target obey a table: copied into a map of its own, read back and
 * compared, frozen, linked, then switched by one store; the table before it is
 * unlinked after a grace period. On failure the old one goes on. -EINVAL where it does not suit
 * what was loaded.
 */
int sl_kernel_switch(struct sl_kernel *kernel, const struct sl_table *table,
		     struct sl_diag *diag);

/* Attaches every program to a cgroup directory (BPF_F_ALLOW_MULTI): they live
 * as long as the cgroup, whatever happens to this process. */
int sl_kernel_attach_cgroup(struct sl_kernel *kernel, int cgroup_fd, struct sl_diag *diag);

/* The ring buffer: a descriptor to poll, and a drain that calls back for each
 * event and returns how many, or -errno. */
typedef void (*sl_event_handler)(void *context, const struct sl_event *event);
int sl_kernel_events_fd(const struct sl_kernel *kernel);
int sl_kernel_drain(struct sl_kernel *kernel, sl_event_handler handler, void *context);

/* Makes events of flows that are over, at most once a second, or (last) of all whose opening was
 * an event: before sl_kernel_drain(). */
void sl_kernel_tell_ends(struct sl_kernel *kernel, bool last);

int sl_kernel_stats(const struct sl_kernel *kernel, struct sl_stats *stats);

/* Decisions counted by (rule or reason); calls back for each. 0 or -errno. */
typedef void (*sl_hit_handler)(void *context, const struct sl_hit_key *key,
			       const struct sl_hit *hit);
int sl_kernel_hits(const struct sl_kernel *kernel, sl_hit_handler handler, void *context);

/* Mounts the bpf file system where a system has none (no systemd). 0 or -errno. */
int sl_bpffs_ensure(void);

/* May a directory of this path hold pins that outlive us? 0 (a missing /sys/fs/bpf is
 * mounted), or -errno with the reason in diag: no bpf file system, or one that ends with
 * this mount namespace (-EXDEV), as under `ip netns exec`. */
int sl_bpffs_check(const char *path, struct sl_diag *diag);
/* Of a path that is not there: -ENOENT, or -EXDEV with the reason in diag where it can only
 * not be seen from this mount namespace. */
int sl_bpffs_absent(const char *path, struct sl_diag *diag);

/* Copies a table into a new frozen map, checked; its descriptor or -errno. */
int sl_kernel_table_map(const struct sl_table *table, struct sl_diag *diag);

#endif
