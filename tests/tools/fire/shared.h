/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the parts of reload_fire share: targets and their destinations, the
 * count of swaps that everyone sees, and the rule by which a probe's outcome is
 * right or wrong.
 *
 * Swap k puts policy A (k even) or B (k odd) in force. Before it begins, `begun`
 * becomes k; when it is over, `done` becomes k. A probe that ran between done =
 * c0 and begun = c1 met one of the policies c0..c1, and never an older one than
 * the same process has met before.
 */
#ifndef SLUICE_TESTS_FIRE_SHARED_H
#define SLUICE_TESTS_FIRE_SHARED_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/types.h>

#define N_TARGETS 4
#define PORT_UDP 7001	/* echoes what asks for it */
#define PORT_ECHO 7001	/* TCP */
#define PORT_RESET 7002 /* TCP: accepts and resets */

/* A target's own destinations; no other target's policy allows any of them. */
enum destination { ONLY_A, ONLY_B, BOTH, NEITHER, N_DESTINATIONS };

struct fire_target {
	_Atomic __u64 begun, done;
	_Atomic __u64 probes, passed, denied;
	_Atomic __u64 settled; /* probes during which nothing was swapped */
};

struct fire { /* shared memory */
	struct fire_target targets[N_TARGETS];
	_Atomic __u64 wrong;
	_Atomic int stop;
	_Atomic __u64 received; /* datagrams that the server checked */
};

static struct fire *fire;

/* A datagram says who sent it and when. */
struct fire_message {
	__u32 target;
	__u32 echo; /* 1: send it back */
	__u64 done; /* fire->targets[target].done before it was sent */
};

static bool fire_allows(__u64 swap, enum destination destination)
{
	if (destination == ONLY_A || destination == ONLY_B)
		return (swap % 2 == 0) == (destination == ONLY_A);
	return destination == BOTH;
}

/* 127.20.T.D and fd20::T:D, both counted from 1. */
static socklen_t fire_address(int family, unsigned target, enum destination destination, __u16 port,
			      struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (void *)out;
	struct sockaddr_in6 *v6 = (void *)out;

	memset(out, 0, sizeof(*out));
	if (family == AF_INET) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		v4->sin_addr.s_addr = htonl(0x7f140000 | (target + 1) << 8 | (destination + 1));
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	v6->sin6_addr.s6_addr[0] = 0xfd;
	v6->sin6_addr.s6_addr[1] = 0x20;
	v6->sin6_addr.s6_addr[13] = target + 1;
	v6->sin6_addr.s6_addr[15] = destination + 1;
	return sizeof(*v6);
}

static __attribute__((format(printf, 1, 2))) void fire_wrong(const char *format, ...)
{
	char line[256];
	va_list args;

	if (atomic_fetch_add(&fire->wrong, 1) >= 20)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	fprintf(stderr, "wrong: %s\n", line);
}

#endif
