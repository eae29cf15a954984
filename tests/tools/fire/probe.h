/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What runs inside a target of reload_fire: probes until fire->stop. */
#ifndef SLUICE_TESTS_FIRE_PROBE_H
#define SLUICE_TESTS_FIRE_PROBE_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "shared.h"

#define CONNECT_MS 1500 /* beyond the first retransmission of a SYN */
#define PORTS 400	/* source ports of a UDP prober */

struct prober {
	unsigned target;
	unsigned of; /* whose destination is asked */
	enum destination destination;
	int family;
	__u64 done;  /* before the probe */
	__u64 least; /* the oldest swap that may still be seen */
	unsigned random;
};

static unsigned prober_random(struct prober *p, unsigned n)
{
	p->random = p->random * 1664525 + 1013904223;
	return (p->random >> 8) % n;
}

/* The next question. One in four is a destination of another target. */
static void prober_next(struct prober *p)
{
	p->of = p->target;
	if (!prober_random(p, 4))
		p->of = (p->target + 1 + prober_random(p, N_TARGETS - 1)) % N_TARGETS;
	p->destination = prober_random(p, N_DESTINATIONS);
	p->family = prober_random(p, 2) ? AF_INET : AF_INET6;
	p->done = atomic_load(&fire->targets[p->target].done);
}

static bool prober_allows(const struct prober *p, __u64 swap)
{
	return p->of == p->target && fire_allows(swap, p->destination);
}

/* Right if one of the policies that were in force during the probe, and not
 * before what this process has seen already, says so. */
static void prober_judge(struct prober *p, bool passed, const char *what, int error)
{
	struct fire_target *t = &fire->targets[p->target];
	__u64 begun = atomic_load(&t->begun);
	__u64 first = p->done > p->least ? p->done : p->least;

	atomic_fetch_add(&t->probes, 1);
	atomic_fetch_add(passed ? &t->passed : &t->denied, 1);
	if (begun == p->done)
		atomic_fetch_add(&t->settled, 1);
	if (prober_allows(p, first) == passed) {
		p->least = first;
		return;
	}
	if (first < begun && prober_allows(p, first + 1) == passed) {
		p->least = first + 1;
		return;
	}
	fire_wrong(
		"target %u: %s to destination %u of target %u (IPv%d) %s (%s), swaps %llu to %llu, "
		"%llu seen",
		p->target, what, p->destination, p->of, p->family == AF_INET ? 4 : 6,
		passed ? "passed" : "was refused", strerror(error), (unsigned long long)p->done,
		(unsigned long long)begun, (unsigned long long)p->least);
}

static __attribute__((noreturn)) void prober_die(const struct prober *p, const char *what)
{
	fire_wrong("target %u: %s: %s", p->target, what, strerror(errno));
	_exit(1);
}

static int prober_socket(const struct prober *p, int type)
{
	int fd = socket(p->family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		prober_die(p, "socket");
	return fd;
}

/* ---- TCP ---- */

/* 0: connected. ECONNREFUSED: by the policy, every port here is open.
 * ETIMEDOUT: cut after connect had passed. */
static int connect_result(int fd, const struct sockaddr_storage *to, socklen_t len)
{
	struct pollfd ready = {.fd = fd, .events = POLLOUT};
	socklen_t size = sizeof(int);
	int error = 0;

	if (!connect(fd, (const struct sockaddr *)to, len))
		return 0;
	if (errno != EINPROGRESS)
		return errno;
	if (poll(&ready, 1, CONNECT_MS) != 1)
		return ETIMEDOUT;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
	return error == ECONNRESET ? 0 : error; /* the server has reset it already */
}

static void probe_connect(struct prober *p)
{
	struct linger reset = {.l_onoff = 1};
	struct sockaddr_storage to;
	socklen_t len;
	int fd, error;

	prober_next(p);
	fd = prober_socket(p, SOCK_STREAM);
	len = fire_address(p->family, p->of, p->destination, PORT_RESET, &to);
	error = connect_result(fd, &to, len);
	if (error && error != ECONNREFUSED && error != ETIMEDOUT)
		fire_wrong("target %u: connect: %s", p->target, strerror(error));
	prober_judge(p, !error, "connect", error);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
}

/* One byte there and back. */
static bool ping(int fd, int timeout_ms)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	char byte = 'x';

	return write(fd, &byte, 1) == 1 && poll(&ready, 1, timeout_ms) == 1 &&
	       read(fd, &byte, 1) == 1;
}

static int open_stream(struct prober *p, enum destination destination)
{
	struct sockaddr_storage to;
	socklen_t len = fire_address(p->family, p->target, destination, PORT_ECHO, &to);
	int fd = prober_socket(p, SOCK_STREAM), error = connect_result(fd, &to, len);

	if (!error)
		return fd;
	errno = error;
	close(fd);
	return -1;
}

/* Connects, and keeps one connection that every policy allows. */
static __attribute__((noreturn)) void fire_probe_tcp(unsigned target)
{
	struct prober p = {.target = target, .random = target * 77 + 1, .family = AF_INET};
	int fd = open_stream(&p, BOTH);

	if (fd < 0)
		prober_die(&p, "the lasting connection");
	while (!atomic_load(&fire->stop)) {
		probe_connect(&p);
		if (!ping(fd, 3000)) {
			fire_wrong("target %u: a connection that every policy allows broke: %s",
				   target, strerror(errno));
			break;
		}
	}
	_exit(0);
}

/* ---- UDP ---- */

