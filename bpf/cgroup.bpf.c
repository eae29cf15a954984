// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The cgroup programs of the pinned state: one object for all targets of the machine,
 * names included. The target is found by the socket's cgroup (target_of.bpf.h).
 */
#define SL_NAMES 1
#define SL_BY_CGROUP 1

#include "sluice.bpf.c"

/* Says nothing. Its link is how user space learns that a removed cgroup has no socket
 * left: the kernel then takes the link off, and not before. */
SEC("cgroup/sock_release")
int sluice_witness(struct bpf_sock *ctx)
{
	return SL_PASS;
}
