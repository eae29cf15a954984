// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Programs: hooks, helpers, program types. The maps are in probe_maps.c. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "kernel/probe.h"
#include "kernel/probe_insn.h"

/* linux/bpf.h of 6.6; Debian 12's header is of 6.1. */
#define TCX_INGRESS 46
#define LOOPBACK_IFINDEX 1

int sl_probe_load(enum bpf_prog_type type, enum bpf_attach_type attach,
		  const struct bpf_insn *insns, size_t n)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach);
	int fd = bpf_prog_load(type, "sluice_probe", "Dual BSD/GPL", insns, n, &opts);

	return fd < 0 ? -errno : fd;
}

int sl_probe_load_once(enum bpf_prog_type type, enum bpf_attach_type attach,
		       const struct bpf_insn *insns, size_t n)
{
	int fd = sl_probe_load(type, attach, insns, n);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

int sl_probe_in_child(int (*fn)(void *arg), void *arg)
{
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(-fn(arg) & 0xff);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EPROTO;
}

/* ---- cgroup hooks ---- */

int sl_probe_cgroup_program(enum bpf_prog_type type, enum bpf_attach_type attach, int cgroup_fd)
{
	const struct bpf_insn pass[] = {MOV_IMM(BPF_REG_0, 1), EXIT};
	int fd = sl_probe_load(type, attach, pass, N_INSNS(pass)), err = 0;

	if (fd < 0)
		return fd;
	if (cgroup_fd >= 0) {
		if (bpf_prog_attach(fd, cgroup_fd, attach, BPF_F_ALLOW_MULTI))
			err = -errno;
		else if (bpf_prog_detach2(fd, cgroup_fd, attach))
			err = -errno;
	}
	close(fd);
	return err;
}

/* A UDP connect sends nothing and cannot be refused by anybody else. */
static int connect_inside(void *arg)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	int cgroup_fd = *(int *)arg, procs, fd;

	procs = openat(cgroup_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (procs < 0 || write(procs, "0", 1) != 1)
		return -errno;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (!connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return -EPROTO;
	return errno == ECONNREFUSED ? 0 : -errno;
}

int sl_probe_retval(int cgroup_fd)
{
	const struct bpf_insn refuse[] = {
		MOV_IMM(BPF_REG_1, -ECONNREFUSED),
		CALL(BPF_FUNC_set_retval),
		MOV_IMM(BPF_REG_0, 0),
		EXIT,
	};
	int fd, err;

	fd = sl_probe_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, refuse,
			   N_INSNS(refuse));
	if (fd < 0)
		return fd;
	if (cgroup_fd < 0) {
		close(fd);
		return 0;
	}
	if (bpf_prog_attach(fd, cgroup_fd, BPF_CGROUP_INET4_CONNECT, BPF_F_ALLOW_MULTI)) {
		err = -errno;
	} else {
		err = sl_probe_in_child(connect_inside, &cgroup_fd);
		bpf_prog_detach2(fd, cgroup_fd, BPF_CGROUP_INET4_CONNECT);
	}
	close(fd);
	return err;
}

int sl_probe_ancestor(void)
{
	const struct bpf_insn insns[] = {
		MOV_IMM(BPF_REG_1, 0),
		CALL(BPF_FUNC_get_current_ancestor_cgroup_id),
		MOV_IMM(BPF_REG_0, 1),
		EXIT,
	};

	return sl_probe_load_once(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, insns,
				  N_INSNS(insns));
}

int sl_probe_process(void)
{
	const struct bpf_insn insns[] = {
		CALL(BPF_FUNC_get_current_pid_tgid),
		CALL(BPF_FUNC_get_current_uid_gid),
		MOV_REG(BPF_REG_1, BPF_REG_10),
		ADD_IMM(BPF_REG_1, -16),
		MOV_IMM(BPF_REG_2, 16),
		CALL(BPF_FUNC_get_current_comm),
		MOV_IMM(BPF_REG_0, 1),
		EXIT,
	};

	return sl_probe_load_once(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, insns,
				  N_INSNS(insns));
}

int sl_probe_creator(void)
{
	const struct bpf_insn insns[] = {
		CALL(BPF_FUNC_get_current_task), MOV_REG(BPF_REG_3, BPF_REG_0),
		MOV_REG(BPF_REG_1, BPF_REG_10),	 ADD_IMM(BPF_REG_1, -8),
		MOV_IMM(BPF_REG_2, 8),		 CALL(BPF_FUNC_probe_read_kernel),
		MOV_IMM(BPF_REG_0, 1),		 EXIT,
	};

	return sl_probe_load_once(BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET_SOCK_CREATE, insns,
				  N_INSNS(insns));
}

int sl_probe_packet(void)
{
	const struct bpf_insn insns[] = {
		MOV_REG(BPF_REG_6, BPF_REG_1),
		CALL(BPF_FUNC_get_socket_uid),
		CALL(BPF_FUNC_ktime_get_boot_ns),
		CALL(BPF_FUNC_ktime_get_coarse_ns),
		MOV_REG(BPF_REG_1, BPF_REG_6),
		MOV_IMM(BPF_REG_2, 0),
		MOV_REG(BPF_REG_3, BPF_REG_10),
		ADD_IMM(BPF_REG_3, -8),
		MOV_IMM(BPF_REG_4, 8),
		CALL(BPF_FUNC_skb_load_bytes),
		MOV_IMM(BPF_REG_0, 1),
		EXIT,
	};

	return sl_probe_load_once(BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, insns,
				  N_INSNS(insns));
}

int sl_probe_atomics(void)
{
	const struct bpf_insn insns[] = {
		STORE_IMM(BPF_REG_10, -8, 0),
		MOV_IMM(BPF_REG_1, 1),
		ATOMIC(BPF_REG_10, -8, BPF_REG_1, BPF_ADD | BPF_FETCH),
		ATOMIC(BPF_REG_10, -8, BPF_REG_1, BPF_OR | BPF_FETCH),
		MOV_IMM(BPF_REG_0, 1),
		EXIT,
	};

	return sl_probe_load_once(BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, insns,
				  N_INSNS(insns));
}

/* ---- BPF LSM ---- */

static int load_lsm(enum bpf_attach_type attach)
{
	const struct bpf_insn pass[] = {MOV_IMM(BPF_REG_0, 1), EXIT};
	const struct bpf_insn zero[] = {MOV_IMM(BPF_REG_0, 0), EXIT};
	/* the function's name is the same for both attach types */
	int id = libbpf_find_vmlinux_btf_id("socket_create", BPF_LSM_MAC), fd;
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach,
		    .attach_btf_id = (__u32)id);

	if (id <= 0)
		return id ? id : -ENOENT;
	fd = bpf_prog_load(BPF_PROG_TYPE_LSM, "sluice_probe", "Dual BSD/GPL",
			   attach == BPF_LSM_MAC ? zero : pass, N_INSNS(pass), &opts);
	return fd < 0 ? -errno : fd;
}

