// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The uid stamp, for policies with uid rules. An object of its own: it looks
 * into the kernel's structures, and reading the kernel's BTF for that takes 10
 * ms that other policies need not pay.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "vmlinux.h"
#include "socket.bpf.h"

/* Stamps the creator's fsuid, which is what sk_uid begins as (net/socket.c). A
 * socket that cannot be stamped is refused, a rule that denies its user would
 * not know it; and so is an MPTCP one: the kernel makes the sockets that send. */
SEC("cgroup/sock_create")
int sluice_stamp(struct bpf_sock *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct sl_socket *stamp;

	if (ctx->protocol == SL_PROTO_MPTCP)
		return 0;
	stamp = bpf_sk_storage_get(&sl_sockets, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!stamp)
		return 0;
	stamp->uid = BPF_CORE_READ(task, cred, fsuid.val);
	stamp->flags |= SL_SOCK_UID;
	sl_note_process(stamp);
	return 1;
}

char _license[] SEC("license") = "Dual BSD/GPL";
