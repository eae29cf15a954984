// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What a device counts, and what our programs count of it. */
#include <bpf/bpf.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "state_internal.h"

bool sl_device_is_veth(const char *name)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq request = {};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool veth;

	strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
	request.ifr_data = (char *)&info;
	veth = fd >= 0 && !ioctl(fd, SIOCETHTOOL, &request) && !strcmp(info.driver, "veth");
	if (fd >= 0)
		close(fd);
	return veth;
}

void sl_state_read_meter(const struct sl_state *s, __u32 slot, struct sl_meter *out)
{
	int cpus = libbpf_num_possible_cpus(), i;
	struct sl_meter *each = calloc(cpus > 0 ? cpus : 1, sizeof(*each));

	if (each && !bpf_map_lookup_elem(s->maps[SL_M_METERS], &slot, each))
		for (i = 0; i < cpus; i++) {
			out->tx_bytes += each[i].tx_bytes;
			out->tx_frames += each[i].tx_frames;
			out->rx_bytes += each[i].rx_bytes;
			out->rx_frames += each[i].rx_frames;
			out->tx_denied += each[i].tx_denied;
			out->rx_denied += each[i].rx_denied;
		}
	free(each);
}

void sl_state_read_stats(const struct sl_state *s, __u32 slot, struct sl_stats *out)
{
	if (bpf_map_lookup_elem(s->maps[SL_M_STATS], &slot, out))
		*out = (struct sl_stats){};
}

struct received {
	bool known;
	__u32 frames;
};

static int on_attribute(const struct nlattr *attribute, void *context)
{
	struct received *r = context;
	__u64 frames;

	if (mnl_attr_get_type(attribute) != IFLA_STATS64 ||
	    mnl_attr_get_payload_len(attribute) < sizeof(frames))
		return MNL_CB_OK;
	/* rx_packets stands first in struct rtnl_link_stats64 */
	memcpy(&frames, mnl_attr_get_payload(attribute), sizeof(frames));
	r->frames = (__u32)frames;
	r->known = true;
	return MNL_CB_OK;
}

static int on_statistics(const struct nlmsghdr *message, void *context)
{
	mnl_attr_parse(message, sizeof(struct ifinfomsg), on_attribute, context);
	return MNL_CB_STOP;
}

void sl_link_ask(unsigned ifindex, mnl_cb_t on_link, void *context)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	char buf[32768];	/* with the statistics and VFs of a link */
	struct nlmsghdr *message = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *link;
	ssize_t n;

	message->nlmsg_type = RTM_GETLINK;
	message->nlmsg_flags = NLM_F_REQUEST;
	link = mnl_nlmsg_put_extra_header(message, sizeof(*link));
	link->ifi_index = (int)ifindex;
	if (nl && mnl_socket_sendto(nl, message, message->nlmsg_len) > 0) {
		n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		if (n > 0)
			mnl_cb_run(buf, n, 0, 0, on_link, context);
	}
	if (nl)
		mnl_socket_close(nl);
}

bool sl_device_received(unsigned ifindex, __u32 *frames)
{
	struct received r = {};

	sl_link_ask(ifindex, on_statistics, &r);
	if (r.known)
		*frames = r.frames;
	return r.known;
}

/* Frames on their way from the device's counter to our programs have come there 20 ms
 * later. */
__u32 sl_state_unjudged(const struct sl_state *s, const struct sl_target_view *view)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	struct sl_meter seen = {};
	__u32 received, base = view->target.cgroup_level;
	int i;

	if (!view->here || !view->attached || !sl_device_received(view->target.ifindex, &received))
		return 0;
	for (i = 0; i < 2; i++) {
		seen = (struct sl_meter){};
		sl_state_read_meter(s, view->slot, &seen);
		if ((__s32)(received - (__u32)seen.tx_frames - base) <= 0)
			return 0;
		if (!i)
			nanosleep(&pause, NULL);
	}
	return received - (__u32)seen.tx_frames - base;
}
