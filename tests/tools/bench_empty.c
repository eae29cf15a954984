// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * bench_empty CGROUP COMMAND...: what the hooks themselves cost. Makes the cgroup, attaches a
 * program that allows and does nothing else to each hook that `sluice run` uses, and becomes
 * the command inside it. The caller removes the cgroup.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
	enum bpf_prog_type type;
	enum bpf_attach_type attach;
} hooks[] = {
	{BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET_SOCK_CREATE},
	{BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT},
	{BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET6_CONNECT},
	{BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP4_SENDMSG},
	{BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP6_SENDMSG},
	{BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS},
	{BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS},
};

static __attribute__((noreturn)) void die(const char *what)
{
	fprintf(stderr, "bench_empty: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void attach(int cgroup, size_t i)
{
	static const struct bpf_insn allow[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = hooks[i].attach);
	int program = bpf_prog_load(hooks[i].type, "empty", "GPL", allow, 2, &options);

	if (program < 0 || bpf_prog_attach(program, cgroup, hooks[i].attach, BPF_F_ALLOW_MULTI))
		die("attach");
	close(program);
}

static void enter(const char *cgroup)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		die(path);
	close(fd);
}

int main(int argc, char **argv)
{
	int cgroup;

	if (argc < 3)
		return 2;
	if (mkdir(argv[1], 0755) && errno != EEXIST)
		die(argv[1]);
	cgroup = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cgroup < 0)
		die(argv[1]);
	for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++)
		attach(cgroup, i);
	enter(argv[1]);
	execvp(argv[2], argv + 2);
	die(argv[2]);
}
