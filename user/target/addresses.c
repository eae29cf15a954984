// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Whether addresses or routes changed: not what, since the whole is read again. */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include "links.h"

#define MESSAGE_BUFFER (32u << 10)
#define GROUPS (RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE)

int sl_addresses_open(void)
{
	struct sockaddr_nl local = {.nl_family = AF_NETLINK, .nl_groups = GROUPS};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	int err;

	if (fd < 0)
		return -errno;
	if (!bind(fd, (struct sockaddr *)&local, sizeof(local)))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

/* The routes that the kernel makes beside each address, and cached ones, say nothing. */
static bool matters(const struct nlmsghdr *nlh)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);

	if (nlh->nlmsg_type == RTM_NEWADDR || nlh->nlmsg_type == RTM_DELADDR)
		return true;
	if (nlh->nlmsg_type != RTM_NEWROUTE && nlh->nlmsg_type != RTM_DELROUTE)
		return false;
	return mnl_nlmsg_get_payload_len(nlh) >= sizeof(*rtm) && rtm->rtm_type == RTN_UNICAST &&
	       rtm->rtm_table != RT_TABLE_LOCAL && !(rtm->rtm_flags & RTM_F_CLONED);
}

int sl_addresses_read(int fd)
{
	char buf[MESSAGE_BUFFER] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlmsghdr *nlh;
	int changed = 0, left;
	ssize_t got;

	for (;;) {
		got = recv(fd, buf, sizeof(buf), 0);
		if (got < 0 && errno == EAGAIN)
			return changed;
		if (got < 0 && errno != ENOBUFS && errno != EINTR)
			return -errno;
		if (got < 0 && errno == ENOBUFS)
			changed = 1;
		left = (int)got;
		for (nlh = (const void *)buf; got > 0 && mnl_nlmsg_ok(nlh, left);
		     nlh = mnl_nlmsg_next(nlh, &left))
			changed |= matters(nlh);
	}
}
