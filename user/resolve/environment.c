// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What the sets that depend on the machine hold for one network namespace. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "internal.h"

struct foreign {
	int netns_fd;
	struct sl_net_view *view;
	int err;
};

/* setns(2) moves this thread only, and it ends here. */
static void *read_in_netns(void *data)
{
	struct foreign *foreign = data;

	foreign->err =
		setns(foreign->netns_fd, CLONE_NEWNET) ? -errno : sl_net_view_read(foreign->view);
	return NULL;
}

static int read_foreign(int netns_fd, struct sl_net_view *view)
{
	struct foreign foreign = {.netns_fd = netns_fd, .view = view};
	pthread_t thread;
	int err;

	err = pthread_create(&thread, NULL, read_in_netns, &foreign);
	if (err)
		return -err;
	pthread_join(thread, NULL);
	return foreign.err;
}

static bool default_interface(const struct sl_net_view *view, unsigned ifindex)
{
	for (size_t i = 0; i < view->n_ifindexes; i++)
		if (view->ifindexes[i] == ifindex)
			return true;
	return false;
}

static int take_subnets(const struct sl_net_view *view, struct sl_cidr_list *list)
{
	int err = 0;

	for (size_t i = 0; !err && i < view->n_onlink; i++)
		if (default_interface(view, view->onlink[i].ifindex))
			err = sl_cidr_list_add(list, &view->onlink[i].cidr);
	return err;
}

static bool is_loopback(const struct sl_cidr *a)
{
	static const struct sl_cidr four = {.addr = {127}, .family = 4, .len = 8};
	static const struct sl_cidr six = {.addr = {[15] = 1}, .family = 6, .len = 128};

	return sl_cidr_within(a, &four) || sl_cidr_within(a, &six);
}

static int take_hosts(const struct sl_net_view *view, struct sl_cidr_list *list)
{
	int err = 0;

	for (size_t i = 0; !err && i < view->addresses.n; i++)
		if (!is_loopback(&view->addresses.v[i]))
			err = sl_cidr_list_add(list, &view->addresses.v[i]);
	return err;
}

/* Both namespaces, or the one that is both. */
static int read_views(int netns_fd, struct sl_net_view *target, struct sl_net_view *own,
		      const struct sl_net_view **host)
{
	int err;

	*host = netns_fd < 0 ? target : own;
	if (netns_fd < 0)
		return sl_net_view_read(target);
	err = read_foreign(netns_fd, target);
	return err ? err : sl_net_view_read(own);
}

int sl_environment_read(int netns_fd, const char *resolv_conf, struct sl_environment *env)
{
	struct sl_cidr_list subnet = {0}, host = {0}, resolvers = {0};
	struct sl_net_view target = {0}, own = {0};
	const struct sl_net_view *host_view;
	int err;

	err = read_views(netns_fd, &target, &own, &host_view);
	if (!err)
		err = take_subnets(&target, &subnet);
	if (!err)
		err = take_hosts(host_view, &host);
	if (!err)
		err = sl_resolvconf_read(resolv_conf ? resolv_conf : "/etc/resolv.conf",
					 &resolvers);
	if (err) {
		free(subnet.v);
		free(host.v);
		free(resolvers.v);
	} else {
		sl_cidr_list_sort(&target.hops);
		sl_cidr_list_sort(&subnet);
		sl_cidr_list_sort(&host);
		*env = (struct sl_environment){
			.gateway = target.hops.v,
			.n_gateway = target.hops.n,
			.subnet = subnet.v,
			.n_subnet = subnet.n,
			.host = host.v,
			.n_host = host.n,
			.resolvers = resolvers.v,
			.n_resolvers = resolvers.n,
		};
		target.hops = (struct sl_cidr_list){0};
	}
	sl_net_view_free(&target);
	sl_net_view_free(&own);
	return err;
}

void sl_environment_free(struct sl_environment *env)
{
	free(env->gateway);
	free(env->subnet);
	free(env->host);
	free(env->resolvers);
	*env = (struct sl_environment){0};
}
