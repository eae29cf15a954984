// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Which families of sockets tasks of the target may make. Only IPv4 and IPv6
 * have hooks that judge where their packets go; UNIX, NETLINK and ALG carry
 * nothing off the machine; every other family (AF_PACKET, AF_VSOCK, AF_TIPC,
 * AF_XDP, ...) would pass unseen and is refused with EAFNOSUPPORT. Unlike the
 * seccomp filter of `sluice run` it also sees sockets made by io_uring and
 * those of a command that keeps its privileges.
 *
 * An object of its own: many kernels have no BPF LSM, then user/kernel/lsm.c
 * goes on without it. The maps are those of sluice.bpf.c.
 */
#include <asm/errno.h>
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "subject.bpf.h"
#include "verdict.bpf.h"
#include "event.bpf.h"

/* include/linux/socket.h; the UAPI headers have no names for them. */
enum { SL_AF_UNSPEC = 0, SL_AF_UNIX = 1, SL_AF_INET = 2, SL_AF_INET6 = 10, SL_AF_NETLINK = 16,
       SL_AF_ALG = 38 };

/* lsm_cgroup since 6.0: 1 lets pass, 0 refuses with what bpf_set_retval says. */
#define SL_PASS 1
#define SL_REFUSE 0

static __always_inline bool sl_family_is_judged(int family)
{
	switch (family) {
	case SL_AF_UNIX:
	case SL_AF_INET:
	case SL_AF_INET6:
	case SL_AF_NETLINK:
	case SL_AF_ALG:
		return true;
	}
	return false;
}

/* The event's key is the family's number. */
static __always_inline int sl_refuse_family(int family)
{
	struct sl_answer a = {.deny = 1, .reason = SL_REASON_SOCKET_FAMILY, .rule = SL_NONE};
	struct sl_flow f = {.hook = SL_HOOK_LSM, .key = (__u16)family};
	struct sl_process process = {};
	struct sl_subject s = {};
	bool audit = false;

	if (sl_subject_init(&s, sl_slot)) {
		audit = sl_generation_flags(s.word) & SL_F_AUDIT;
		sl_process_current(&process);
		sl_record(&f, &s, &a, &process, audit ? SL_EV_AUDIT_DENY : SL_EV_DENY);
	}
	if (audit)
		return SL_PASS;
	bpf_set_retval(-EAFNOSUPPORT);
	return SL_REFUSE;
}

SEC("lsm_cgroup/socket_create")
int BPF_PROG(sluice_socket_create, int family, int type, int protocol, int kern)
{
	/* a family's own inner sockets (MPTCP, SMC): the outer one was judged */
	if (kern || sl_family_is_judged(family))
		return SL_PASS;
	if (family == SL_AF_UNSPEC) {	/* no such sockets: the loader asks whether we run */
		bpf_set_retval(-EPROTONOSUPPORT);
		return SL_REFUSE;
	}
	return sl_refuse_family(family);
}

char _license[] SEC("license") = "Dual BSD/GPL";
