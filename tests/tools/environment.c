// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * environment [--netns PATH] [--resolv-conf PATH]
 * Prints what the sets that depend on the machine hold, one JSON object a line.
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resolve/resolve.h"

static void print_set(const char *name, const struct sl_cidr *cidrs, size_t n)
{
	char text[SL_CIDR_TEXT];

	printf("{\"set\": \"%s\", \"cidrs\": [", name);
	for (size_t i = 0; i < n; i++)
		printf("%s\"%s\"", i ? ", " : "", sl_cidr_format(&cidrs[i], text));
	puts("]}");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"netns", required_argument, NULL, 'n'},
		{"resolv-conf", required_argument, NULL, 'r'},
		{0},
	};
	const char *netns = NULL, *resolv_conf = NULL;
	struct sl_environment env;
	int option, fd = -1, err;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'n')
			netns = optarg;
		else if (option == 'r')
			resolv_conf = optarg;
		else
			return 2;
	}
	if (netns) {
		fd = open(netns, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			perror(netns);
			return 1;
		}
	}
	err = sl_environment_read(fd, resolv_conf, &env);
	if (err) {
		fprintf(stderr, "environment: %s\n", strerror(-err));
		return 1;
	}
	print_set("gateway", env.gateway, env.n_gateway);
	print_set("subnet", env.subnet, env.n_subnet);
	print_set("host", env.host, env.n_host);
	print_set("resolvers", env.resolvers, env.n_resolvers);
	sl_environment_free(&env);
	return 0;
}
