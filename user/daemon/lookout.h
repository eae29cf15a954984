/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Who looks at the processes of cgroups for sluiced, which gives up the right to: a child
 * of its early life with CAP_SYS_ADMIN (setns), CAP_SYS_PTRACE (/proc/PID/ns, root,
 * uid_map) and CAP_DAC_READ_SEARCH (files of mapped users). It reads nothing but an
 * operation and a cgroup's directory from sluiced's socket, has a process for each
 * question, and gives that one a second: a file system of the workload's own may never
 * answer.
 */
#ifndef SLUICE_DAEMON_LOOKOUT_H
#define SLUICE_DAEMON_LOOKOUT_H

#include "target/lookout.h"

struct sl_daemon_lookout {
	struct sl_lookout ops;
	int fd;		/* owned; -1: there is none */
};

/* Forks it, before there are threads or maps. 0 or -errno. */
int sl_daemon_lookout_open(struct sl_daemon_lookout *lookout);
/* Ends it. */
void sl_daemon_lookout_close(struct sl_daemon_lookout *lookout);

/* ---- what goes over the socket, which both ends have from one program ---- */

/* What was seen, as one run of bytes; owned. */
struct sl_sight {
	char *bytes;
	size_t len;
};

int sl_sight_of_environment(const struct sl_environment *env, __u64 netns, struct sl_sight *out);
int sl_sight_of_uids(const struct sl_uid_map *map, struct sl_sight *out);

/* -EBADMSG: it is none. *env and *map are empty before, and owned by the caller. */
int sl_sight_environment(const struct sl_sight *sight, struct sl_environment *env, __u64 *netns);
int sl_sight_uids(const struct sl_sight *sight, struct sl_uid_map *map);

#endif
