// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * rtnetlink(7): the default routes, on-link prefixes, addresses and bridge ports of
 * the calling thread's network namespace.
 */
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

/* A dump that raced with a change is asked for again, after a little longer each
 * time; a network that never rests for those two seconds gets an error. */
#define DUMP_TRIES 64
#define DUMP_PAUSE_US 1000
#define DUMP_BUFFER (32u << 10) /* what the kernel fills at most, netlink_dump() */

/* The prefix of that length around an address. */
static void cidr_from_prefix(int family, const void *bytes, unsigned len, struct sl_cidr *cidr)
{
	static const __u8 mapped[12] = {[10] = 0xff, [11] = 0xff};
	static const __u8 nat64[12] = {0x00, 0x64, 0xff, 0x9b};
	const __u8 *from = bytes;

	if (family == AF_INET6 && len >= 96 &&
	    (!memcmp(from, mapped, 12) || !memcmp(from, nat64, 12))) {
		family = AF_INET;
		from += 12;
		len -= 96;
	}
	memset(cidr, 0, sizeof(*cidr));
	cidr->family = family == AF_INET6 ? 6 : 4;
	cidr->len = len;
	memcpy(cidr->addr, from, family == AF_INET6 ? 16 : 4);
	for (unsigned bit = len; bit < 128; bit++)
		cidr->addr[bit / 8] &= ~(0x80 >> bit % 8);
}

void sl_cidr_from_bytes(int family, const void *bytes, struct sl_cidr *cidr)
{
	cidr_from_prefix(family, bytes, family == AF_INET6 ? 128 : 32, cidr);
}

static unsigned address_bytes(int family)
{
	return family == AF_INET6 ? 16 : 4;
}

#define N_ATTRS 64 /* more than RTA_MAX, IFA_MAX and IFLA_MASTER */

struct attrs {
	const struct nlattr *by_type[N_ATTRS];
};

static int keep_attr(const struct nlattr *attr, void *data)
{
	struct attrs *attrs = data;
	unsigned type = mnl_attr_get_type(attr);

	if (type < N_ATTRS)
		attrs->by_type[type] = attr;
	return MNL_CB_OK;
}

/* An attribute's payload if it holds at least size bytes. */
static const void *payload(const struct attrs *attrs, unsigned type, size_t size)
{
	const struct nlattr *attr = attrs->by_type[type];

	return attr && mnl_attr_get_payload_len(attr) >= size ? mnl_attr_get_payload(attr) : NULL;
}

static unsigned number(const struct attrs *attrs, unsigned type)
{
	const __u32 *value = payload(attrs, type, sizeof(*value));

	return value ? *value : 0;
}

static int add(struct sl_net_list *list, unsigned ifindex, const struct sl_cidr *cidr)
{
	struct sl_net_cidr *grown;

	grown = sl_array_grow(list->v, list->n, &list->cap, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	list->v = grown;
	grown[list->n++] = (struct sl_net_cidr){ifindex, *cidr};
	return 0;
}

/* The gateway of a route or of one of its next hops: RTA_GATEWAY, or RTA_VIA
 * where its family is another (IPv4 over an IPv6 router). */
static bool gateway_of(int family, const struct attrs *attrs, struct sl_cidr *gateway)
{
	const struct rtvia *via = payload(attrs, RTA_VIA, sizeof(*via));
	const void *bytes = payload(attrs, RTA_GATEWAY, address_bytes(family));

	if (via && (via->rtvia_family == AF_INET || via->rtvia_family == AF_INET6)) {
		family = via->rtvia_family;
		bytes = payload(attrs, RTA_VIA, sizeof(*via) + address_bytes(family));
		if (bytes)
			bytes = via->rtvia_addr;
	}
	if (!bytes)
		return false;
	sl_cidr_from_bytes(family, bytes, gateway);
	return true;
}

/* One way that a route takes. A default route without a gateway (wg0, ppp0)
 * has an interface all the same. */
static int add_hop(struct sl_net_view *view, int family, unsigned ifindex,
		   const struct attrs *attrs, const struct sl_cidr *dst)
{
	struct sl_cidr gateway;
	bool has_gateway = gateway_of(family, attrs, &gateway);
	int err = 0;

	if (dst->len)
		return has_gateway || !ifindex ? 0 : add(&view->onlink, ifindex, dst);
	if (has_gateway)
		err = add(&view->hops, ifindex, &gateway);
	return err || !ifindex ? err : sl_index_list_add(&view->ifindexes, ifindex);
}

static int add_multipath(struct sl_net_view *view, int family, const struct nlattr *attr,
			 const struct sl_cidr *dst)
{
	const struct rtnexthop *hop = mnl_attr_get_payload(attr);
	int left = mnl_attr_get_payload_len(attr), err;

	for (; RTNH_OK(hop, left); left -= NLMSG_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop)) {
		struct attrs attrs = {0};

		mnl_attr_parse_payload(RTNH_DATA(hop), hop->rtnh_len - sizeof(*hop), keep_attr,
				       &attrs);
		err = add_hop(view, family, hop->rtnh_ifindex, &attrs, dst);
		if (err)
			return err;
	}
	return 0;
}

