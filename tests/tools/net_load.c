// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * net_load serve ADDRESS PORT: takes TCP connections and datagrams, answers nothing,
 * until it is killed; says "ready". It does not sleep: to be woken is what its client pays for, or
 * not, by which of the two is faster. Out of its turn its caller stops it.
 * net_load stream|datagrams|connects ADDRESS PORT SECONDS [turns]: one connection as fast as
 * it goes, datagrams of 64 bytes, or connections one after the other. Prints how many
 * bytes, datagrams or connections it sent, and the ns of CPU that this took here (on a
 * veth they hold the way to the far socket; other processes' turns are not in them).
 * turns: not at once but for each line of stdin, of sockets of its own.
 *
 * What arrived, the caller reads from the far device's own counters.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "turns.h"

#define BATCH 64
#define DATAGRAM 64
#define CLIENTS 64

static char buffer[1 << 20];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct addrinfo *address_of(const char *host, const char *port, int type)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = type};
	struct addrinfo *found;

	if (getaddrinfo(host, port, &hints, &found)) {
		fprintf(stderr, "net_load: '%s' '%s' is no address and port\n", host, port);
		exit(2);
	}
	return found;
}

static int open_socket(const struct addrinfo *a)
{
	int fd = socket(a->ai_family, a->ai_socktype, 0);

	if (fd < 0)
		die("socket");
	return fd;
}

static int bound(const char *host, const char *port, int type)
{
	struct addrinfo *a = address_of(host, port, type);
	int fd = open_socket(a), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, a->ai_addr, a->ai_addrlen) || (type == SOCK_STREAM && listen(fd, 1024)))
		die("bind");
	freeaddrinfo(a);
	return fd;
}

/* polls[0] listens, polls[1] takes datagrams, the others are connections. */
static void serve(const char *host, const char *port)
{
	struct pollfd polls[2 + CLIENTS] = {{.fd = bound(host, port, SOCK_STREAM), .events = POLLIN},
					    {.fd = bound(host, port, SOCK_DGRAM), .events = POLLIN}};
	int i, fd;

	for (i = 2; i < 2 + CLIENTS; i++)
		polls[i] = (struct pollfd){.fd = -1, .events = POLLIN};
	puts("ready");
	fflush(stdout);
	while (poll(polls, 2 + CLIENTS, 0) >= 0) {
		if (polls[1].revents)
			while (recv(polls[1].fd, buffer, sizeof(buffer), MSG_DONTWAIT) >= 0)
				;
		for (i = 2; i < 2 + CLIENTS; i++) {
			if (polls[i].fd < 0 || !polls[i].revents ||
			    recv(polls[i].fd, buffer, sizeof(buffer), 0) > 0)
				continue;
			close(polls[i].fd);
			polls[i].fd = -1;
		}
		if (!polls[0].revents)
			continue;
		fd = accept(polls[0].fd, NULL, NULL);
		for (i = 2; i < 2 + CLIENTS && polls[i].fd >= 0; i++)
			;
		if (i < 2 + CLIENTS)
			polls[i].fd = fd;
		else
			close(fd);
	}
	die("poll");
}

static unsigned long stream(const void *to, double end)
{
	const struct addrinfo *a = to;
	int fd = open_socket(a);
	unsigned long sent = 0;
	ssize_t n;

	if (connect(fd, a->ai_addr, a->ai_addrlen))
		die("connect");
	do {
		n = send(fd, buffer, 1 << 17, 0);
		if (n < 0)
			die("send");
		sent += (unsigned long)n;
	} while (now() < end);
	close(fd);
	return sent;
}

static unsigned long datagrams(const void *to, double end)
{
	const struct addrinfo *a = to;
	struct iovec data = {.iov_base = buffer, .iov_len = DATAGRAM};
	struct mmsghdr batch[BATCH];
	int fd = open_socket(a), n;
	unsigned long sent = 0;

	if (connect(fd, a->ai_addr, a->ai_addrlen))
		die("connect");
	memset(batch, 0, sizeof(batch));
	for (int i = 0; i < BATCH; i++) {
		batch[i].msg_hdr.msg_iov = &data;
		batch[i].msg_hdr.msg_iovlen = 1;
	}
	do {
		n = sendmmsg(fd, batch, BATCH, 0);
		if (n < 0 && errno != ENOBUFS && errno != EAGAIN)
			die("sendmmsg");
		sent += n > 0 ? (unsigned long)n : 0;
	} while (now() < end || !sent);
	close(fd);
	return sent;
}

/* Closed by a reset: no port waits for its time. */
static unsigned long connects(const void *to, double end)
{
	const struct addrinfo *a = to;
	struct linger reset = {.l_onoff = 1};
	unsigned long made = 0;

	do {
		int fd = open_socket(a);

		if (connect(fd, a->ai_addr, a->ai_addrlen))
			die("connect");
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(fd);
		made++;
	} while (now() < end);
	return made;
}

int main(int argc, char **argv)
{
	const struct {
		const char *word;
		int type;
		load run;
	} loads[] = {{"stream", SOCK_STREAM, stream},
		     {"datagrams", SOCK_DGRAM, datagrams},
		     {"connects", SOCK_STREAM, connects}};
	bool in_turns = argc == 6 && !strcmp(argv[5], "turns");
	struct addrinfo *a;
	size_t i;

	if (argc == 4 && !strcmp(argv[1], "serve"))
		serve(argv[2], argv[3]);
	for (i = 0; (argc == 5 || in_turns) && i < sizeof(loads) / sizeof(*loads); i++) {
		if (strcmp(argv[1], loads[i].word))
			continue;
		a = address_of(argv[2], argv[3], loads[i].type);
		if (in_turns)
			turns(loads[i].run, a, atof(argv[4]), NULL);
		else
			slice(loads[i].run, a, atof(argv[4]));
		freeaddrinfo(a);
		return 0;
	}
	fprintf(stderr, "usage: net_load serve ADDRESS PORT\n"
			"       net_load stream|datagrams|connects ADDRESS PORT SECONDS [turns]\n");
	return 2;
}
