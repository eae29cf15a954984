// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * One socket for dumps and events: the kernel puts a dump's messages into the
 * same queue as the events, so what is read later happened later.
 */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "links.h"
#include "policy/text.h"

#define RECEIVE_BUFFER (4u << 20)	/* about 2,000 events */
#define MESSAGE_BUFFER (64u << 10)	/* netlink_dump() fills at most 32 KiB */
#define READS_MAX 256			/* of one sl_links_read */

struct known {
	struct sl_link link;
	bool seen;		/* by the dump that is under way, or since it began */
};

struct sl_links {
	struct mnl_socket *nl;
	sl_link_handler handler;
	void *context;
	struct known *known;	/* owned */
	size_t n_known;
	unsigned seq;		/* of the dump that is under way, or of the last one */
	bool dumping;
	bool stale;		/* something was lost: another dump is wanted */
	bool again;		/* this dump follows an overrun */
	unsigned long overruns;
	char *buf;		/* owned: MESSAGE_BUFFER */
};

static struct known *find(const struct sl_links *links, unsigned ifindex)
{
	for (size_t i = 0; i < links->n_known; i++)
		if (links->known[i].link.ifindex == ifindex)
			return &links->known[i];
	return NULL;
}

const struct sl_link *sl_links_find(const struct sl_links *links, unsigned ifindex)
{
	const struct known *known = find(links, ifindex);

	return known ? &known->link : NULL;
}

/* ---- one message ---- */

static void copy_text(char *to, size_t size, const struct nlattr *attr)
{
	size_t len = strnlen(mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr));

	if (len >= size)
		len = size - 1;
	memcpy(to, mnl_attr_get_payload(attr), len);
	to[len] = 0;
}

static int read_info(const struct nlattr *attr, void *data)
{
	struct sl_link *link = data;

	if (mnl_attr_get_type(attr) == IFLA_INFO_KIND)
		copy_text(link->kind, sizeof(link->kind), attr);
	return MNL_CB_OK;
}

static int read_attr(const struct nlattr *attr, void *data)
{
	struct sl_link *link = data;

	switch (mnl_attr_get_type(attr)) {
	case IFLA_IFNAME:
		copy_text(link->name, sizeof(link->name), attr);
		break;
	case IFLA_MASTER:
		if (mnl_attr_get_payload_len(attr) >= sizeof(__u32))
			link->master = mnl_attr_get_u32(attr);
		break;
	case IFLA_LINKINFO:
		mnl_attr_parse_nested(attr, read_info, link);
		break;
	}
	return MNL_CB_OK;
}

/* False for what is no device's: a bridge tells of its ports to the same group,
 * and "deletes" a port that is only taken out of it (br_ifinfo_notify). */
static bool read_link(const struct nlmsghdr *nlh, struct sl_link *link)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(nlh);

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*info) || info->ifi_family != AF_UNSPEC)
		return false;
	*link = (struct sl_link){.ifindex = info->ifi_index, .type = info->ifi_type};
	mnl_attr_parse(nlh, sizeof(*info), read_attr, link);
	return link->ifindex && link->name[0];
}

static void tell(const struct sl_links *links, enum sl_link_change change,
		 const struct sl_link *link, const struct sl_link *before)
{
	links->handler(links->context, change, link, before);
}

static int on_new(struct sl_links *links, const struct sl_link *link, bool from_dump)
{
	struct known *known = find(links, link->ifindex);
	struct sl_link before;

	if (!known) {
		known = SL_ADD(links->known, links->n_known);
		if (!known)
			return -ENOMEM;
		*known = (struct known){*link, true};
		tell(links, SL_LINK_NEW, link, NULL);
		return 0;
	}
	before = known->link;
	*known = (struct known){*link, true};
	if (strcmp(before.name, link->name))
		tell(links, SL_LINK_RENAMED, link, &before);
	if (before.master != link->master)
		tell(links, SL_LINK_MASTER, link, &before);
	if (from_dump && links->again)
		tell(links, SL_LINK_AGAIN, link, &before);
	return 0;
}

/* The order of the table is not kept. */
static void on_gone(struct sl_links *links, struct known *known)
{
	struct sl_link link = known->link;

	*known = links->known[--links->n_known];
	tell(links, SL_LINK_GONE, &link, &link);
}

/* ---- dumps ---- */