static int read_route(const struct nlmsghdr *nlh, struct sl_net_view *view)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	static const __u8 zero[16];
	struct attrs attrs = {0};
	struct sl_cidr cidr;
	const void *dst;

	if ((rtm->rtm_family != AF_INET && rtm->rtm_family != AF_INET6) ||
	    rtm->rtm_type != RTN_UNICAST || rtm->rtm_table == RT_TABLE_LOCAL ||
	    rtm->rtm_flags & RTM_F_CLONED)
		return 0;
	mnl_attr_parse(nlh, sizeof(*rtm), keep_attr, &attrs);
	dst = payload(&attrs, RTA_DST, address_bytes(rtm->rtm_family));
	cidr_from_prefix(rtm->rtm_family, dst ? dst : zero, rtm->rtm_dst_len, &cidr);
	if (attrs.by_type[RTA_MULTIPATH])
		return add_multipath(view, rtm->rtm_family, attrs.by_type[RTA_MULTIPATH], &cidr);
	/* nexthop_compat_mode=0 leaves the id alone. An unknown gateway would
	 * be a hole in `deny: "@gateway"`. */
	if (attrs.by_type[RTA_NH_ID] && !attrs.by_type[RTA_OIF])
		return cidr.len ? 0 : -EOPNOTSUPP;
	return add_hop(view, rtm->rtm_family, number(&attrs, RTA_OIF), &attrs, &cidr);
}

static int read_address(const struct nlmsghdr *nlh, struct sl_net_view *view)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	unsigned bytes = address_bytes(ifa->ifa_family), flags;
	const void *local, *prefix;
	struct attrs attrs = {0};
	struct sl_cidr cidr;
	int err;

	if (ifa->ifa_family != AF_INET && ifa->ifa_family != AF_INET6)
		return 0;
	mnl_attr_parse(nlh, sizeof(*ifa), keep_attr, &attrs);
	/* With a peer IFA_ADDRESS is the peer's, and the prefix is around it. */
	prefix = payload(&attrs, IFA_ADDRESS, bytes);
	local = payload(&attrs, IFA_LOCAL, bytes);
	if (!local)
		local = prefix;
	if (!prefix)
		prefix = local;
	if (!local)
		return 0;
	sl_cidr_from_bytes(ifa->ifa_family, local, &cidr);
	err = add(&view->addresses, ifa->ifa_index, &cidr);
	flags = attrs.by_type[IFA_FLAGS] ? number(&attrs, IFA_FLAGS) : ifa->ifa_flags;
	/* A lone address is on its own link only. */
	if (err || flags & IFA_F_NOPREFIXROUTE ||
	    (ifa->ifa_prefixlen == bytes * 8 && !memcmp(local, prefix, bytes)))
		return err;
	cidr_from_prefix(ifa->ifa_family, prefix, ifa->ifa_prefixlen, &cidr);
	return add(&view->onlink, ifa->ifa_index, &cidr);
}

