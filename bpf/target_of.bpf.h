/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which target a socket, a packet or a task is of: that of its cgroup, or of the
 * nearest cgroup above it that is one.
 *
 * The programs are attached at attach points, and run for all cgroups below: the levels
 * at which there are targets stand in the attach point's storage, deepest first, so that
 * only these are looked up. A target's word says which attach point judges it, by its
 * level. Another one passes its sockets: where attach points are one above the other,
 * as one is folded into the other, every socket is judged once. Of these the kernel runs
 * the lower one's programs first, and targets only ever move to the upper one: what the
 * lower one left, the upper one takes.
 *
 * Nobody's: sockets that no target covers; they pass. Only a target that was detached
 * above others leaves such.
 */
#ifndef SLUICE_TARGET_OF_BPF_H
#define SLUICE_TARGET_OF_BPF_H

#include <bpf/bpf_core_read.h>

#include "sluice_abi.h"
#include "vmlinux.h"

/* By cgroup id. Full: user space is told so, and attaches nothing. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);		/* loader */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u64);
} sl_cgroups SEC(".maps");

/* One for each attach point, made by the kernel with its first link; all zero until it
 * is written: nothing is judged there. */
struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, __u64);
	__type(value, struct sl_point);
} sl_points SEC(".maps");

enum { SL_NOBODYS = -1, SL_NO_TARGET = -2 };

/* The slot of the target that this cgroup itself is. An update puts another element in the
 * place of the one that was found, which may be a third one's already: then it is
 * looked up again. Found so each time, which nobody can bring about, it is a slot that
 * no target has: refused. */
static __always_inline int sl_slot_at(const struct sl_point *p, __u64 id)
{
	__u64 *found, word;
	int i;

	for (i = 0; i < 4; i++) {
		found = bpf_map_lookup_elem(&sl_cgroups, &id);
		if (!found)
			return SL_NO_TARGET;
		word = *(const volatile __u64 *)found;
		if (word >> SL_CGROUP_WORD_SHIFT ==
		    id << SL_CGROUP_WORD_SHIFT >> SL_CGROUP_WORD_SHIFT)
			return SL_CGROUP_WORD_LEVEL(word) == p->level ?
				       (int)SL_CGROUP_WORD_SLOT(word) : SL_NOBODYS;
	}
	return SL_SLOT_NONE;
}

/* Not static: verified once. */
__noinline int sl_slot_of_packet(struct __sk_buff *skb)
{
	const struct sl_point *p = bpf_get_local_storage(&sl_points, 0);
	int slot = SL_NO_TARGET;
	__u32 level, i;
	__u64 id;

	for (i = 0; i < SL_POINT_LEVELS && i < p->n && slot == SL_NO_TARGET; i++) {
		level = p->levels[i];
		id = level == p->level ? p->cgroup_id : bpf_skb_ancestor_cgroup_id(skb, level);
		if (id)
			slot = sl_slot_at(p, id);
	}
	return slot < 0 ? SL_NOBODYS : slot;
}

/* No helper tells the cgroup of a socket at these hooks. Nor lets the verifier look
 * into a socket: its address is read as a number, from the stack. */
static __always_inline struct cgroup *sl_cgroup_of(const void *socket)
{
	struct sock *sk = NULL;

	bpf_probe_read_kernel(&sk, sizeof(sk), &socket);
	return BPF_CORE_READ(sk, sk_cgrp_data.cgroup);
}

/* The cookie of its network namespace, which not every note of a socket tells: one may be
 * older than the programs. */
static __always_inline __u64 sl_netns_of(const void *socket)
{
	struct sock_common *sk = NULL;

	bpf_probe_read_kernel(&sk, sizeof(sk), &socket);
	return BPF_CORE_READ(sk, skc_net.net, net_cookie);
}

/* Not static: verified once, and off the hook's stack. */
__noinline __u64 sl_netns_of_packet(struct __sk_buff *skb)
{
	return skb->sk ? sl_netns_of(skb->sk) : 0;
}

static __always_inline __u64 sl_ancestor_of(struct cgroup *cgroup, __u32 level)
{
	void *ancestors = (void *)cgroup + bpf_core_field_offset(cgroup->ancestors);
	struct cgroup *ancestor = NULL;

	bpf_probe_read_kernel(&ancestor, sizeof(ancestor), ancestors + level * sizeof(ancestor));
	return BPF_CORE_READ(ancestor, kn, id);
}

/* A cgroup that cannot be read has no ancestors, and its socket is nobody's: it can
 * be none that the programs run for. */
static __always_inline int sl_slot_of_cgroup(struct cgroup *cgroup)
{
	const struct sl_point *p = bpf_get_local_storage(&sl_points, 0);
	__u32 own = (__u32)BPF_CORE_READ(cgroup, level), level, i;
	int slot = SL_NO_TARGET;
	__u64 id;

	for (i = 0; i < SL_POINT_LEVELS && i < p->n && slot == SL_NO_TARGET; i++) {
		level = p->levels[i];
		if (level > own)
			continue;
		id = level == p->level ? p->cgroup_id : sl_ancestor_of(cgroup, level);
		if (id)
			slot = sl_slot_at(p, id);
	}
	return slot < 0 ? SL_NOBODYS : slot;
}

__noinline int sl_slot_of_socket(struct bpf_sock_addr *ctx)
{
	return ctx->sk ? sl_slot_of_cgroup(sl_cgroup_of(ctx->sk)) : SL_NOBODYS;
}

static __always_inline int sl_slot_of_new(struct bpf_sock *ctx)
{
	return sl_slot_of_cgroup(sl_cgroup_of(ctx));
}

__noinline int sl_slot_of_task(void)
{
	const struct sl_point *p = bpf_get_local_storage(&sl_points, 0);
	int slot = SL_NO_TARGET;
	__u32 i;
	__u64 id;

	if (bpf_get_current_ancestor_cgroup_id(p->level) != p->cgroup_id)
		return SL_NOBODYS;
	for (i = 0; i < SL_POINT_LEVELS && i < p->n && slot == SL_NO_TARGET; i++) {
		id = bpf_get_current_ancestor_cgroup_id(p->levels[i]);
		if (id)
			slot = sl_slot_at(p, id);
	}
	return slot < 0 ? SL_NOBODYS : slot;
}

#endif
