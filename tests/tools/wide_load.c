// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * wide_load socket DESTINATIONS PORT SECONDS: datagrams of 64 bytes to all of a file's
 * addresses in turn, from one socket that is not connected (sendmmsg, 64 a call).
 * wide_load tap DESTINATIONS PORT SECONDS NAME SOURCE MAC ROUTER: the same as frames that a
 * guest of this address and MAC writes to its tap (which is there already), each on its way
 * through the host's stack before the write returns.
 *
 * Sends to each address once, then a slice of SECONDS for each line of stdin: prints how many
 * were sent, and the ns of CPU that this took. Of a tap the line says which program is first at the device's tcx hook: "none", one
 * that does nothing ("empty"), or the one that `sluice attach` put there ("ours"): one device
 * for all three, so nothing else differs between them.
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
#include <unistd.h>

#include "kernel/tc.h"
#include "turns.h"

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

static unsigned ifindex;
static int link_fd = -1, empty_program, our_program;

static int load_empty(void)
{
	static const struct bpf_insn next[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "empty", "GPL", next, 2, NULL);
}

/* The link by which a program is on the device: its descriptor. tcx.ifindex stands where
 * xdp.ifindex does (include/uapi/linux/bpf.h). */
static int link_of(__u32 program)
{
	__u32 id = 0, size;
	struct bpf_link_info info;
	int found;

	while (!bpf_link_get_next_id(id, &id)) {
		found = bpf_link_get_fd_by_id(id);
		size = sizeof(info);
		memset(&info, 0, sizeof(info));
		if (found >= 0 && !bpf_obj_get_info_by_fd(found, &info, &size) &&
		    info.prog_id == program && info.xdp.ifindex == ifindex)
			return found;
		if (found >= 0)
			close(found);
	}
	return -1;
}

/* The program that is first on the device, taken off it; 0: none. */
static int take_ours(void)
{
	__u32 id = 0;
	int program, link;

	if (sl_tcx_first(ifindex, SL_EGRESS, &id) || !id)
		return 0;
	program = bpf_prog_get_fd_by_id(id);
	link = link_of(id);
	if (program < 0 || link < 0 || bpf_link_detach(link))
		die("the program at the tap's tcx hook");
	close(link);
	return program;
}

static void put_program(const char *word)
{
	int program = !strcmp(word, "empty") ? empty_program : our_program;

	if (link_fd >= 0)
		close(link_fd);
	link_fd = -1;
	if (!strcmp(word, "none"))
		return;
	link_fd = sl_tcx_link(program, ifindex, SL_EGRESS);
	if (link_fd < 0)
		die(word);
}

static void open_tap(const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request))
		die(name);
	ifindex = if_nametoindex(name);
	our_program = take_ours();
	empty_program = load_empty();
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

static void (*send_batch)(size_t first);

static void send_to_all(void)
{
	for (size_t at = 0; at < n_to; at += BATCH)
		send_batch(at);
}

static unsigned long send_in_turn(const void *unused, double end)
{
	static size_t at;
	unsigned long sent = 0;

	(void)unused;
	do {
		send_batch(at);
		at = (at + BATCH) % n_to;
		sent += BATCH;
	} while (now() < end);
	return sent;
}

int main(int argc, char **argv)
{
	bool tap = argc == 9 && !strcmp(argv[1], "tap");

	if (!tap && (argc != 5 || strcmp(argv[1], "socket"))) {
		fputs("usage: wide_load socket DESTINATIONS PORT SECONDS\n"
		      "       wide_load tap DESTINATIONS PORT SECONDS NAME SOURCE MAC ROUTER\n",
		      stderr);
		return 2;
	}
	read_destinations(argv[2], (unsigned short)atoi(argv[3]));
	send_batch = tap ? send_from_tap : send_from_socket;
	if (tap) {
		open_tap(argv[5]);
		make_frame(argv[6], argv[7], argv[8], (unsigned)atoi(argv[3]));
		put_program(our_program ? "ours" : "none");
	} else {
		open_socket();
	}
	send_to_all();
	turns(send_in_turn, NULL, atof(argv[4]), tap ? put_program : NULL);
	return 0;
}
