// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * tap_pump FD FD: carries frames, with their virtio-net headers, between two taps,
 * as a hypervisor does between a guest's network card and the host's tap. Ends
 * with its taps, or when it is killed.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BATCH 64	/* frames of one side before the other has its turn */

static char frame[70000];

/* -errno of what ends the pump; 0: nothing more to read for now. */
static int carry(int from, int to)
{
	for (int i = 0; i < BATCH; i++) {
		ssize_t n = read(from, frame, sizeof(frame));

		if (n < 0)
			return errno == EAGAIN || errno == EIO ? 0 : -errno;
		/* A full queue, or a device that is down, loses the frame: a wire does. */
		if (write(to, frame, (size_t)n) < 0 && errno != EAGAIN && errno != EIO &&
		    errno != EINVAL && errno != ENOMEM)
			return -errno;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct pollfd side[2];
	int err = 0;

	if (argc != 3) {
		fprintf(stderr, "usage: tap_pump FD FD\n");
		return 2;
	}
	for (int i = 0; i < 2; i++)
		side[i] = (struct pollfd){.fd = atoi(argv[i + 1]), .events = POLLIN};
	while (!err && poll(side, 2, -1) >= 0) {
		for (int i = 0; i < 2 && !err; i++) {
			if (side[i].revents & POLLIN)
				err = carry(side[i].fd, side[!i].fd);
			else if (side[i].revents & (POLLERR | POLLHUP))
				usleep(1000); /* down, or not up yet: poll does not wait then */
		}
	}
	fprintf(stderr, "tap_pump: %s\n", err ? "a tap is gone" : "poll failed");
	return 1;
}
