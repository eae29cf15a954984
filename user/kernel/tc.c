// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "expedite.h"
#include "tc.h"

/* include/uapi/linux/bpf.h of 6.6; Debian 12's headers are older. */
#define TCX_INGRESS 46
#define TCX_EGRESS 47
#define LINK_TYPE_TCX 11
#define TCX_BEFORE (1u << 3)	/* BPF_F_BEFORE, and no other named: before all */

struct tcx_link_attr {
	__u32 prog_fd, ifindex, attach_type, flags;
	__u32 relative_fd, pad;
	__u64 expected_revision;
};

int sl_tcx_link(int prog_fd, unsigned ifindex, enum sl_direction direction)
{
	struct tcx_link_attr attr = {.prog_fd = prog_fd, .ifindex = ifindex,
				     .attach_type = direction == SL_EGRESS ? TCX_INGRESS :
									     TCX_EGRESS,
				     .flags = TCX_BEFORE};
	int fd;

	sl_expedite_begin();
	fd = syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
	if (fd < 0)
		fd = -errno;
	sl_expedite_end();
	return fd;
}

int sl_tcx_link_ifindex(const char *pin, __u32 *id)
{
	struct bpf_link_info info = {};
	__u32 size = sizeof(info);
	int fd = bpf_obj_get(pin), err;

	if (fd < 0)
		return -errno;
	err = bpf_obj_get_info_by_fd(fd, &info, &size);
	close(fd);
	if (err)
		return -errno;
	*id = info.id;
	/* tcx.ifindex stands where xdp.ifindex does */
	return (int)info.xdp.ifindex;
}

int sl_tcx_ifindex(const char *pin)
{
	__u32 id;

	return sl_tcx_link_ifindex(pin, &id);
}

/* The kernel compares only the kind of program (kernel/bpf/tcx.c, tcx_link_update). */
int sl_tcx_replace(const char *pin, enum sl_direction direction, int prog_fd)
{
	struct bpf_link_info info = {};
	__u32 size = sizeof(info), tcx[2];	/* ifindex, attach_type */
	int fd = bpf_obj_get(pin), err;

	if (fd < 0)
		return -errno;
	err = bpf_obj_get_info_by_fd(fd, &info, &size) ? -errno : 0;
	memcpy(tcx, &info.xdp, sizeof(tcx));
	if (!err && (info.type != LINK_TYPE_TCX ||
		     tcx[1] != (direction == SL_EGRESS ? TCX_INGRESS : TCX_EGRESS)))
		err = -EXDEV;
	if (!err && !tcx[0])
		err = -ENOLINK;
	if (!err && prog_fd >= 0 && bpf_link_update(fd, prog_fd, NULL))
		err = -errno;
	close(fd);
	return err;
}

struct tcx_query_attr {
	__u32 target_ifindex, attach_type, query_flags, attach_flags;
	__u64 prog_ids;
	__u32 count, pad;
	__u64 prog_attach_flags, link_ids, link_attach_flags, revision;
};

/* Of a longer list the kernel tells the beginning, and ENOSPC (kernel/bpf/mprog.c). */
int sl_tcx_first(unsigned ifindex, enum sl_direction direction, __u32 *program)
{
	__u32 ids[4] = {};
	struct tcx_query_attr attr = {.target_ifindex = ifindex,
				      .attach_type = direction == SL_EGRESS ? TCX_INGRESS :
									      TCX_EGRESS,
				      .prog_ids = (__u64)(unsigned long)ids, .count = 4};

	if (syscall(SYS_bpf, BPF_PROG_QUERY, &attr, sizeof(attr)) && errno != ENOSPC)
		return -errno;
	*program = attr.count ? ids[0] : 0;
	return 0;
}

#define TCX_LINKS_MAX 64	/* BPF_MPROG_MAX */

int sl_tcx_has_link(unsigned ifindex, enum sl_direction direction, __u32 id)
{
	__u32 programs[TCX_LINKS_MAX] = {}, links[TCX_LINKS_MAX] = {}, i;
	struct tcx_query_attr attr = {.target_ifindex = ifindex,
				      .attach_type = direction == SL_EGRESS ? TCX_INGRESS :
									      TCX_EGRESS,
				      .prog_ids = (__u64)(unsigned long)programs,
				      .link_ids = (__u64)(unsigned long)links,
				      .count = TCX_LINKS_MAX};

	if (syscall(SYS_bpf, BPF_PROG_QUERY, &attr, sizeof(attr)))
		return -errno;
	for (i = 0; i < attr.count && links[i] != id; i++)
		;
	return i < attr.count;
}

#define HANDLE 1
#define PRIORITY 1

static struct bpf_tc_hook hook_of(unsigned ifindex, enum sl_direction direction)
{
	return (struct bpf_tc_hook){.sz = sizeof(struct bpf_tc_hook), .ifindex = (int)ifindex,
				    .attach_point = direction == SL_EGRESS ? BPF_TC_INGRESS :
									     BPF_TC_EGRESS};
}

int sl_clsact_attach(int prog_fd, unsigned ifindex, enum sl_direction direction,
		     bool *made_qdisc)
{
	struct bpf_tc_hook hook = hook_of(ifindex, direction);
	LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = prog_fd, .handle = HANDLE,
		    .priority = PRIORITY);
	int err = bpf_tc_hook_create(&hook);

	if (err && err != -EEXIST)
		return err;
	if (!err)
		*made_qdisc = true;
	return bpf_tc_attach(&hook, &options);
}

int sl_clsact_replace(int prog_fd, unsigned ifindex, enum sl_direction direction)
{
	struct bpf_tc_hook hook = hook_of(ifindex, direction);
	LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = prog_fd, .handle = HANDLE,
		    .priority = PRIORITY, .flags = BPF_TC_F_REPLACE);

	return bpf_tc_attach(&hook, &options);
}

int sl_clsact_detach(unsigned ifindex, enum sl_direction direction)
{
	struct bpf_tc_hook hook = hook_of(ifindex, direction);
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = HANDLE, .priority = PRIORITY);

	return bpf_tc_detach(&hook, &options);
}

int sl_clsact_remove_qdisc(unsigned ifindex)
{
	struct bpf_tc_hook hook = hook_of(ifindex, SL_EGRESS);

	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	return bpf_tc_hook_destroy(&hook);
}

__u32 sl_clsact_program(unsigned ifindex, enum sl_direction direction)
{
	struct bpf_tc_hook hook = hook_of(ifindex, direction);
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = HANDLE, .priority = PRIORITY);

	return bpf_tc_query(&hook, &options) ? 0 : options.prog_id;
}

bool sl_clsact_is_attached(unsigned ifindex, enum sl_direction direction, __u32 prog_id)
{
	return sl_clsact_program(ifindex, direction) == prog_id;
}