static int start_dump(struct sl_links *links)
{
	char buf[256] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = RTM_GETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = ++links->seq ? links->seq : ++links->seq;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_u32(nlh, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	for (size_t i = 0; i < links->n_known; i++)
		links->known[i].seen = false;
	if (mnl_socket_sendto(links->nl, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	links->dumping = true;
	links->stale = false;
	return 0;
}

/* What a whole dump has not seen is gone; one that raced with a change, or during
 * which something was lost, proves no absence and is asked for again. */
static void end_dump(struct sl_links *links)
{
	links->dumping = false;
	if (links->stale)
		return;
	for (size_t i = 0; i < links->n_known;) {
		if (links->known[i].seen)
			i++;
		else
			on_gone(links, &links->known[i]);
	}
	links->again = false;
}

static int on_done(struct sl_links *links, const struct nlmsghdr *nlh)
{
	const int *err = mnl_nlmsg_get_payload(nlh);

	if (nlh->nlmsg_seq != links->seq)
		return 0;
	if (mnl_nlmsg_get_payload_len(nlh) >= sizeof(*err) && *err < 0)
		links->stale = true;
	end_dump(links);
	return 0;
}

static int on_error(struct sl_links *links, const struct nlmsghdr *nlh)
{
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(nlh);

	if (nlh->nlmsg_seq != links->seq || mnl_nlmsg_get_payload_len(nlh) < sizeof(*error))
		return 0;
	links->dumping = false;
	return error->error ? error->error : 0;
}

/* ---- reading ---- */

static int on_message(struct sl_links *links, const struct nlmsghdr *nlh)
{
	bool from_dump = nlh->nlmsg_seq && nlh->nlmsg_seq == links->seq;
	struct sl_link link;
	struct known *known;

	if (from_dump && nlh->nlmsg_flags & NLM_F_DUMP_INTR)
		links->stale = true;
	switch (nlh->nlmsg_type) {
	case NLMSG_DONE:
		return on_done(links, nlh);
	case NLMSG_ERROR:
		return on_error(links, nlh);
	case RTM_NEWLINK:
		return read_link(nlh, &link) ? on_new(links, &link, from_dump) : 0;
	case RTM_DELLINK:
		known = read_link(nlh, &link) ? find(links, link.ifindex) : NULL;
		if (known)
			on_gone(links, known);
	}
	return 0;
}

static int on_datagram(struct sl_links *links, size_t size)
{
	const struct nlmsghdr *nlh = (const void *)links->buf;
	int left = (int)size, err = 0;

	for (; !err && mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
		err = on_message(links, nlh);
	return err;
}

/* 1: one datagram was taken; 0: there is none; -errno. */
static int read_one(struct sl_links *links)
{
	struct sockaddr_nl from = {};
	socklen_t from_len = sizeof(from);
	ssize_t got = recvfrom(mnl_socket_get_fd(links->nl), links->buf, MESSAGE_BUFFER, MSG_TRUNC,
			       (struct sockaddr *)&from, &from_len);
	int err;

	if (got < 0 && errno == EINTR)
		return 1;
	if (got < 0 && errno == ENOBUFS) {
		links->overruns++;
		links->stale = links->again = true;
		return 1;
	}
	if (got < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (got > MESSAGE_BUFFER)
		return -EMSGSIZE;
	err = from.nl_pid ? 0 : on_datagram(links, got); /* only the kernel is believed */
	return err ? err : 1;
}

int sl_links_read(struct sl_links *links)
{
	int more = 1;

	for (int i = 0; more > 0 && i < READS_MAX; i++)
		more = read_one(links);
	if (more < 0)
		return more;
	return links->stale && !links->dumping ? start_dump(links) : 0;
}

/* ---- life ---- */

static int set_buffer(int fd, int bytes)
{
	/* FORCE passes net.core.rmem_max, for which it wants CAP_NET_ADMIN */
	if (!setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) ||
	    !setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)))
		return 0;
	return -errno;
}

static int start(struct sl_links *links, unsigned receive_buffer)
{
	int err;

	links->buf = malloc(MESSAGE_BUFFER);
	if (!links->buf)
		return -ENOMEM;
	links->nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!links->nl)
		return -errno;
	err = set_buffer(mnl_socket_get_fd(links->nl),
			 receive_buffer ? receive_buffer : RECEIVE_BUFFER);
	if (err)
		return err;
	if (mnl_socket_bind(links->nl, RTMGRP_LINK, MNL_SOCKET_AUTOPID))
		return -errno;
	return start_dump(links);
}

int sl_links_open(unsigned receive_buffer, sl_link_handler handler, void *context,
		  struct sl_links **out)
{
	struct sl_links *links = calloc(1, sizeof(*links));
	int err;

	if (!links)
		return -ENOMEM;
	links->handler = handler;
	links->context = context;
	err = start(links, receive_buffer);
	if (err)
		sl_links_close(links);
	else
		*out = links;
	return err;
}

void sl_links_close(struct sl_links *links)
{
	if (!links)
		return;
	if (links->nl)
		mnl_socket_close(links->nl);
	free(links->known);
	free(links->buf);
	free(links);
}

int sl_links_fd(const struct sl_links *links)
{
	return mnl_socket_get_fd(links->nl);
}

bool sl_links_catching_up(const struct sl_links *links)
{
	return links->dumping || links->stale;
}

unsigned long sl_links_overruns(const struct sl_links *links)
{
	return links->overruns;
}

void sl_links_each(const struct sl_links *links, sl_link_handler handler, void *context)
{
	for (size_t i = 0; i < links->n_known; i++)
		handler(context, SL_LINK_NEW, &links->known[i].link, NULL);
}
