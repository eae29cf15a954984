// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "processes.h"
#include "veth.h"

#define BUFFER (64u << 10) /* netlink_dump() fills at most 32 KiB */

/* ---- netlink ---- */

/* Sends the message and hands each answer to fn. 0 or -errno; -ENOMEM is no memory. */
static int ask(struct nlmsghdr *message, mnl_cb_t fn, void *context)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	unsigned seq = message->nlmsg_seq = (unsigned)time(NULL);
	char *buf = malloc(BUFFER);
	int got = nl && buf ? 1 : 0;

	if (!nl || !buf || mnl_socket_sendto(nl, message, message->nlmsg_len) < 0)
		got = buf ? -1 : (errno = ENOMEM, -1);
	while (got > 0) {
		ssize_t n = mnl_socket_recvfrom(nl, buf, BUFFER);

		got = n > 0 ? mnl_cb_run(buf, (size_t)n, seq, 0, fn, context) : -1;
	}
	got = got < 0 ? -errno : 0;
	if (nl)
		mnl_socket_close(nl);
	free(buf);
	return got;
}

/* ---- devices ---- */

struct each {
	sl_veth_fn *fn;
	void *context;
};

static int read_attribute(const struct nlattr *a, void *context)
{
	struct sl_veth *veth = context;
	size_t len = mnl_attr_get_payload_len(a);

	if (mnl_attr_get_type(a) == IFLA_IFNAME && len <= sizeof(veth->name))
		memcpy(veth->name, mnl_attr_get_payload(a), len);
	if (mnl_attr_get_type(a) == IFLA_LINK_NETNSID && len >= sizeof(__s32))
		veth->nsid = (int)mnl_attr_get_u32(a);
	return MNL_CB_OK;
}

static int read_link(const struct nlmsghdr *message, void *context)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
	const struct each *each = context;
	struct sl_veth veth = {.nsid = -1};

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*info))
		return MNL_CB_OK;
	veth.ifindex = (unsigned)info->ifi_index;
	mnl_attr_parse(message, sizeof(*info), read_attribute, &veth);
	veth.name[sizeof(veth.name) - 1] = 0;
	if (veth.nsid >= 0 && veth.name[0])
		each->fn(each->context, &veth);
	return MNL_CB_OK;
}

int sl_veth_each(sl_veth_fn *fn, void *context)
{
	char buf[256] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *message = mnl_nlmsg_put_header(buf);
	struct each each = {fn, context};
	struct nlattr *info;

	message->nlmsg_type = RTM_GETLINK;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	mnl_nlmsg_put_extra_header(message, sizeof(struct ifinfomsg));
	mnl_attr_put_u32(message, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	info = mnl_attr_nest_start(message, IFLA_LINKINFO);
	mnl_attr_put_strz(message, IFLA_INFO_KIND, "veth"); /* the kernel leaves out the others */
	mnl_attr_nest_end(message, info);
	return ask(message, read_link, &each);
}

/* ---- namespaces ---- */

static int read_nsid(const struct nlattr *a, void *context)
{
	if (mnl_attr_get_type(a) == NETNSA_NSID && mnl_attr_get_payload_len(a) >= sizeof(__s32))
		*(int *)context = (int)mnl_attr_get_u32(a);
	return MNL_CB_OK;
}

static int read_answer(const struct nlmsghdr *message, void *context)
{
	mnl_attr_parse(message, sizeof(struct rtgenmsg), read_nsid, context);
	return MNL_CB_STOP;
}

static int ask_nsid(__u16 attribute, __u32 value, int *nsid)
{
	char buf[64] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *message = mnl_nlmsg_put_header(buf);
	int err;

	*nsid = NETNSA_NSID_NOT_ASSIGNED;
	message->nlmsg_type = RTM_GETNSID;
	message->nlmsg_flags = NLM_F_REQUEST;
	mnl_nlmsg_put_extra_header(message, sizeof(struct rtgenmsg));
	mnl_attr_put_u32(message, attribute, value);
	err = ask(message, read_answer, nsid);
	return err ? err : *nsid < 0 ? -ENOENT : 0;
}

int sl_netns_of_process(pid_t pid, int *nsid)
{
	return ask_nsid(NETNSA_PID, (__u32)pid, nsid);
}

int sl_netns_of_fd(int fd, int *nsid)
{
	return ask_nsid(NETNSA_FD, (__u32)fd, nsid);
}

/* ---- processes ---- */

struct oldest {
	pid_t pid;
	unsigned long long started;
};

/* proc(5), stat: the name may hold spaces and brackets; the 22nd field is the time of its start. */
static bool look(void *context, int proc_fd)
{
	struct oldest *oldest = context;
	unsigned long long started;
	char text[1024], *end;
	int fd = openat(proc_fd, "stat", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return false;
	text[n] = 0;
	end = strrchr(text, ')');
	if (end &&
	    sscanf(end + 1,
		   " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
		   "%*s %*s %llu",
		   &started) == 1 &&
	    (!oldest->pid || started < oldest->started))
		*oldest = (struct oldest){(pid_t)strtol(text, NULL, 10), started};
	return false;
}

pid_t sl_oldest_process(int dir_fd, sl_foreign_fn *foreign, __u64 *started_ns)
{
	__u64 tick_ns = 1000000000 / (__u64)sysconf(_SC_CLK_TCK);
	struct oldest oldest = {};

	sl_each_process(dir_fd, foreign, look, &oldest);
	if (oldest.pid && started_ns)
		*started_ns = (oldest.started + 1) * tick_ns;
	return oldest.pid;
}