static int send_result(int fd, const struct prober *p, __u32 echo,
		       const struct sockaddr_storage *to, socklen_t len)
{
	struct fire_message m = {.target = p->target, .echo = echo, .done = p->done};

	if (sendto(fd, &m, sizeof(m), 0, (const struct sockaddr *)to, len) == sizeof(m))
		return 0;
	return errno;
}

static void judge_send(struct prober *p, int error, const char *what)
{
	if (error && error != EHOSTUNREACH && error != EPERM)
		fire_wrong("target %u: %s: %s", p->target, what, strerror(error));
	prober_judge(p, !error, what, error);
}

/* A socket of its own for each datagram; the source ports come round again. */
static void probe_fresh(struct prober *p, __u16 port)
{
	struct sockaddr_in6 from = {.sin6_family = p->family, .sin6_port = htons(port)};
	struct sockaddr_storage to;
	socklen_t len;
	int fd;

	prober_next(p);
	fd = prober_socket(p, SOCK_DGRAM);
	from.sin6_family = p->family;
	if (bind(fd, (struct sockaddr *)&from,
		 p->family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(from)))
		prober_die(p, "bind");
	len = fire_address(p->family, p->of, p->destination, PORT_UDP, &to);
	judge_send(p, send_result(fd, p, 0, &to, len), "a datagram");
	close(fd);
}

/* One socket for all destinations: live flows, judged again after each swap. */
static void probe_lasting(struct prober *p, const int fds[2])
{
	struct sockaddr_storage to;
	socklen_t len;

	prober_next(p);
	len = fire_address(p->family, p->of, p->destination, PORT_UDP, &to);
	judge_send(p, send_result(fds[p->family == AF_INET6], p, 0, &to, len),
		   "a datagram of a lasting socket");
}

/* Connected sockets: only the packet hook sees these sends. Answers come back,
 * so that both directions of a flow are judged at once. */
static void probe_connected(struct prober *p, int fds[2][N_DESTINATIONS])
{
	struct sockaddr_storage to;
	char answer[64];
	socklen_t len;
	int *fd, i;

	prober_next(p);
	p->of = p->target;
	fd = &fds[p->family == AF_INET6][p->destination];
	if (*fd < 0) {
		*fd = prober_socket(p, SOCK_DGRAM);
		len = fire_address(p->family, p->of, p->destination, PORT_UDP, &to);
		if (connect(*fd, (struct sockaddr *)&to, len)) {
			judge_send(p, errno, "connect (UDP)");
			close(*fd);
			*fd = -1;
			return;
		}
	}
	for (i = 0; i < 4; i++) {
		p->done = atomic_load(&fire->targets[p->target].done);
		judge_send(p, send_result(*fd, p, 1, NULL, 0), "a connected datagram");
	}
	while (recv(*fd, answer, sizeof(answer), 0) > 0)
		;
}

static __attribute__((noreturn)) void fire_probe_udp(unsigned target)
{
	struct prober p = {.target = target, .random = target * 99 + 5};
	int connected[2][N_DESTINATIONS], lasting[2];
	unsigned round;

	memset(connected, -1, sizeof(connected));
	p.family = AF_INET;
	lasting[0] = prober_socket(&p, SOCK_DGRAM);
	p.family = AF_INET6;
	lasting[1] = prober_socket(&p, SOCK_DGRAM);
	for (round = 0; !atomic_load(&fire->stop); round++) {
		probe_connected(&p, connected);
		probe_lasting(&p, lasting);
		probe_fresh(&p, 20000 + target * PORTS + round % PORTS);
	}
	_exit(0);
}

/* ---- open connections through a few slow swaps ---- */

static bool live_udp(int fd, struct prober *p, bool alive)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	char answer[64];
	int error;

	while (recv(fd, answer, sizeof(answer), 0) > 0)
		;
	p->done = atomic_load(&fire->targets[p->target].done);
	error = send_result(fd, p, 1, NULL, 0);
	if (!alive)
		return error == EPERM;
	return !error && poll(&ready, 1, 1000) == 1 && recv(fd, answer, sizeof(answer), 0) > 0;
}

/* Alive again: first comes the byte that was held up, by retransmission. */
static bool live_tcp(int fd, bool alive, int *held)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	char byte = 'h';

	if (!alive) {
		if (write(fd, &byte, 1) != 1)
			return false;
		++*held;
		return poll(&ready, 1, 300) == 0;
	}
	for (; *held; --*held)
		if (poll(&ready, 1, 10000) != 1 || read(fd, &byte, 1) != 1)
			return false;
	return ping(fd, 1000);
}

/* Opens a connection and a socket to ONLY_A, then obeys: 'd' they must be dead,
 * 'a' alive; answers 'y' or 'n'. */
static __attribute__((noreturn)) void fire_probe_live(unsigned target, int family, int commands)
{
	struct prober p = {.target = target, .family = family};
	int tcp = open_stream(&p, ONLY_A), udp = prober_socket(&p, SOCK_DGRAM), held = 0;
	struct sockaddr_storage to;
	socklen_t len = fire_address(family, target, ONLY_A, PORT_UDP, &to);
	bool good = tcp >= 0 && !connect(udp, (struct sockaddr *)&to, len), tcp_good;
	char letter;

	while (read(commands, &letter, 1) == 1) {
		if (good) {
			good = live_udp(udp, &p, letter == 'a');
			tcp_good = live_tcp(tcp, letter == 'a', &held);
			if (!good || !tcp_good)
				fprintf(stderr, "target %u IPv%d: %s not %s\n", target,
					family == AF_INET ? 4 : 6, good ? "TCP" : "UDP",
					letter == 'a' ? "alive" : "cut");
			good = good && tcp_good;
		}
		if (write(commands, good ? "y" : "n", 1) != 1)
			break;
	}
	_exit(0);
}

#endif
