/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What keeps the command inside its cgroup and away from sockets that no hook
 * of ours sees. Applied in the child before exec; everything fails closed.
 *
 * Closed, and by what:
 *  - leaving the cgroup as the owner of a delegated cgroup or as uid 0 without
 *    capabilities: a private mount namespace in which every cgroup and cgroup2
 *    mount is read-only. A user namespace inside cannot undo it (the mounts are
 *    locked there), and a cgroup2 mounted anew inside one needs a new cgroup
 *    namespace too, whose root is the run's cgroup. Mounts that appear outside
 *    later still propagate in (MS_SLAVE: removable media, autofs), a cgroup
 *    mount among them would be writable.
 *  - pinned BPF objects: every bpf file system is covered by an empty tmpfs
 *    (read-only would not do: BPF_OBJ_GET asks the inode's mode only).
 *  - AF_PACKET, AF_VSOCK, AF_XDP, AF_TIPC, AF_RDS, AF_SMC and every family but
 *    UNIX, INET, INET6, NETLINK and ALG (ALG carries nothing anywhere):
 *    EAFNOSUPPORT from socket() and socketpair(), by seccomp. Native and the
 *    32-bit ABI of the same machine; i386's socketcall() is ENOSYS, since a
 *    filter cannot read its arguments (32-bit glibc programs have no network
 *    then); x32 and every other ABI is ENOSYS.
 *  - io_uring: ENOSYS for setup, enter and register. IORING_OP_SOCKET (5.19)
 *    makes sockets of any family without socket(), so seccomp cannot see the
 *    family; the hooks judge INET and INET6 sockets made so, but AF_VSOCK asks
 *    no privilege and no hook sees it. libuv and others fall back by themselves.
 *  - TIOCSTI and TIOCLINUX: EPERM. They type into the caller's terminal, and
 *    the shell that reads it is outside.
 *  - request_key() that would have a key made: EPERM. The kernel runs /sbin/request-key
 *    for it, outside, and what keyutils has there asks DNS for any name. A search of
 *    the keyrings (no callout information) works.
 *  - same-uid processes outside, where the kernel has Landlock ABI 6 (6.12) or
 *    later: a domain that restricts nothing but its scope. It may not trace
 *    (ptrace, pidfd_getfd, /proc/PID/root, /proc/PID/fd, /proc/PID/mem) or
 *    connect to an abstract unix socket of anything outside. Older kernels:
 *    left open and named, since there a domain would also forbid mount(2) to
 *    browsers' and build tools' own sandboxes.
 *  - descriptors from outside: see sl_fds_scan.
 *
 * Left open, and why: sl_confine_open_points. In AF_INET the protocol (raw,
 * SCTP, MPTCP, SMC over AF_INET since 6.11) is the sock_create and packet hooks'
 * to judge, not the filter's. ptrace inside is needed by debuggers, and a traced
 * child is in the same cgroup. A unix socket in the file system that the
 * command may connect to can ask a helper outside to speak for it, or hand over
 * a socket made outside (SCM_RIGHTS).
 */
#ifndef SLUICE_CONFINE_H
#define SLUICE_CONFINE_H

#include <stdbool.h>
#include <stddef.h>

#include "policy/diag.h"

struct sl_identity;
struct sl_cgroup2;

/* An inherited descriptor that the command does not get. */
struct sl_fd_closed {
	int fd;
	char what[64]; /* "inet stream socket", "directory", ... */
};

/* Free with sl_fds_free. */
struct sl_fds {
	struct sl_fd_closed *closed; /* owned */
	size_t n_closed;
	size_t n_unix; /* inherited AF_UNIX sockets, kept */
};

/*
 * Looks at every descriptor of this process that exec would keep. Above 2 these
 * are listed to be closed: sockets of any family but AF_UNIX (the kernel judges
 * a socket by its creator's cgroup), tun and tap devices, io_uring instances;
 * and, if confined, directories (openat() from one reaches the writable mounts
 * outside), files on cgroup and bpf file systems, BPF objects. One of these as
 * 0, 1 or 2 is -ENOTSUP with an error in diag. 0 or -errno.
 * The descriptors must not change until the child has called sl_fds_close.
 */
int sl_fds_scan(bool confined, struct sl_fds *out, struct sl_diag *diag);
int sl_fds_close(const struct sl_fds *fds);
void sl_fds_free(struct sl_fds *fds);

/* For the child; 0 or -errno, and a failure must end it. */
/* Needs CAP_SYS_ADMIN. */
int sl_confine_mounts(void);

/* What resolves names on the command's behalf without a DNS packet of its own is
 * covered; for a policy with names. resolver: its resolv.conf names that address in the
 * stead of all others; NULL: it stays. After sl_confine_mounts. 0 or -errno; -ENOENT: no
 * resolv.conf is there to be covered. */
int sl_confine_names(const char *resolver);
/* The same for a command that keeps its privileges: in mounts of its own. */
int sl_confine_names_alone(const char *resolver);
/* Needs no_new_privs. 0 also where the kernel has no such Landlock. */
int sl_confine_scope(void);
/* Sets no_new_privs. Last: it also binds the steps that come after. */
int sl_confine_seccomp(void);

/* Does sl_confine_scope do anything on this kernel? */
bool sl_confine_has_scope(void);

struct sl_open_points {
	char **lines; /* owned */
	size_t n;
};

/*
 * One line for each way out that is left open for this identity and these
 * options, for the summary and the docs. Tries what can be tried as that user
 * (in a short-lived child, so it wants the caller's privileges to become it).
 * fs: the caller's cgroup, for delegation; may be NULL. 0 or -errno.
 */
int sl_confine_open_points(const struct sl_identity *id, bool keep_privileges,
			   const struct sl_cgroup2 *fs, struct sl_open_points *out);
void sl_open_points_free(struct sl_open_points *points);

#endif
