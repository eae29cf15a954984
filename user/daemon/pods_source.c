// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The pods of a node: whom sluiced follows for them, the runtime and the objects. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "apiserver/api.h"
#include "daemon.h"

static void on_news(void *context, __u32 events)
{
	(void)context; /* that the loop turns is enough: sl_pods_work looks */
	(void)events;
}

static void follow(struct sl_daemon *d, struct sl_loop_source *news, int fd)
{
	*news = (struct sl_loop_source){.fd = fd, .ready = on_news, .context = d};
	if (fd >= 0 && sl_loop_add(d->loop, news, EPOLLIN))
		news->fd = -1; /* the tick finds out */
}

static void unfollow(struct sl_daemon *d, struct sl_loop_source *news)
{
	if (news->fd >= 0)
		sl_loop_drop(d->loop, news);
	news->fd = -1;
}

static void close_runtime(struct sl_daemon *d)
{
	struct sl_pods *p = &d->pods;

	unfollow(d, &p->cri_news);
	sl_cri_close(p->cri);
	free(p->cri_path);
	p->cri = NULL;
	p->cri_path = NULL;
	p->ask_at_ns = 0;
}

static void close_source(struct sl_daemon *d)
{
	struct sl_pods *p = &d->pods;

	unfollow(d, &p->source_news);
	if (p->source)
		p->source->ops->free(p->source);
	free(p->source_of);
	p->source = NULL;
	p->source_of = NULL;
	p->version = 0;
}

static bool is_same(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

/* What is opened is another one if this is another text; owned by the caller. */
static char *name_source(const struct sl_config_kubernetes *k)
{
	const struct sl_config_api *api = &k->api;
	char *text;

	if (!api->present)
		return strdup(k->directory);
	return asprintf(&text, "%s ca %s token %s node %s%s",
			api->server ? api->server : "in-cluster", api->ca ? api->ca : "of the pod",
			api->token ? api->token : "of the pod", api->name ? api->name : "of the host",
			api->no_status ? " without status" : "") < 0 ? NULL : text;
}

static int open_api(const struct sl_config_api *api, struct sl_kube_source **out)
{
	struct sl_api_config config = {.server = api->server, .ca = api->ca, .token = api->token,
				       .node = api->name, .no_status = api->no_status};
	struct sl_diag diag = {};
	int err = sl_api_open(&config, out, &diag);

	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	return err;
}

/* What became of a pod's policy, for the status of those that it was made of. */
static enum sl_kube_fate fate_of(void *context, const char *uid, const char **why)
{
	struct sl_daemon *d = context;
	const struct sl_watched_cgroup *w;
	const struct sl_pod *pod = NULL;
	const char *sight;

	for (size_t i = 0; i < d->pods.n && !pod; i++)
		if (!d->pods.list[i].ended && !strcmp(d->pods.list[i].uid, uid))
			pod = &d->pods.list[i];
	*why = SL_PODS_ASTRAY;
	if (!pod)
		return sl_pods_astray(d) ? SL_FATE_REFUSED : SL_FATE_UNKNOWN;
	if (pod->exempt)
		return SL_FATE_UNTOLD;
	*why = pod->why;
	if (*pod->why && !pod->has_cluster)
		return SL_FATE_REFUSED;
	w = pod->text ? sl_cgroups_find(&d->cgroups, pod->id) : NULL;
	if (!w || w->as.renew || w->as.state == SL_WATCHED_WAITING)
		return SL_FATE_UNKNOWN;
	if (w->as.state != SL_WATCHED_ATTACHED || *w->why) {
		*why = w->why;
		return SL_FATE_REFUSED;
	}
	if (*pod->why)
		return SL_FATE_OF_CLUSTER;
	sight = sl_veths_unfit(w);
	if (!pod->partly && !sight)
		return SL_FATE_IN_FORCE;
	snprintf(d->pods.fate, sizeof(d->pods.fate), "%s%s%s", pod->partly ? pod->partly : "",
		 sight ? SL_FATE_OF_ALL : "", sight ? sight : "");
	*why = d->pods.fate;
	return SL_FATE_PARTLY;
}

static void open_source(struct sl_daemon *d)
{
	const struct sl_config_kubernetes *k = &d->config->kubernetes;
	struct sl_pods *p = &d->pods;
	char *name = name_source(k);
	int err;

	if (p->source && is_same(p->source_of, name)) {
		free(name);
		return;
	}
	close_source(d);
	p->source_of = name;
	if (!name)
		err = -ENOMEM;
	else
		err = k->api.present ? open_api(&k->api, &p->source) :
			sl_kube_directory_open(k->directory, &p->source);
	if (err) {
		fprintf(stderr, "sluiced: %s cannot be followed: %s: pods have the default\n",
			k->api.present ? "the API server" : k->directory, strerror(-err));
		return;
	}
	p->source->fate = fate_of;
	p->source->trusts = sl_pod_may_annotate;
	p->source->fate_context = d;
	p->source->dns = &p->dns;
	follow(d, &p->source_news, p->source->ops->fd(p->source));
}

/* Only a source that does not know pods by itself asks for it. */
static void open_runtime(struct sl_daemon *d)
{
	const struct sl_config_kubernetes *k = &d->config->kubernetes;
	const char *path = k->cri ? k->cri : SL_CRI_SOCKET;
	struct sl_pods *p = &d->pods;
	int err;

	if (p->cri && is_same(p->cri_path, path))
		return;
	close_runtime(d);
	if (!p->source || !p->source->ops->set_pods)
		return;
	p->cri_path = strdup(path);
	err = p->cri_path ? sl_cri_open(path, &p->cri) : -ENOMEM;
	if (err) {
		fprintf(stderr, "sluiced: %s cannot be asked for pods: %s\n", path, strerror(-err));
		return;
	}
	follow(d, &p->cri_news, sl_cri_fd(p->cri));
	sl_pods_ask_in(p, 0);
}

void sl_pods_open(struct sl_daemon *d)
{
	open_source(d);
	open_runtime(d);
}

void sl_pods_close_sources(struct sl_daemon *d)
{
	close_runtime(d);
	close_source(d);
}
