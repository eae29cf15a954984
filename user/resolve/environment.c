// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What the sets that depend on the machine hold for one network namespace. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define MOVE_TRIES 8	/* a device that is moved while it is looked at */

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
		setns(foreign->netns_fd, CLONE_NEWNET) ? -errno : sl_net_view_read(foreign->view, false);
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

static bool is_loopback(const struct sl_cidr *a)
{
	static const struct sl_cidr four = {.addr = {127}, .family = 4, .len = 8};
	static const struct sl_cidr six = {.addr = {[15] = 1}, .family = 6, .len = 128};

	return sl_cidr_within(a, &four) || sl_cidr_within(a, &six);
}

static bool is_link_local6(const struct sl_cidr *a)
{
	static const struct sl_cidr block = {.addr = {0xfe, 0x80}, .family = 6, .len = 10};

	return sl_cidr_within(a, &block);
}

/* What the sets of an environment are made from. */
struct sets {
	struct sl_cidr_list gateway, subnet, host;
	struct sl_resolvconf conf;
};

/* What is of an interface, or of all (0). */
static int take(const struct sl_net_list *from, unsigned ifindex, struct sl_cidr_list *to)
{
	int err = 0;

	for (size_t i = 0; !err && i < from->n; i++)
		if (!ifindex || from->v[i].ifindex == ifindex)
			err = sl_cidr_list_add(to, &from->v[i].cidr);
	return err;
}

static int take_routed(const struct sl_net_view *view, struct sets *sets)
{
	int err = take(&view->hops, 0, &sets->gateway);

	for (size_t i = 0; !err && i < view->onlink.n; i++)
		if (sl_index_list_has(&view->ifindexes, view->onlink.v[i].ifindex))
			err = sl_cidr_list_add(&sets->subnet, &view->onlink.v[i].cidr);
	return err;
}

static int take_attached(const struct sl_net_view *view, unsigned ifindex, struct sets *sets)
{
	int err = take(&view->addresses, ifindex, &sets->gateway);

	if (!err)
		err = take(&view->hops, ifindex, &sets->gateway);
	return err ? err : take(&view->onlink, ifindex, &sets->subnet);
}

static int take_host(const struct sl_net_view *view, struct sets *sets)
{
	int err = 0;

	for (size_t i = 0; !err && i < view->addresses.n; i++)
		if (!is_loopback(&view->addresses.v[i].cidr))
			err = sl_cidr_list_add(&sets->host, &view->addresses.v[i].cidr);
	return err;
}

/* Without the link-local addresses of ports: such an address answers on its own
 * interface alone (rt6_need_strict() of the kernel), a port's frames come to its
 * bridge, and a host has one for each of a thousand taps. */
static int take_host_of_device(const struct sl_net_view *view, struct sets *sets)
{
	int err = 0;

	for (size_t i = 0; !err && i < view->addresses.n; i++) {
		const struct sl_net_cidr *a = &view->addresses.v[i];

		if (!is_loopback(&a->cidr) &&
		    !(is_link_local6(&a->cidr) && sl_index_list_has(&view->ports, a->ifindex)))
			err = sl_cidr_list_add(&sets->host, &a->cidr);
	}
	return err;
}

static int take_resolvers(const char *resolv_conf, struct sets *sets)
{
	return sl_resolvconf_read(resolv_conf ? resolv_conf : "/etc/resolv.conf", &sets->conf);
}

/* Moves the sets to *env, or frees them after an error. */
static int finish(struct sets *sets, int err, struct sl_environment *env)
{
	if (err) {
		free(sets->gateway.v);
		free(sets->subnet.v);
		free(sets->host.v);
		sl_resolvconf_free(&sets->conf);
		return err;
	}
	sl_cidr_list_sort(&sets->gateway);
	sl_cidr_list_sort(&sets->subnet);
	sl_cidr_list_sort(&sets->host);
	*env = (struct sl_environment){
		.gateway = sets->gateway.v,
		.n_gateway = sets->gateway.n,
		.subnet = sets->subnet.v,
		.n_subnet = sets->subnet.n,
		.host = sets->host.v,
		.n_host = sets->host.n,
		.resolvers = sets->conf.servers.v,
		.n_resolvers = sets->conf.servers.n,
		.search = sets->conf.search,
		.n_search = sets->conf.n_search,
	};
	return 0;
}

