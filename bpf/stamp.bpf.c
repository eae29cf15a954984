// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The uid stamp, for policies with uid rules. An object of its own: it looks
 * into the kernel's structures, and reading the kernel's BTF for that takes 10
 * ms that other policies need not pay.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "stamp.bpf.h"

SEC("cgroup/sock_create")
int sluice_stamp(struct bpf_sock *ctx)
{
	return sl_stamp(ctx);
}

char _license[] SEC("license") = "Dual BSD/GPL";