int sl_probe_lsm(void)
{
	int fd = load_lsm(BPF_LSM_MAC);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

int sl_probe_lsm_cgroup(int cgroup_fd)
{
	int fd = load_lsm(BPF_LSM_CGROUP), err = 0;

	if (fd < 0)
		return fd;
	if (cgroup_fd >= 0) {
		int link = bpf_link_create(fd, cgroup_fd, BPF_LSM_CGROUP, NULL);

		if (link < 0)
			err = -errno;
		else
			close(link);
	}
	close(fd);
	return err;
}

/* ---- tc ---- */

static int load_tc(void)
{
	const struct bpf_insn next[] = {MOV_IMM(BPF_REG_0, -1), EXIT};

	return sl_probe_load(BPF_PROG_TYPE_SCHED_CLS, 0, next, N_INSNS(next));
}

static int tcx_inside(void *arg)
{
	int fd, link;

	if (unshare(CLONE_NEWNET))
		return -errno;
	fd = load_tc();
	if (fd < 0)
		return fd;
	link = bpf_link_create(fd, LOOPBACK_IFINDEX, (enum bpf_attach_type)TCX_INGRESS, NULL);
	return link < 0 ? -errno : 0;
}

static int clsact_inside(void *arg)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = LOOPBACK_IFINDEX, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts);
	int err;

	if (unshare(CLONE_NEWNET))
		return -errno;
	opts.prog_fd = load_tc();
	if (opts.prog_fd < 0)
		return opts.prog_fd;
	err = bpf_tc_hook_create(&hook);
	return err ? err : bpf_tc_attach(&hook, &opts);
}

int sl_probe_tcx(void)
{
	return sl_probe_in_child(tcx_inside, NULL);
}

int sl_probe_clsact(void)
{
	return sl_probe_in_child(clsact_inside, NULL);
}

int sl_probe_peer(void)
{
	struct bpf_insn insns[] = {KFUNC(0), LOAD(BPF_REG_0, BPF_REG_0, 0), MOV_IMM(BPF_REG_0, -1),
				   EXIT};
	struct btf *kernel = btf__load_vmlinux_btf();
	int err;

	if (!kernel)
		return -errno;
	insns[0].imm = btf__find_by_name_kind(kernel, "bpf_cast_to_kern_ctx", BTF_KIND_FUNC);
	btf__free(kernel);
	if (insns[0].imm < 0)
		return -ENOENT;
	err = sl_probe_load_once(BPF_PROG_TYPE_SCHED_CLS, 0, insns, N_INSNS(insns));
	return err ? err : sl_probe_tcx();
}

/* ---- killing live connections ---- */

int sl_probe_sock_destroy(void)
{
	struct bpf_insn insns[] = {
		LOAD(BPF_REG_1, BPF_REG_1, 8), /* struct bpf_iter__tcp: sk_common */
		SKIP_IF_ZERO(BPF_REG_1, 1),    KFUNC(0), MOV_IMM(BPF_REG_0, 0), EXIT,
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_ITER);
	struct btf *kernel = btf__load_vmlinux_btf();
	int kfunc, iterator, fd;

	if (!kernel)
		return -errno;
	kfunc = btf__find_by_name_kind(kernel, "bpf_sock_destroy", BTF_KIND_FUNC);
	iterator = btf__find_by_name_kind(kernel, "bpf_iter_tcp", BTF_KIND_FUNC);
	btf__free(kernel);
	if (kfunc < 0 || iterator < 0)
		return -ENOENT;
	insns[2].imm = kfunc;
	opts.attach_btf_id = (__u32)iterator;
	fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, "sluice_probe", "Dual BSD/GPL", insns,
			   N_INSNS(insns), &opts);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}
