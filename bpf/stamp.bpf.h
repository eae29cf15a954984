/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SLUICE_STAMP_BPF_H
#define SLUICE_STAMP_BPF_H

#include <bpf/bpf_core_read.h>

#include "socket.bpf.h"
#include "vmlinux.h"

/* Stamps the creator's fsuid, which is what sk_uid begins as (net/socket.c). A
 * socket that cannot be stamped is refused, a rule that denies its user would
 * not know it; and so is one whose packets other sockets send. */
static __always_inline int sl_stamp(struct bpf_sock *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct sl_socket *stamp;

	if (sl_sends_by_others(ctx->protocol))
		return 0;
	stamp = bpf_sk_storage_get(&sl_sockets, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!stamp)
		return 0;
	stamp->uid = BPF_CORE_READ(task, cred, fsuid.val);
	stamp->flags |= SL_SOCK_UID;
	sl_note_process(stamp);
	return 1;
}

#endif
