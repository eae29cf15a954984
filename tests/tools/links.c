// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * links [--receive-buffer BYTES]
 * Prints what the monitor of devices tells, one JSON object a line, and
 * {"change": "settled"} whenever a dump has ended. Ends at SIGTERM.
 */
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target/links.h"

static void print_link(void *context, enum sl_link_change change, const struct sl_link *link,
		       const struct sl_link *before)
{
	static const char *const words[] = {"new", "renamed", "master", "again", "gone"};

	printf("{\"change\": \"%s\", \"ifindex\": %u, \"name\": \"%s\", \"kind\": \"%s\", "
	       "\"master\": %u, \"type\": %u, \"before\": \"%s\"}\n",
	       words[change], link->ifindex, link->name, link->kind, link->master, link->type,
	       before ? before->name : "");
}

static int watch(struct sl_links *links, int addresses)
{
	struct pollfd polls[2] = {{.fd = sl_links_fd(links), .events = POLLIN},
				  {.fd = addresses, .events = POLLIN}};
	bool settled = false;
	int err;

	for (;;) {
		if (poll(polls, 2, -1) < 0)
			return 1;
		err = sl_links_read(links);
		if (err) {
			fprintf(stderr, "links: %s\n", strerror(-err));
			return 1;
		}
		if (!settled && !sl_links_catching_up(links))
			printf("{\"change\": \"settled\", \"overruns\": %lu}\n",
			       sl_links_overruns(links));
		settled = !sl_links_catching_up(links);
		if (polls[1].revents && sl_addresses_read(addresses) == 1)
			puts("{\"change\": \"addresses\"}");
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"receive-buffer", required_argument, NULL, 'r'},
		{0},
	};
	unsigned receive_buffer = 0;
	struct sl_links *links;
	int option, addresses, err;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option != 'r')
			return 2;
		receive_buffer = strtoul(optarg, NULL, 10);
	}
	err = sl_links_open(receive_buffer, print_link, NULL, &links);
	addresses = err ? err : sl_addresses_open();
	if (addresses < 0) {
		fprintf(stderr, "links: %s\n", strerror(-addresses));
		return 1;
	}
	return watch(links, addresses);
}
