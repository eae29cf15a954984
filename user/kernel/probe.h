/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Does this kernel do what our programs need? Found out by doing it with
 * hand-made programs of a few instructions, so that an answer about one feature
 * does not depend on another.
 *
 * Every function returns 0 (it works) or -errno (what the kernel said). Nothing
 * stays behind: programs and maps end with their descriptors, attachments are
 * taken off again. cgroup_fd is an empty cgroup of the caller's; -1 = there is
 * none, then attaching is not tried. -EPROTO: the kernel took the program and
 * did something else than it should.
 */
#ifndef SLUICE_PROBE_H
#define SLUICE_PROBE_H

#include <linux/bpf.h>

/* A program that lets everything pass: load, attach with ALLOW_MULTI, detach. */
int sl_probe_cgroup_program(enum bpf_prog_type type, enum bpf_attach_type attach, int cgroup_fd);

/* A connect4 program's errno reaches the caller (bpf_set_retval, 5.18): a child
 * in the cgroup connects and must see ECONNREFUSED. */
int sl_probe_retval(int cgroup_fd);

/* bpf_get_current_ancestor_cgroup_id in connect4. */
int sl_probe_ancestor(void);
/* pid, uid and name of the caller in connect4. */
int sl_probe_process(void);
/* The creator's credentials in sock_create (needs CAP_PERFMON). */
int sl_probe_creator(void);
/* What the packet hooks call: load_bytes, socket uid, both clocks. */
int sl_probe_packet(void);

/* Socket storage with BPF_F_CLONE, used from connect4, sock_create and egress. */
int sl_probe_socket_storage(void);
/* Ring buffer, reserved and submitted from a packet hook. */
int sl_probe_ringbuf(void);
/* Tables of different sizes (MMAPABLE | INNER_MAP), mapped, in an array of maps. */
int sl_probe_table_maps(void);
/* A spin lock in an array, taken in a packet hook. */
int sl_probe_spin_lock(void);
/* Atomic operations that return the old value (-mcpu=v3, 5.12). */
int sl_probe_atomics(void);
/* A global function, verified on its own. */
int sl_probe_function(void);

/* BPF LSM programs: for the machine (loaded only), and for one cgroup (6.0). */
int sl_probe_lsm(void);
int sl_probe_lsm_cgroup(int cgroup_fd);

/* A tc program on the loopback device of a network namespace made for it: as a
 * tcx link (6.6), or by a clsact queueing discipline. */
int sl_probe_tcx(void);
int sl_probe_clsact(void);

/* What guards the other end of a veth: tcx, and a tc program that reads the sk_buff it is
 * given (the kfunc bpf_cast_to_kern_ctx, 6.2; needs CAP_PERFMON). */
int sl_probe_peer(void);

/* The kfunc bpf_sock_destroy in a TCP iterator (6.5). */
int sl_probe_sock_destroy(void);

/* Runs fn(arg) in a child; what it returned, or -errno of making the child.
 * -EPROTO: it was killed. */
int sl_probe_in_child(int (*fn)(void *arg), void *arg);

#endif
