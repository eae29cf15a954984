/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The ends of veths in the caller's network namespace whose other end is in a given one. Only
 * netlink is asked: the kernel gives each namespace that is beyond a device of ours a number
 * (IFLA_LINK_NETNSID), and tells that of a process's (RTM_GETNSID), for which no right is
 * wanted. Who made the device, and what it is called, says nothing.
 */
#ifndef SLUICE_TARGET_VETH_H
#define SLUICE_TARGET_VETH_H

#include <linux/types.h>
#include <net/if.h>
#include <stdbool.h>
#include <sys/types.h>

#include "target/processes.h"

struct sl_veth {
	unsigned ifindex;
	char name[IFNAMSIZ];
	int nsid; /* our number of the namespace where the other end is */
};

/* Every veth that leads out of our namespace. 0 or -errno. */
typedef void sl_veth_fn(void *context, const struct sl_veth *veth);
int sl_veth_each(sl_veth_fn *fn, void *context);

/* Our numbers of the namespace of a process, or of a descriptor's. They are given as devices
 * that lead there are listed (sl_veth_each): -ENOENT if none does. Or -errno. */
int sl_netns_of_process(pid_t pid, int *nsid);
int sl_netns_of_fd(int fd, int *nsid);

/*
 * The process of a cgroup, or of one below, that is the oldest: of a container its first, of a
 * pod its sandbox's, which are in the network that the runtime made. A later one may have made
 * one of its own. dir_fd: the cgroup's directory; foreign: of
 * processes.h. 0: none is seen.
 * *started_ns (unless NULL): boot time at the end of the clock tick in which it was made.
 */
pid_t sl_oldest_process(int dir_fd, sl_foreign_fn *foreign, __u64 *started_ns);

#endif
