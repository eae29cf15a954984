/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The few kernel types that we look into, with the fields that we read: CO-RE
 * relocates them at load by name, so this is not a copy of any one kernel's
 * layout. Everything else comes from the UAPI headers.
 *
 * Sources: include/linux/sched.h, include/linux/cred.h, include/linux/skbuff.h, include/linux/netdevice.h,
 * include/linux/mm_types.h, include/net/net_namespace.h, include/net/sock.h, include/linux/cgroup-defs.h,
 * include/linux/kernfs.h.
 */
#ifndef SLUICE_VMLINUX_H
#define SLUICE_VMLINUX_H

#include <linux/types.h>

/* Of a name of our own, and not relocated: bio_vec in 6.1, skb_frag in 6.12, of one layout. */
struct sl_skb_frag {
	unsigned long page;
	__u32 bytes;
	__u32 offset;
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	__u32 val;
} kuid_t;

struct cred {
	kuid_t uid;
	kuid_t fsuid;
};

struct task_struct {
	const struct cred *cred;
};

struct net {
	__u64 net_cookie;		/* what SO_NETNS_COOKIE tells */
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	int ifindex;
	possible_net_t nd_net;
	void *tcx_ingress;		/* from 6.6 on */
};

struct sk_buff {
	struct net_device *dev;
	__u8 tc_skip_classify : 1;	/* tc ingress shall not see it: set by ifb (drivers/net/ifb.c) */
	__u16 csum_start, csum_offset;	/* from the head of the buffer; from csum_start */
	__u16 mac_header;		/* from the head */
	__u8 ip_summed : 2;
	unsigned char *head;
	unsigned int end;		/* from head; there stands skb_shared_info */
};

struct skb_shared_info {
	__u8 flags;
	__u8 nr_frags;
	struct sl_skb_frag frags[0];
};

typedef struct {
	int counter;
} atomic_t;

struct page {
	void *mapping;
	unsigned long compound_head;	/* of a page within a larger one: it, and 1 */
	atomic_t _mapcount;		/* -1: in no address space */
};

enum pageflags {
	PG_uptodate,			/* where it is in the kernel says its BTF */
};

struct kernfs_node {
	__u64 id;
};

struct cgroup {
	int level;			/* the root's is 0 */
	struct kernfs_node *kn;
	struct cgroup *ancestors[0];	/* by level; its own is the last */
};

struct sock_cgroup_data {
	struct cgroup *cgroup;
};

struct sock_common {
	possible_net_t skc_net;
};

struct sock {
	struct sock_cgroup_data sk_cgrp_data;
};

#pragma clang attribute pop

#endif
