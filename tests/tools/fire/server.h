/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The other side of reload_fire: TCP that echoes, TCP that accepts and resets,
 * UDP that echoes. A child of its own, outside of every target. It checks that
 * no datagram arrives that its sender's target could not send.
 */
#ifndef SLUICE_TESTS_FIRE_SERVER_H
#define SLUICE_TESTS_FIRE_SERVER_H

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "shared.h"

struct fire_server {
	int poll_fd, udp, echo, reset;
};

static int server_socket(int type, __u16 port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int on = 1, off = 0, big = 4 << 20;
	int fd = socket(AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof(big));
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
	setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on)); /* fd20::/16 is routed */
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) ||
	    (type == SOCK_STREAM && listen(fd, 4096))) {
		close(fd);
		return -1;
	}
	return fd;
}

static int server_watch(const struct fire_server *s, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(s->poll_fd, EPOLL_CTL_ADD, fd, &event);
}

static int server_open(struct fire_server *s)
{
	s->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	s->udp = server_socket(SOCK_DGRAM, PORT_UDP);
	s->echo = server_socket(SOCK_STREAM, PORT_ECHO);
	s->reset = server_socket(SOCK_STREAM, PORT_RESET);
	if (s->poll_fd < 0 || s->udp < 0 || s->echo < 0 || s->reset < 0)
		return -errno;
	if (server_watch(s, s->udp) || server_watch(s, s->echo) || server_watch(s, s->reset))
		return -errno;
	return 0;
}

/* Which destination was reached; v4-mapped or fd20::T:D. False: none of ours. */
static bool server_destination(const struct in6_addr *to, unsigned *target, unsigned *destination)
{
	const __u8 *b = to->s6_addr;
	bool v4 = IN6_IS_ADDR_V4MAPPED(to) && b[12] == 127 && b[13] == 20;
	bool v6 = b[0] == 0xfd && b[1] == 0x20;

	*target = (v4 ? b[14] : b[13]) - 1u;
	*destination = b[15] - 1u;
	return (v4 || v6) && *target < N_TARGETS && *destination < N_DESTINATIONS;
}

static void server_check(const struct fire_message *m, const struct in6_addr *to)
{
	unsigned target, destination;
	__u64 begun;

	if (m->target >= N_TARGETS || !server_destination(to, &target, &destination)) {
		fire_wrong("a datagram of nobody's");
		return;
	}
	atomic_fetch_add(&fire->received, 1);
	begun = atomic_load(&fire->targets[m->target].begun);
	if (target != m->target)
		fire_wrong("target %u reached a destination of target %u", m->target, target);
	else if (!fire_allows(m->done, destination) &&
		 (m->done == begun || !fire_allows(m->done + 1, destination)))
		fire_wrong("target %u: a datagram reached destination %u, swaps %llu to %llu",
			   target, destination, (unsigned long long)m->done,
			   (unsigned long long)begun);
}

/* The answer leaves from the address that was asked: the control data of the
 * message received say which, and sendmsg takes them as they are. */
static void server_datagrams(int fd)
{
	char control[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	struct fire_message m;
	struct iovec part = {.iov_base = &m, .iov_len = sizeof(m)};
	struct sockaddr_in6 from;
	struct msghdr message;
	struct cmsghdr *c;
	int i;

	for (i = 0; i < 64; i++) { /* the streams wait for their turn */
		message = (struct msghdr){.msg_name = &from,
					  .msg_namelen = sizeof(from),
					  .msg_iov = &part,
					  .msg_iovlen = 1,
					  .msg_control = control,
					  .msg_controllen = sizeof(control)};
		if (recvmsg(fd, &message, 0) != sizeof(m))
			return;
		c = CMSG_FIRSTHDR(&message);
		if (!c || c->cmsg_type != IPV6_PKTINFO)
			continue;
		server_check(&m, &((struct in6_pktinfo *)CMSG_DATA(c))->ipi6_addr);
		if (m.echo)
			sendmsg(fd, &message, 0);
	}
}

static void server_accept(const struct fire_server *s, int listener)
{
	struct linger reset = {.l_onoff = 1};
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if (listener == s->echo && !server_watch(s, fd))
			continue;
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(fd);
	}
}

static void server_echo(int fd)
{
	char buffer[256];
	ssize_t n = read(fd, buffer, sizeof(buffer));

	if (n > 0 && write(fd, buffer, n) == n)
		return;
	if (n < 0 && errno == EAGAIN)
		return;
	close(fd);
}

static __attribute__((noreturn)) void fire_serve(const struct fire_server *s)
{
	struct epoll_event events[64];
	int i, n, fd;

	for (;;) {
		n = epoll_wait(s->poll_fd, events, 64, -1);
		for (i = 0; i < n; i++) {
			fd = events[i].data.fd;
			if (fd == s->udp)
				server_datagrams(fd);
			else if (fd == s->echo || fd == s->reset)
				server_accept(s, fd);
			else
				server_echo(fd);
		}
	}
}

#endif