/* Of the dump of family AF_BRIDGE, a tenth of the whole one: each port with its
 * bridge, and NICs that switch themselves. */
static int read_port(const struct nlmsghdr *nlh, struct sl_net_view *view)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	struct attrs attrs = {0};

	mnl_attr_parse(nlh, sizeof(*ifi), keep_attr, &attrs);
	return number(&attrs, IFLA_MASTER)
		       ? sl_index_list_add(&view->ports, (unsigned)ifi->ifi_index)
		       : 0;
}

static int read_message(const struct nlmsghdr *nlh, void *data)
{
	int err = 0;

	if (nlh->nlmsg_type == RTM_NEWROUTE &&
	    mnl_nlmsg_get_payload_len(nlh) >= sizeof(struct rtmsg))
		err = read_route(nlh, data);
	else if (nlh->nlmsg_type == RTM_NEWADDR &&
		 mnl_nlmsg_get_payload_len(nlh) >= sizeof(struct ifaddrmsg))
		err = read_address(nlh, data);
	else if (nlh->nlmsg_type == RTM_NEWLINK &&
		 mnl_nlmsg_get_payload_len(nlh) >= sizeof(struct ifinfomsg))
		err = read_port(nlh, data);
	if (!err)
		return MNL_CB_OK;
	errno = -err;
	return MNL_CB_ERROR;
}

/* Asks for every object of a type and family. -EINTR: it changed meanwhile. */
static int dump(struct mnl_socket *nl, __u16 type, __u8 family, struct sl_net_view *view)
{
	char buf[DUMP_BUFFER] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	size_t size = type == RTM_GETROUTE  ? sizeof(struct rtmsg)
		      : type == RTM_GETADDR ? sizeof(struct ifaddrmsg)
					    : sizeof(struct ifinfomsg);
	static __thread unsigned seq;
	ssize_t got;
	int more;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = ++seq;
	/* The family is the first byte of each of these headers. */
	*(__u8 *)mnl_nlmsg_put_extra_header(nlh, size) = family;
	if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		got = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		if (got < 0)
			return -errno;
		more = mnl_cb_run(buf, got, seq, mnl_socket_get_portid(nl), read_message, view);
	} while (more > 0);
	return more < 0 ? -errno : 0;
}

static int dump_all(struct sl_net_view *view, bool with_ports)
{
	static const __u8 families[] = {AF_INET, AF_INET6};
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	int err = nl ? 0 : -errno;

	if (!nl)
		return err;
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID))
		err = -errno;
	if (!err && with_ports)
		err = dump(nl, RTM_GETLINK, AF_BRIDGE, view);
	for (size_t i = 0; !err && i < 2; i++) {
		err = dump(nl, RTM_GETROUTE, families[i], view);
		if (!err)
			err = dump(nl, RTM_GETADDR, families[i], view);
	}
	mnl_socket_close(nl);
	return err;
}

int sl_net_view_read(struct sl_net_view *view, bool with_ports)
{
	int err = -EINTR;

	/* A socket of its own for each try: the rest of a dump that was given
	 * up would be read as the answer to the next. */
	for (int i = 0; i < DUMP_TRIES && (err == -EINTR || err == -ENOBUFS); i++) {
		sl_net_view_free(view);
		if (i)
			usleep(i * DUMP_PAUSE_US);
		err = dump_all(view, with_ports);
	}
	sl_index_list_sort(&view->ifindexes);
	sl_index_list_sort(&view->ports);
	return err;
}

void sl_net_view_free(struct sl_net_view *view)
{
	free(view->hops.v);
	free(view->ifindexes.v);
	free(view->onlink.v);
	free(view->addresses.v);
	free(view->ports.v);
	memset(view, 0, sizeof(*view));
}
