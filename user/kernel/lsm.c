// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The socket family allowlist: optional, a program and an object of its own. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lsm.h"
#include "lsm.skel.h"

static int say_nothing(enum libbpf_print_level level, const char *format, va_list args)
{
	return 0;
}

/* The maps that the program uses become the target's; the others, which the
 * shared headers define, are not made. */
static int share_maps(struct lsm *skel, const struct sl_lsm_maps *maps)
{
	const struct {
		struct bpf_map *map;
		int fd;
	} shared[] = {
		{skel->maps.sl_tables, maps->tables},
		{skel->maps.sl_words, maps->words},
		{skel->maps.sl_stats, maps->stats},
		{skel->maps.sl_hits, maps->hits},
		{skel->maps.sl_budgets, maps->budgets},
		{skel->maps.sl_events, maps->events},
	};
	struct bpf_map *map;
	size_t i;
	int err = 0;

	bpf_object__for_each_map(map, skel->obj) {
		if (!bpf_map__is_internal(map))
			bpf_map__set_autocreate(map, false);
	}
	for (i = 0; !err && i < sizeof(shared) / sizeof(*shared); i++) {
		bpf_map__set_autocreate(shared[i].map, true);
		err = bpf_map__reuse_fd(shared[i].map, shared[i].fd);
	}
	return err;
}

static int load(struct lsm *skel, const struct sl_lsm_maps *maps)
{
	int err;

	skel->rodata->sl_slot = maps->slot;
	err = share_maps(skel, maps);
	return err ? err : lsm__load(skel);
}

/* No socket of AF_UNSPEC can be made: the kernel says EAFNOSUPPORT, the program
 * EPROTONOSUPPORT. No exit signal: the child can be waited for even if this
 * process was started with SIGCHLD ignored. */
static int child_is_asked(int cgroup_fd)
{
	struct clone_args args = {.flags = CLONE_INTO_CGROUP, .cgroup = (__u64)cgroup_fd};
	pid_t pid = syscall(SYS_clone3, &args, sizeof(args));
	int status;

	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(socket(AF_UNSPEC, SOCK_RAW, 0) < 0 && errno == EPROTONOSUPPORT ? 0 : 1);
	while (waitpid(pid, &status, __WALL) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EOPNOTSUPP;
}

static int attach(struct lsm *skel, int cgroup_fd)
{
	int fd = bpf_program__fd(skel->progs.sluice_socket_create), err;

	if (bpf_prog_attach(fd, cgroup_fd, BPF_LSM_CGROUP, BPF_F_ALLOW_MULTI))
		return -errno;
	err = child_is_asked(cgroup_fd);
	if (err)
		bpf_prog_detach2(fd, cgroup_fd, BPF_LSM_CGROUP);
	return err;
}

/* What a kernel says that has no such programs: no BTF of the hook (ESRCH,
 * ENOENT), no attach type (EINVAL), no trampolines (ENOTSUPP, 524). */
static int is_refusal(int err)
{
	return err == -ESRCH || err == -ENOENT || err == -EINVAL || err == -524 ||
	       err == -EOPNOTSUPP;
}

/* Some hosts refuse every LSM program before they look at it. To ask first, with
 * a program that no kernel takes (BTF type 1 is no hook), spares them the reading
 * of the kernel's BTF: 17 ms. */
static bool host_refuses(void)
{
	const struct bpf_insn exit[] = {{.code = BPF_JMP | BPF_EXIT}};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_LSM_CGROUP,
		    .attach_btf_id = 1);

	return bpf_prog_load(BPF_PROG_TYPE_LSM, NULL, "Dual BSD/GPL", exit, 1, &opts) == -EPERM;
}

int sl_lsm_attach(int cgroup_fd, const struct sl_lsm_maps *maps, struct sl_diag *diag)
{
	libbpf_print_fn_t before;
	struct lsm *skel;
	int err;

	if (host_refuses())
		return -EPERM;
	before = libbpf_set_print(say_nothing);
	skel = lsm__open();
	err = skel ? load(skel, maps) : -errno;
	if (!err)
		err = attach(skel, cgroup_fd);
	lsm__destroy(skel);
	libbpf_set_print(before);
	if (is_refusal(err))
		return -EOPNOTSUPP;
	if (err && err != -EPERM)
		sl_error(diag, NULL, "the socket family program cannot be attached: %s",
			 strerror(-err));
	return err;
}
