/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Maps of maps: generations by index, flow state by slot. Private to the kernel
 * stage.
 *
 * A change of one ends with synchronize_rcu() (kernel/bpf/syscall.c,
 * maybe_wait_bpf_programs), 8 to 20 ms: after it no program still runs that read
 * what was there. Changes that belong together wait together.
 */
#ifndef SLUICE_OUTER_H
#define SLUICE_OUTER_H

#include <linux/types.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct sl_table;

/* One place of an outer map gets an inner map, or (fd < 0) loses what it has; that
 * nothing is there is no error. */
struct sl_outer_change {
	int outer_fd;
	__u32 index;
	int fd;
	int err;		/* out: 0 or -errno */
	int done;		/* the grace period is over */
	bool begun;		/* in a thread of its own */
	pthread_t thread;
};

/* Begins all of them at once (what gets no thread is done here and now); sl_outer_wait
 * ends them: 0, or the first error. */
void sl_outer_begin(struct sl_outer_change *changes, size_t n);
int sl_outer_wait(struct sl_outer_change *changes, size_t n);

/* Returns once programs find the inner maps of changes that were begun, which is long
 * before the grace period ends: 0, or the first error. What was in those places before
 * may still be read; the inner maps' descriptors may be closed. */
int sl_outer_shown(const struct sl_outer_change *changes, size_t n);

/* Both. */
int sl_outer_change(struct sl_outer_change *changes, size_t n);

/* An empty map of flow state for (about) so many flows; its descriptor or -errno. */
int sl_flow_map(__u32 flows, __u32 *buckets);

/*
 * The maps of names (docs/names.md): what a target knows and has learned, empty; a
 * generation's patterns. Descriptors or -errno.
 */
int sl_known_map(void);
int sl_learned_map(void);
int sl_pattern_trie(const struct sl_table *table);

/* The word that makes a target obey the table at an index (include/sluice_abi.h). */
__u64 sl_table_switch_word(const struct sl_table *table, __u32 index);

/* The cookie of the caller's network namespace; 0 if the kernel does not tell
 * (before 5.14). */
__u64 sl_netns_cookie(void);

#endif
