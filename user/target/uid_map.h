/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which uid of the host is `uid: {container: N}`: the map of the one user namespace
 * that holds a cgroup's processes (user_namespaces(7)). Namespaces that they have made
 * below it may be there too, since the kernel's uids are the host's anyway. Where
 * several stand beside each other, or some processes are in the host's and others are
 * not (a runtime that enters the container at this moment looks like that), there is no
 * single map and no answer.
 */
#ifndef SLUICE_TARGET_UID_MAP_H
#define SLUICE_TARGET_UID_MAP_H

#include <stdbool.h>
#include <stdio.h>
#include <linux/types.h>

#include "target/processes.h"

struct sl_uid_range {
	__u32 inside, outside, count;	/* outside: as the reader's namespace counts */
};

enum sl_uid_map_state {
	SL_UID_MAP_FOUND,
	SL_UID_MAP_NOBODY,	/* no process is there */
	SL_UID_MAP_SEVERAL,	/* namespaces, or the host's and others */
	SL_UID_MAP_EMPTY,	/* not written yet */
	SL_UID_MAP_UNREADABLE,
	SL_UID_MAP_STATES
};

struct sl_uid_map {
	enum sl_uid_map_state state;
	struct sl_uid_range *ranges;	/* owned */
	size_t n;
};

/* The text of a uid_map. 0; -EINVAL: it is none; -ENOMEM; -errno of reading. */
int sl_uid_map_read(FILE *in, struct sl_uid_map *map);

/* That of the processes in a cgroup and below. cgroup_fd: its directory; foreign: of processes.h.
 */
void sl_uid_map_look(int cgroup_fd, sl_foreign_fn *foreign, struct sl_uid_map *map);

/* The host's uid of one inside. 0, or -ENOENT with the reason, a static text. */
int sl_uid_map_host(const struct sl_uid_map *map, __u32 inside, __u32 *outside, const char **why);

void sl_uid_map_free(struct sl_uid_map *map);

#endif
