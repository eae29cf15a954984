// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * environment [--netns PATH | --dev NAME | --ifindex N] [--resolv-conf PATH]
 * Prints what the sets that depend on the machine hold, one JSON object a line.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <net/if.h>
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

static void print_names(const char *name, char *const *names, size_t n)
{
	printf("{\"set\": \"%s\", \"cidrs\": [", name);
	for (size_t i = 0; i < n; i++)
		printf("%s\"%s\"", i ? ", " : "", names[i]);
	puts("]}");
}

static int read_environment(const char *netns, bool device, unsigned long ifindex,
			    const char *resolv_conf, struct sl_environment *env)
{
	int fd = -1;

	if (device)
		return sl_environment_read_device(ifindex, resolv_conf, env);
	if (netns) {
		fd = open(netns, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return -errno;
	}
	return sl_environment_read(fd, resolv_conf, env);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"netns", required_argument, NULL, 'n'},
		{"dev", required_argument, NULL, 'd'},
		{"ifindex", required_argument, NULL, 'i'},
		{"resolv-conf", required_argument, NULL, 'r'},
		{0},
	};
	const char *netns = NULL, *resolv_conf = NULL;
	struct sl_environment env;
	unsigned long ifindex = 0;
	bool device = false;
	int option, err;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'n')
			netns = optarg;
		else if (option == 'd')
			device = true, ifindex = if_nametoindex(optarg);
		else if (option == 'i')
			device = true, ifindex = strtoul(optarg, NULL, 10);
		else if (option == 'r')
			resolv_conf = optarg;
		else
			return 2;
	}
	err = read_environment(netns, device, ifindex, resolv_conf, &env);
	if (err) {
		fprintf(stderr, "environment: %s\n", strerror(-err));
		return 1;
	}
	print_set("gateway", env.gateway, env.n_gateway);
	print_set("subnet", env.subnet, env.n_subnet);
	print_set("host", env.host, env.n_host);
	print_set("resolvers", env.resolvers, env.n_resolvers);
	print_names("search", env.search, env.n_search);
	sl_environment_free(&env);
	return 0;
}
