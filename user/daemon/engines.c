// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "engines.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "daemon.h"

static const char *const usual[] = {SL_ENGINE_DOCKER, SL_ENGINE_PODMAN};

/* ---- which ---- */

static void on_news(void *context, __u32 events)
{
	(void)context; /* that the loop turns is enough: sl_engines_work looks */
	(void)events;
}

static void open_one(struct sl_daemon *d, const char *socket)
{
	struct sl_engines *e = &d->engines;
	struct sl_loop_source *news = &e->news[e->n];
	int err = e->n < SL_ENGINES_MAX ? sl_engine_open(socket, &e->list[e->n]) : -E2BIG;

	if (err) {
		fprintf(stderr, "sluiced: %s cannot be asked for containers: %s\n", socket, strerror(-err));
		return;
	}
	*news = (struct sl_loop_source){.fd = sl_engine_fd(e->list[e->n]), .ready = on_news};
	if (sl_loop_add(d->loop, news, EPOLLIN))
		news->fd = -1; /* the tick finds out */
	e->n++;
}

void sl_engines_close(struct sl_daemon *d)
{
	struct sl_engines *e = &d->engines;

	for (size_t i = 0; i < e->n; i++) {
		if (e->news[i].fd >= 0)
			sl_loop_drop(d->loop, &e->news[i]);
		sl_engine_close(e->list[i]);
	}
	*e = (struct sl_engines){};
}

static bool is_wanted(const struct sl_daemon *d)
{
	for (size_t i = 0; i < d->cgroups.n_groups; i++)
		if (d->cgroups.groups[i]->of == SL_GROUP_OF_CONTAINERS)
			return true;
	return false;
}

static bool is_same(const struct sl_engines *e, const char *const *sockets, size_t n)
{
	if (e->n != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (strcmp(sl_engine_socket(e->list[i]), sockets[i]))
			return false;
	return true;
}

void sl_engines_regroup(struct sl_daemon *d)
{
	const struct sl_config *config = d->config;
	const char *const *sockets = config->has_sockets ? (const char *const *)config->sockets : usual;
	size_t n = config->has_sockets ? config->n_sockets : sizeof(usual) / sizeof(*usual);

	d->cgroups.complete = sl_engines_complete;
	d->cgroups.complete_context = d;
	if (!is_wanted(d))
		n = 0;
	if (!is_same(&d->engines, sockets, n)) {
		sl_engines_close(d);
		for (size_t i = 0; i < n; i++)
			open_one(d, sockets[i]);
	}
	d->engines.usual = !config->has_sockets;
}

/* ---- what they know ---- */

static const struct sl_engine_container *find(const struct sl_daemon *d, const char *id)
{
	const struct sl_engine_container *found = NULL;

	for (size_t i = 0; i < d->engines.n && !found; i++)
		found = sl_engine_find(d->engines.list[i], id);
	return found;
}

int sl_engines_complete(void *context, const char *cgroup, int err, struct sl_container *container)
{
	const struct sl_engine_container *known;
	char id[SL_CONTAINER_ID_LEN + 1];

	known = sl_container_id(cgroup, id) ? find(context, id) : NULL;
	if (!known)
		return err;
	if (err == -ENOENT)
		return sl_container_make(id, known->name, known->labels, container);
	/* what the files say was there first: the hook has judged by it */
	if (!err)
		json_object_update_missing(container->labels, known->labels);
	return err;
}

/* Labels that only the engine knows can make a container another target's. */
static void look_again(struct sl_daemon *d)
{
	struct sl_cgroups *c = &d->cgroups;

	for (size_t i = 0; i < c->n; i++) {
		struct sl_watched_cgroup *w = &c->list[i];
		size_t before;

		if (!w->container || w->as.by_hand || w->of_pod)
			continue;
		before = json_object_size(w->container->labels);
		sl_engines_complete(d, w->path, 0, w->container);
		if (json_object_size(w->container->labels) != before)
			sl_cgroup_match_again(c, w);
	}
	c->n_strangers = 0; /* one may match now */
	c->scan_at_ns = sl_now_ns();
}

/* ---- work ---- */

void sl_engines_work(struct sl_daemon *d)
{
	bool news = false;

	for (size_t i = 0; i < d->engines.n; i++)
		news |= sl_engine_work(d->engines.list[i]) && !sl_engine_error(d->engines.list[i]);
	if (news)
		look_again(d);
}

int sl_engines_timeout(const struct sl_daemon *d)
{
	int wait = -1;

	for (size_t i = 0; i < d->engines.n; i++) {
		int one = sl_engine_timeout(d->engines.list[i]);

		if (one >= 0 && (wait < 0 || one < wait))
			wait = one;
	}
	return wait;
}

void sl_engines_reconcile(struct sl_daemon *d)
{
	for (size_t i = 0; i < d->engines.n; i++)
		sl_engine_ask(d->engines.list[i]);
}

/* ---- as status and metrics show it ---- */

static bool is_followed(const struct sl_daemon *d, const char *id)
{
	for (size_t i = 0; i < d->cgroups.n; i++)
		if (d->cgroups.list[i].container && !strcmp(d->cgroups.list[i].container->id, id))
			return true;
	return false;
}

static bool is_missed(const struct sl_daemon *d, const struct sl_engine_container *known)
{
	const struct sl_container container = {(char *)known->id, known->name, known->labels};
	const struct sl_target_group *group = sl_cgroups_match(&d->cgroups, "", &container);

	return group && group->of == SL_GROUP_OF_CONTAINERS && !is_followed(d, known->id);
}

size_t sl_engines_missed(const struct sl_daemon *d)
{
	size_t n = 0;

	for (size_t i = 0; i < d->engines.n; i++) {
		const struct sl_engine_list *list = sl_engine_list(d->engines.list[i]);

		if (sl_engine_error(d->engines.list[i]))
			continue; /* what it said is old: they may have ended */
		for (size_t k = 0; list && k < list->n; k++)
			n += is_missed(d, &list->list[k]);
	}
	return n;
}

/* One that nobody has named and that is not there. */
static bool is_nobodys(const struct sl_engines *e, const struct sl_engine *engine)
{
	return e->usual && access(sl_engine_socket(engine), F_OK);
}

json_t *sl_engines_json(const struct sl_daemon *d, json_t *warnings)
{
	json_t *all = json_array();
	size_t missed = sl_engines_missed(d);

	for (size_t i = 0; i < d->engines.n; i++) {
		const struct sl_engine *engine = d->engines.list[i];
		const struct sl_engine_list *list = sl_engine_list(engine);
		const char *error = sl_engine_error(engine);

		if (is_nobodys(&d->engines, engine))
			continue;
		json_array_append_new(all, json_pack("{s:s, s:i, s:s?}", "socket", sl_engine_socket(engine),
						     "containers", list ? (int)list->n : 0, "error", error));
		if (error)
			json_array_append_new(warnings, json_sprintf("containers: %s", error));
	}
	if (missed)
		json_array_append_new(
			warnings, json_sprintf("containers that run, as their engine says, that a "
					       "target matches and whose cgroups are not found: "
					       "%zu; they have what is above them: write a default "
					       "there (docs/containers.md)",
					       missed));
	return all;
}
