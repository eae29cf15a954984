// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * first_frames tap NAME MILLISECONDS
 *     makes a tap and writes frames to it from its first instant
 * first_frames port NAME MILLISECONDS
 *     waits for the interface NAME, sets it up and sends from it
 * A guest in the greatest hurry. Prints {"up": NS, "sent": N}: when (monotonic
 * clock) the device was up, and how many frames the kernel took.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WAIT_NS 10000000000ull

static unsigned long long now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* UDP 192.0.2.1:1 -> 192.0.2.2:9, broadcast Ethernet, 18 bytes of nothing; no
 * checksum of UDP's. */
static const unsigned char frame[60] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0, 1, 0x08, 0x00,
	0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0xb6, 0xbb, 192, 0, 2, 1, 192, 0, 2, 2,
	0, 1, 0, 9, 0, 26, 0, 0,
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void name_of(struct ifreq *request, const char *name)
{
	memset(request, 0, sizeof(*request));
	if (strlen(name) >= sizeof(request->ifr_name))
		exit(2);
	strcpy(request->ifr_name, name);
}

static int make_tap(const char *name)
{
	struct ifreq request;
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	name_of(&request, name);
	request.ifr_flags = IFF_TAP | IFF_NO_PI;
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request))
		fail(name);
	return fd;
}

/* The socket, bound to the interface once it is there. */
static int open_port(const char *name)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = 0};
	unsigned long long end = now_ns() + WAIT_NS;
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0)
		fail("AF_PACKET");
	while (!(address.sll_ifindex = (int)if_nametoindex(name)))
		if (now_ns() > end)
			fail(name);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)))
		fail(name);
	return fd;
}

static void set_up(const char *name)
{
	struct ifreq request;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	name_of(&request, name);
	if (ioctl(fd, SIOCGIFFLAGS, &request))
		fail("SIOCGIFFLAGS");
	request.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request))
		fail("SIOCSIFFLAGS");
	close(fd);
}

int main(int argc, char **argv)
{
	unsigned long long up, end, sent = 0;
	int fd;

	if (argc != 4)
		return 2;
	fd = !strcmp(argv[1], "tap") ? make_tap(argv[2]) : open_port(argv[2]);
	set_up(argv[2]);
	up = now_ns();
	end = up + strtoull(argv[3], NULL, 10) * 1000000;
	while (now_ns() < end)
		if (write(fd, frame, sizeof(frame)) == sizeof(frame))
			sent++;
	printf("{\"up\": %llu, \"sent\": %llu}\n", up, sent);
	fflush(stdout);
	/* the device, and what counted its frames, live until they were read */
	while (read(STDIN_FILENO, argv[1], 1) > 0)
		;
	return 0;
}
