/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The cgroup of one `sluice run`: where cgroup2 is mounted, which cgroup the
 * caller is in, and a fresh child of it that holds the command.
 *
 * The run's cgroup stands below the caller's own, so that the limits and the
 * programs of every ancestor (an outer `sluice run` among them) still hold.
 *
 * All functions return 0 or -errno unless they say otherwise, and leave their
 * outputs untouched on failure. Where a diag is taken (never NULL) each failure
 * has added exactly one error that says what to do.
 */
#ifndef SLUICE_CGROUP_H
#define SLUICE_CGROUP_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>
#include <linux/types.h>

#include "policy/diag.h"

#define SL_RUN_CGROUP_PREFIX "sluice-run-"

/* Where the caller is. Strings owned; free with sl_cgroup2_free. */
struct sl_cgroup2 {
	char *mount;	/* mount point of cgroup2 */
	char *own;	/* the caller's own cgroup: a directory at or below it */
	char *path;	/* the same as the kernel names it: "/" or "/a/b" */
	unsigned level; /* of the caller's own cgroup; the root is 0 */
	/* false: a cgroup namespace hides the top of the hierarchy, and level
	 * counts from the namespace's root (too small for the kernel). */
	bool level_exact;
};

/* One way to reach the caller's cgroup. Strings owned. */
struct sl_cgroup2_way {
	char *mount, *own;
	bool writable;
	bool whole;  /* the mount shows the hierarchy from its root */
	size_t line; /* a later mount lies over an earlier one */
};

/*
 * Pure part of the search: from the text of mountinfo and the caller's cgroup
 * path, every way to reach it, best first: writable before read-only, whole
 * hierarchies before parts, later mounts before earlier ones.
 * *ways is owned by the caller (sl_cgroup2_ways_free); none found is 0 with
 * *n = 0. *n_mounts counts all cgroup2 mounts. -ENOMEM, or -errno of reading.
 */
int sl_cgroup2_ways(FILE *mountinfo, const char *path, struct sl_cgroup2_way **ways, size_t *n,
		    size_t *n_mounts);
void sl_cgroup2_ways_free(struct sl_cgroup2_way *ways, size_t n);

/* The path of the `0::` line of a /proc/PID/cgroup text; *path is owned by the
 * caller. -ENOENT: no such line (a kernel that does not use cgroup2). */
int sl_cgroup2_own_path(FILE *cgroup, char **path);

/* Finds it for this process and checks that the directory is really there. */
int sl_cgroup2_find(struct sl_cgroup2 *out, struct sl_diag *diag);
void sl_cgroup2_free(struct sl_cgroup2 *fs);

/* The run's cgroup. Holds a lock (flock) on the directory as long as dir_fd is
 * open, so that no other `sluice` takes it for a left-over. */
struct sl_cgroup {
	char *path;	/* directory, owned */
	int dir_fd;	/* owned, close-on-exec; attach programs here */
	int events_fd;	/* owned; cgroup.events, POLLPRI when it changes */
	__u64 id;	/* what bpf_skb_cgroup_id() and friends return */
	unsigned level; /* see sl_cgroup2.level */
	bool level_exact;
};

/* Makes `sluice-run-<pid>-<n>` below fs->own. */
int sl_cgroup_make(const struct sl_cgroup2 *fs, struct sl_cgroup *out, struct sl_diag *diag);

/* Moves a process (all its threads) into it. */
int sl_cgroup_add(const struct sl_cgroup *cg, pid_t pid, struct sl_diag *diag);

/* 1: a live process is in it or below it; 0: none; or -errno. */
int sl_cgroup_populated(const struct sl_cgroup *cg);

/* SIGKILL to all that is in it and below, forks that race included
 * (cgroup.kill, 5.14; without it by signals until nobody is left, at most 5 s,
 * then -ETIMEDOUT). Does not wait otherwise. */
int sl_cgroup_kill(const struct sl_cgroup *cg);
int sl_cgroup_kill_by_signals(const struct sl_cgroup *cg, int timeout_ms);

/* Waits until nobody is left; timeout_ms < 0 waits for ever. -ETIMEDOUT. */
int sl_cgroup_wait_empty(const struct sl_cgroup *cg, int timeout_ms);

/* Removes its children, deepest first, then itself. -EBUSY: still populated.
 * Programs attached with BPF_PROG_ATTACH go with it. Does not close. */
int sl_cgroup_remove(const struct sl_cgroup *cg);

/* Closes the descriptors and frees; the cgroup stays (`--leave`). NULL is fine
 * and so is a second call. */
void sl_cgroup_close(struct sl_cgroup *cg);

/*
 * Removes what dead runs left below the caller's own cgroup: the name's pid is
 * gone, nobody holds the lock, nobody is in it. Returns how many, or -errno if
 * the directory cannot be read.
 */
int sl_cgroup_sweep(const struct sl_cgroup2 *fs);

#endif
