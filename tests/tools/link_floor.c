// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * link_floor DEVICE...
 * Links a program of two instructions to both directions of each device, takes it off
 * again, and prints how long the kernel took for each, in milliseconds: no `attach` can be
 * faster, since the kernel waits for a grace period each time, under its network lock.
 */
#include <bpf/bpf.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kernel/tc.h"

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e3 + ts.tv_nsec / 1e6;
}

static int load(void)
{
	const struct bpf_insn code[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "link_floor", "GPL", code, 2, NULL);
}

static int measure(int program, const char *device, double *on, double *off)
{
	unsigned ifindex = if_nametoindex(device);
	double begin = now_ms(), linked;
	int from = sl_tcx_link(program, ifindex, SL_EGRESS);
	int to = from < 0 ? from : sl_tcx_link(program, ifindex, SL_INGRESS);

	linked = now_ms();
	if (from >= 0 && bpf_link_detach(from))
		return -1;
	if (to < 0 || bpf_link_detach(to)) {
		fprintf(stderr, "%s: %s\n", device, strerror(to < 0 ? -to : 1));
		return -1;
	}
	*on += linked - begin;
	*off += now_ms() - linked;
	close(from);
	close(to);
	return 0;
}

int main(int argc, char **argv)
{
	int program = load(), i;
	double on = 0, off = 0;

	if (program < 0 || argc < 2)
		return 1;
	for (i = 1; i < argc; i++)
		if (measure(program, argv[i], &on, &off))
			return 1;
	printf("%.1f %.1f\n", on / (argc - 1), off / (argc - 1));
	return 0;
}