/* Both namespaces, or the one that is both. */
static int read_views(int netns_fd, struct sl_net_view *target, struct sl_net_view *own,
		      const struct sl_net_view **host)
{
	int err;

	*host = netns_fd < 0 ? target : own;
	if (netns_fd < 0)
		return sl_net_view_read(target, false);
	err = read_foreign(netns_fd, target);
	return err ? err : sl_net_view_read(own, false);
}

int sl_environment_read(int netns_fd, const char *resolv_conf, struct sl_environment *env)
{
	struct sl_net_view target = {0}, own = {0};
	const struct sl_net_view *host;
	struct sets sets = {0};
	int err;

	err = read_views(netns_fd, &target, &own, &host);
	if (!err)
		err = take_routed(&target, &sets);
	if (!err)
		err = take_host(host, &sets);
	if (!err)
		err = take_resolvers(resolv_conf, &sets);
	sl_net_view_free(&target);
	sl_net_view_free(&own);
	return finish(&sets, err, env);
}

/* The view and where the device's network is in it, both of one moment: a device
 * that is moved to another bridge meanwhile is looked at again. */
static int read_attached(unsigned ifindex, struct sl_net_view *view, unsigned *upper)
{
	unsigned again;
	int err = -EINTR;

	for (int i = 0; i < MOVE_TRIES && err == -EINTR; i++) {
		err = sl_link_upper(ifindex, upper);
		if (!err)
			err = sl_net_view_read(view, true);
		if (!err)
			err = sl_link_upper(ifindex, &again);
		if (!err && again != *upper)
			err = -EINTR;
	}
	return err;
}

int sl_environment_read_device(unsigned ifindex, const char *resolv_conf,
			       struct sl_environment *env)
{
	struct sl_net_view view = {0};
	struct sets sets = {0};
	unsigned upper = 0;
	int err;

	err = read_attached(ifindex, &view, &upper);
	if (!err)
		err = take_attached(&view, upper, &sets);
	if (!err)
		err = take_host_of_device(&view, &sets);
	if (!err)
		err = take_resolvers(resolv_conf, &sets);
	sl_net_view_free(&view);
	err = finish(&sets, err, env);
	if (!err) {
		env->of_device = true;
		env->upper = upper;
	}
	return err;
}

static void drop_conf(struct sl_environment *env)
{
	free(env->resolvers);
	for (size_t i = 0; i < env->n_search; i++)
		free(env->search[i]);
	free(env->search);
}

/* err: of its reading; taken over in any case. */
static int take_conf(struct sl_resolvconf *conf, int err, struct sl_environment *env)
{
	if (err) {
		sl_resolvconf_free(conf);
		return err;
	}
	drop_conf(env);
	env->resolvers = conf->servers.v;
	env->n_resolvers = conf->servers.n;
	env->search = conf->search;
	env->n_search = conf->n_search;
	return 0;
}

int sl_environment_take_conf(const char *resolv_conf, struct sl_environment *env)
{
	struct sets sets = {0};

	return take_conf(&sets.conf, take_resolvers(resolv_conf, &sets), env);
}

int sl_environment_take_conf_text(const char *resolv_conf, struct sl_environment *env)
{
	struct sl_resolvconf conf = {};
	char *text = strdup(resolv_conf);
	int err = text ? take_conf(&conf, sl_resolvconf_parse(text, &conf), env) : -ENOMEM;

	free(text);
	return err;
}

void sl_environment_print_conf(const struct sl_environment *env, FILE *out)
{
	char text[SL_CIDR_TEXT];

	for (size_t i = 0; i < env->n_resolvers; i++) {
		sl_cidr_format(&env->resolvers[i], text);
		fprintf(out, "nameserver %s\n", text);
	}
	for (size_t i = 0; i < env->n_search; i++)
		fprintf(out, "%s%s", i ? " " : "search ", env->search[i]);
	fputs("\n", out);
}

void sl_environment_free(struct sl_environment *env)
{
	free(env->gateway);
	free(env->subnet);
	free(env->host);
	free(env->resolvers);
	for (size_t i = 0; i < env->n_search; i++)
		free(env->search[i]);
	free(env->search);
	*env = (struct sl_environment){0};
}
