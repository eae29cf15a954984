// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The cgroups that match: the list of them, and whose group each is of. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cgroups.h"
#include "policy/text.h"
#include "veths.h"

/* ---- the list ---- */

struct sl_watched_cgroup *sl_cgroups_find(struct sl_cgroups *c, __u64 id)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->list[i].id == id)
			return &c->list[i];
	return NULL;
}

/* Its parent's directory is listened to, that no pattern may lead to: its end is news. */
static void follow(const struct sl_cgroups *c, const char *path)
{
	char real[PATH_MAX + 64];
	int n = snprintf(real, sizeof(real), "%s%.*s", c->mount, (int)(strrchr(path, '/') - path),
			 path);

	if (n < (int)sizeof(real))
		inotify_add_watch(c->source.fd, real, SL_CGROUPS_NEWS);
}

struct sl_watched_cgroup *sl_cgroups_add(struct sl_cgroups *c, const char *path, __u64 id,
					 struct sl_target_group *group)
{
	char *copy = strdup(path);
	struct sl_watched_cgroup *w = copy ? SL_ADD(c->list, c->n) : NULL;

	if (!w) {
		free(copy);
		fprintf(stderr, "sluiced: %s: out of memory: NOT ATTACHED\n", path);
		return NULL;
	}
	w->path = copy;
	w->id = id;
	w->found_at_ns = sl_now_ns();
	w->as.group = sl_target_group_get(group);
	w->seen = true;
	follow(c, copy);
	return w;
}

static void cgroup_free(struct sl_watched_cgroup *w)
{
	sl_target_group_put(w->as.group);
	free(w->path);
	if (w->container)
		sl_container_free(w->container);
	free(w->container);
	sl_veths_free(w->veths);
	sl_policy_free(w->asks);
	free(w->resolvers);
	free(w->expected);
	*w = (struct sl_watched_cgroup){};
}

void sl_cgroups_drop(struct sl_cgroups *c, struct sl_watched_cgroup *w)
{
	struct sl_watched_cgroup *last = &c->list[--c->n];

	cgroup_free(w);
	if (w != last)
		*w = *last;
	*last = (struct sl_watched_cgroup){};
}

int sl_cgroups_name(struct sl_watched_cgroup *w, struct sl_container *container)
{
	if (!w->container)
		w->container = calloc(1, sizeof(*w->container));
	if (!w->container)
		return -ENOMEM;
	sl_container_free(w->container);
	*w->container = *container;
	*container = (struct sl_container){};
	return 0;
}

/* ---- groups ---- */

static void regroup(struct sl_watched_cgroup *w, struct sl_target_group *group)
{
	if (!w->as.by_hand && !w->of_pod)
		sl_assign_matching(&w->as, group);
}

void sl_cgroup_match_again(struct sl_cgroups *c, struct sl_watched_cgroup *w)
{
	struct sl_target_group *group = sl_cgroups_match(c, w->path, w->container);

	if (group && group != w->as.group)
		regroup(w, group);
}

void sl_cgroups_regroup(struct sl_cgroups *c, struct sl_target_group **groups, size_t n)
{
	struct sl_target_group **old = c->groups;
	size_t n_old = c->n_groups;

	c->n_strangers = 0; /* one may match now */
	c->groups = groups;
	c->n_groups = n;
	for (size_t i = 0; i < c->n; i++)
		regroup(&c->list[i], sl_cgroups_match(c, c->list[i].path, c->list[i].container));
	for (size_t i = 0; i < c->n;)
		if (c->list[i].as.orphan && !sl_cgroup_is_ours(&c->list[i]))
			sl_cgroups_drop(c, &c->list[i]);
		else
			i++;
	for (size_t i = 0; i < n_old; i++)
		sl_target_group_put(old[i]);
	free(old);
	c->scan_at_ns = sl_now_ns();
}

size_t sl_cgroups_unannounced(const struct sl_cgroups *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++)
		n += c->list[i].container && !c->list[i].announced &&
		     c->list[i].as.group->of == SL_GROUP_OF_CONTAINERS;
	return n;
}

void sl_cgroups_places(struct sl_cgroups *c, const struct sl_container_places *places)
{
	c->places = *places;
}

void sl_cgroups_take_back(struct sl_cgroups *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->list[i].as.state == SL_WATCHED_RELEASED)
			c->list[i].as.state = SL_WATCHED_WAITING;
}
