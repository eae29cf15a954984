// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * wide_load socket DESTINATIONS PORT SECONDS: datagrams of 64 bytes to all of a file's
 * addresses in turn, from one socket that is not connected (sendmmsg, 64 a call).
 * wide_load tap DESTINATIONS PORT SECONDS NAME SOURCE MAC ROUTER [empty]: the same as frames
 * that a guest of this address and MAC writes to its tap (which is there already), each on its
 * way through the host's stack before the write returns. empty: behind a program at the
 * device's tcx hook that does nothing.
 *
 * Each address is sent to once before the time begins. Prints how many were sent, and the ns
 * of CPU that this took.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "kernel/tc.h"

#define BATCH 64
#define PAYLOAD 64
#define MOST 65536
#define SOURCE_PORT 4000
#define HEAD4 (14 + 20)
#define HEAD6 (14 + 40)

static struct sockaddr_storage to[MOST];
static size_t n_to;
static int fd, family;
static socklen_t length; /* of an address */
static uint8_t frame[HEAD6 + 8 + PAYLOAD];

static void die(const char *what)
{
	fprintf(stderr, "wide_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static unsigned long cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (unsigned long)ts.tv_sec * 1000000000ul + (unsigned long)ts.tv_nsec;
}

static void *address_of(struct sockaddr_storage *s)
{
	return family == AF_INET ? (void *)&((struct sockaddr_in *)s)->sin_addr
				 : (void *)&((struct sockaddr_in6 *)s)->sin6_addr;
}

static void read_destinations(const char *path, unsigned short port)
{
	FILE *in = fopen(path, "r");
	char line[128];

	if (!in)
		die(path);
	while (n_to < MOST && fgets(line, sizeof(line), in)) {
		line[strcspn(line, "\n")] = 0;
		family = strchr(line, ':') ? AF_INET6 : AF_INET;
		length = family == AF_INET ? sizeof(struct sockaddr_in)
					   : sizeof(struct sockaddr_in6);
		to[n_to].ss_family = family;
		/* at the same place in both */
		((struct sockaddr_in *)&to[n_to])->sin_port = htons(port);
		if (inet_pton(family, line, address_of(&to[n_to++])) != 1)
			die(line);
	}
	fclose(in);
	if (n_to < BATCH || n_to % BATCH)
		die("the number of destinations is no multiple of 64");
}

/* ---- a socket ---- */

static void open_socket(void)
{
	fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket");
}

static void send_from_socket(size_t first)
{
	static char payload[PAYLOAD];
	struct iovec data = {payload, sizeof(payload)};
	struct mmsghdr batch[BATCH] = {};
	size_t i;

	for (i = 0; i < BATCH; i++) {
		batch[i].msg_hdr.msg_name = &to[first + i];
		batch[i].msg_hdr.msg_namelen = length;
		batch[i].msg_hdr.msg_iov = &data;
		batch[i].msg_hdr.msg_iovlen = 1;
	}
	if (sendmmsg(fd, batch, BATCH, 0) != BATCH)
		die("sendmmsg");
}

/* ---- a tap ---- */

static void open_tap(const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request))
		die(name);
}

/* It lives as long as this process. */
static void attach_empty(const char *name)
{
	static const struct bpf_insn next[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int program = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "empty", "GPL", next, 2, NULL);

	if (program < 0 || sl_tcx_link(program, if_nametoindex(name), SL_EGRESS) < 0)
		die("tcx");
}

static void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void mac_of(const char *text, uint8_t out[6])
{
	unsigned b[6];

	if (sscanf(text, "%x:%x:%x:%x:%x:%x", b, b + 1, b + 2, b + 3, b + 4, b + 5) != 6)
		die(text);
	for (int i = 0; i < 6; i++)
		out[i] = (uint8_t)b[i];
}

static void make_frame(const char *source, const char *mac, const char *router, unsigned port)
{
	uint8_t *ip = frame + 14, *udp = frame + (family == AF_INET ? HEAD4 : HEAD6);

	mac_of(router, frame);
	mac_of(mac, frame + 6);
	put16(frame + 12, family == AF_INET ? 0x0800 : 0x86dd);
	if (inet_pton(family, source, ip + (family == AF_INET ? 12 : 8)) != 1)
		die(source);
	if (family == AF_INET) {
		ip[0] = 0x45;
		put16(ip + 2, 20 + 8 + PAYLOAD);
		ip[8] = 64;
		ip[9] = 17;
	} else {
		ip[0] = 0x60;
		put16(ip + 4, 8 + PAYLOAD);
		ip[6] = 17;
		ip[7] = 64;
	}
	put16(udp, SOURCE_PORT);
	put16(udp + 2, port);
	put16(udp + 4, 8 + PAYLOAD);
}

/* The header's; IPv6 has none, and UDP's own is nobody's matter before the end. */
static void put_checksum(uint8_t *ip)
{
	unsigned sum = 0, i;

	put16(ip + 10, 0);
	for (i = 0; i < 20; i += 2)
		sum += (unsigned)ip[i] << 8 | ip[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	put16(ip + 10, ~(sum + (sum >> 16)) & 0xffff);
}

static void send_from_tap(size_t first)
{
	size_t bytes = (family == AF_INET ? HEAD4 : HEAD6) + 8 + PAYLOAD, i;

	for (i = first; i < first + BATCH; i++) {
		if (family == AF_INET) {
			memcpy(frame + 14 + 16, address_of(&to[i]), 4);
			put_checksum(frame + 14);
		} else {
			memcpy(frame + 14 + 24, address_of(&to[i]), 16);
		}
		if (write(fd, frame, bytes) != (ssize_t)bytes)
			die("write");
	}
}

/* ---- both ---- */

static void measure(void (*send_batch)(size_t first), double seconds)
{
	unsigned long sent = 0, cpu;
	size_t at;
	double end;

	for (at = 0; at < n_to; at += BATCH)
		send_batch(at);
	cpu = cpu_ns();
	for (at = 0, end = now() + seconds; now() < end; sent += BATCH) {
		send_batch(at);
		at = (at + BATCH) % n_to;
	}
	printf("%lu %lu\n", sent, cpu_ns() - cpu);
}

int main(int argc, char **argv)
{
	bool tap = argc >= 9 && !strcmp(argv[1], "tap");

	if (!tap && (argc != 5 || strcmp(argv[1], "socket"))) {
		fputs("usage: wide_load socket DESTINATIONS PORT SECONDS\n"
		      "       wide_load tap DESTINATIONS PORT SECONDS NAME SOURCE MAC ROUTER "
		      "[empty]\n",
		      stderr);
		return 2;
	}
	read_destinations(argv[2], (unsigned short)atoi(argv[3]));
	if (!tap) {
		open_socket();
		measure(send_from_socket, atof(argv[4]));
		return 0;
	}
	open_tap(argv[5]);
	if (argc > 9)
		attach_empty(argv[5]);
	make_frame(argv[6], argv[7], argv[8], (unsigned)atoi(argv[3]));
	measure(send_from_tap, atof(argv[4]));
	return 0;
}
