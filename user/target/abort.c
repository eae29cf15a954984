// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "abort.h"

#define ANSWER_BYTES 8192
#define WAIT_MS 200	/* the kernel answers before send() returns */

/* What the kernel said of a socket. */
struct found {
	struct inet_diag_sockid id;
	__u64 cgroup_id;
};

void sl_abort_open(struct sl_abort *a, sl_abort_is_of *is_of, void *context)
{
	struct timeval wait = {.tv_usec = WAIT_MS * 1000};

	*a = (struct sl_abort){.netlink = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC),
			       .is_of = is_of,
			       .context = context};
	if (!a->netlink)
		return;
	if (mnl_socket_bind(a->netlink, 0, MNL_SOCKET_AUTOPID) ||
	    setsockopt(mnl_socket_get_fd(a->netlink), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)))
		sl_abort_close(a);
}

void sl_abort_close(struct sl_abort *a)
{
	if (a->netlink)
		mnl_socket_close(a->netlink);
	a->netlink = NULL;
}

/* A denial of data on a connection that was let through. */
static bool is_of_data(const struct sl_event *e)
{
	switch (e->reason) {
	case SL_REASON_DNS_NAME:
	case SL_REASON_DNS_TYPE:
	case SL_REASON_DNS_MALFORMED:
	case SL_REASON_DNS_RATE:
	case SL_REASON_DNS_PENDING:
	case SL_REASON_SNI_NAME:
	case SL_REASON_SNI_MISSING:
		break;
	default:
		return false;
	}
	return e->verdict == SL_EV_DENY && e->hook == SL_HOOK_CGROUP_EGRESS &&
	       e->protocol == IPPROTO_TCP && (e->flags & SL_EVENT_SOURCE) &&
	       (e->flags & SL_EVENT_PORTS);
}

static int found_attribute(const struct nlattr *attribute, void *context)
{
	struct found *found = context;

	if (mnl_attr_get_type(attribute) == INET_DIAG_CGROUP_ID &&
	    mnl_attr_validate(attribute, MNL_TYPE_U64) >= 0)
		found->cgroup_id = mnl_attr_get_u64(attribute);
	return MNL_CB_OK;
}

static int found_socket(const struct nlmsghdr *header, void *context)
{
	const struct inet_diag_msg *socket = mnl_nlmsg_get_payload(header);
	struct found *found = context;

	found->id = socket->id;
	mnl_attr_parse(header, sizeof(*socket), found_attribute, found);
	return MNL_CB_STOP;
}

/* Asks the kernel: of the socket (SOCK_DIAG_BY_FAMILY), or to end it (SOCK_DESTROY). */
static int ask(struct sl_abort *a, const struct sl_event *e, const struct inet_diag_sockid *id,
	       int type, struct found *found)
{
	char buffer[ANSWER_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct inet_diag_req_v2 *request;
	ssize_t n;

	header->nlmsg_type = type;
	header->nlmsg_flags = NLM_F_REQUEST | (type == SOCK_DESTROY ? NLM_F_ACK : 0);
	request = mnl_nlmsg_put_extra_header(header, sizeof(*request));
	request->sdiag_family = e->family == 4 ? AF_INET : AF_INET6;
	request->sdiag_protocol = IPPROTO_TCP;
	request->idiag_states = ~0u;
	request->id = *id;
	if (mnl_socket_sendto(a->netlink, header, header->nlmsg_len) < 0)
		return -errno;
	n = mnl_socket_recvfrom(a->netlink, buffer, sizeof(buffer));
	if (n < 0 || mnl_cb_run(buffer, n, 0, 0, found_socket, found) < 0)
		return -errno;
	return 0;
}

bool sl_abort_connection(struct sl_abort *a, const struct sl_event *e)
{
	struct inet_diag_sockid id = {.idiag_sport = htons(e->source_port),
				      .idiag_dport = htons(e->destination_port),
				      .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}};
	struct found found = {};

	if (!a->netlink || !is_of_data(e))
		return false;
	memcpy(id.idiag_src, e->source, sizeof(id.idiag_src));
	memcpy(id.idiag_dst, e->destination, sizeof(id.idiag_dst));
	/* it is named by its cookie then: no other socket that takes its place */
	if (ask(a, e, &id, SOCK_DIAG_BY_FAMILY, &found) || !found.cgroup_id ||
	    !a->is_of(a->context, e, found.cgroup_id))
		return false;
	return !ask(a, e, &found.id, SOCK_DESTROY, &found);
}
