// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* rtnetlink(7): which interface holds the addresses of a device's network. */
#include <libmnl/libmnl.h>
#include <limits.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "internal.h"

#define DEPTH_MAX 8		/* MAX_NEST_DEV of the kernel, net/core/dev.c */
#define REPLY_BUFFER (32u << 10)

struct link {
	unsigned master;	/* 0: none */
	bool routed;		/* the master is a VRF: the device keeps its addresses */
};

/* IFLA_INFO_SLAVE_KIND is the kind of the master, rtnl_link_slave_info_fill(). */
static int read_linkinfo(const struct nlattr *attr, void *data)
{
	struct link *link = data;

	if (mnl_attr_get_type(attr) == IFLA_INFO_SLAVE_KIND && mnl_attr_get_payload_len(attr) >= 4)
		link->routed = !memcmp(mnl_attr_get_payload(attr), "vrf", 4);
	return MNL_CB_OK;
}

static int read_attr(const struct nlattr *attr, void *data)
{
	struct link *link = data;

	if (mnl_attr_get_type(attr) == IFLA_MASTER &&
	    mnl_attr_get_payload_len(attr) >= sizeof(__u32))
		link->master = mnl_attr_get_u32(attr);
	else if (mnl_attr_get_type(attr) == IFLA_LINKINFO)
		return mnl_attr_parse_nested(attr, read_linkinfo, link);
	return MNL_CB_OK;
}

static int read_link(const struct nlmsghdr *nlh, void *data)
{
	if (nlh->nlmsg_type != RTM_NEWLINK ||
	    mnl_nlmsg_get_payload_len(nlh) < sizeof(struct ifinfomsg))
		return MNL_CB_OK;
	return mnl_attr_parse(nlh, sizeof(struct ifinfomsg), read_attr, data);
}

/* One link, whose absence is -ENODEV. */
static int get_link(struct mnl_socket *nl, unsigned seq, unsigned ifindex, struct link *link)
{
	char buf[REPLY_BUFFER] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;
	ssize_t got;

	nlh->nlmsg_type = RTM_GETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	nlh->nlmsg_seq = seq;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_index = (int)ifindex;
	mnl_attr_put_u32(nlh, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	got = mnl_socket_recvfrom(nl, buf, sizeof(buf));
	if (got < 0)
		return -errno;
	*link = (struct link){0};
	got = mnl_cb_run(buf, got, seq, mnl_socket_get_portid(nl), read_link, link);
	return got < 0 ? -errno : 0;
}

static int climb(struct mnl_socket *nl, unsigned ifindex, unsigned *upper)
{
	struct link link = {0};
	int err;

	for (unsigned seq = 1; seq <= DEPTH_MAX; seq++) {
		err = get_link(nl, seq, ifindex, &link);
		if (err)
			return err;
		if (!link.master || link.routed) {
			*upper = ifindex;
			return 0;
		}
		ifindex = link.master;
	}
	return -ELOOP;
}

int sl_link_upper(unsigned ifindex, unsigned *upper)
{
	struct mnl_socket *nl;
	int err = 0;

	/* 0 and what is no int name no interface; the kernel would say -EINVAL. */
	if (!ifindex || ifindex > INT_MAX)
		return -ENODEV;
	nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!nl)
		return -errno;
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID))
		err = -errno;
	if (!err)
		err = climb(nl, ifindex, upper);
	mnl_socket_close(nl);
	return err;
}
