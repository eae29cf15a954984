/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * dns: {mode: forward}: a resolver for one command, in a process of its own (docs/names.md,
 * "The forwarder"). It listens at an address of 127.0.0.0/8 that the command's gate leads
 * to, asks the policy's resolvers, and answers when the kernel has learned.
 *
 * Order for `sluice run`:
 *	sl_forward_open → compile with its address → sl_forward_start → sl_kernel_load →
 *	sl_forward_connect → sl_spawn → poll pid_fd → sl_forward_close
 *
 * The process has no privileges, and none of the kernel's maps in its memory: what comes
 * from resolvers and from the command is read there. It judges nothing and writes no map:
 * it asks the kernel (kernel/gate.h). It ends when this process is gone and the command's
 * cgroup is empty.
 */
#ifndef SLUICE_FORWARD_FORWARD_H
#define SLUICE_FORWARD_FORWARD_H

#include <sys/types.h>

#include "compile/compile.h"
#include "kernel/kernel.h"

struct sl_forward {
	struct sl_cidr address;	/* where it listens, port 53, UDP and TCP */
	int udp_fd, tcp_fd;	/* owned until it is connected; -1 */
	int life_fd;		/* our end of a pair; closed when this process is gone */
	pid_t pid;		/* 0: not started */
	int pid_fd;		/* readable when it has ended */
};

#define SL_FORWARD_NONE ((struct sl_forward){.udp_fd = -1, .tcp_fd = -1, .life_fd = -1,            \
					     .pid_fd = -1})

/* Listens at that address or, without one, finds one. Needs CAP_NET_BIND_SERVICE. 0, or -errno with an error. */
int sl_forward_open(struct sl_forward *forward, const struct sl_cidr *at,
		    struct sl_diag *diag);

/* The two sockets at port 53 of an IPv4 address, owned by the caller. 0 or -errno. */
int sl_forward_listen(const struct sl_cidr *at, int *udp_fd, int *tcp_fd);
/* What to do about its error, to be put behind it; may be empty. */
const char *sl_forward_advice(int err);

/* Starts the process, before anything of the kernel stage is in this one. It has copies of
 * the policy (its resolvers and dns) and of the rules' ids. 0, or -errno with an error. */
int sl_forward_start(struct sl_forward *forward, const struct sl_policy *policy,
		     const struct sl_compiled *compiled, struct sl_diag *diag);

/* Gives it the loaded programs and the command's cgroup (a directory); returns when it
 * answers, or -errno with an error. */
int sl_forward_connect(struct sl_forward *forward, const struct sl_kernel *kernel, int cgroup_fd,
		       struct sl_diag *diag);

/* Ends it; or, if leave, lets it end with the command's cgroup. */
void sl_forward_close(struct sl_forward *forward, bool leave);

#endif
