// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Which cgroups there are: the hierarchy is walked when inotify has news of it. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroups.h"
#include "policy/text.h"

#define DEPTH_MAX 64
#define STRANGERS_MAX 4096

/* ---- containers that no gate has announced ---- */

static bool is_for_containers(const struct sl_cgroups *c)
{
	for (size_t i = 0; i < c->n_groups; i++)
		if (c->groups[i]->of == SL_GROUP_OF_CONTAINERS)
			return true;
	return false;
}

static bool is_stranger(const struct sl_cgroups *c, __u64 id)
{
	for (size_t i = 0; i < c->n_strangers; i++)
		if (c->strangers[i] == id)
			return true;
	return false;
}

/* What a container makes below its own cgroup is its own: the name proves nothing there. */
static bool is_of_container(const struct sl_cgroups *c, const char *path)
{
	for (size_t i = 0; i < c->n; i++) {
		const char *above = c->list[i].path;
		size_t n = strlen(above);

		if (c->list[i].container && !strncmp(path, above, n) && path[n] == '/')
			return true;
	}
	return false;
}

/* Who made what is in that directory? A user's own subtree, which systemd delegates, may hold what
 * has a container's name. The container's own cgroup says nothing: runtimes give it to the
 * container's root, where that one has a user namespace (dockerd --userns-remap). */
static bool is_roots(const struct stat *above)
{
	return !above->st_uid && !(above->st_mode & (S_IWGRP | S_IWOTH));
}

/* Its files are there before its cgroup is. */
static bool find_container(const struct sl_cgroups *c, const char *path, const struct stat *st,
			   struct sl_container *out)
{
	int err;

	if (!is_for_containers(c) || is_stranger(c, st->st_ino) || is_of_container(c, path))
		return false;
	err = sl_container_find(&c->places, path, out);
	if (c->complete)
		err = c->complete(c->complete_context, path, err, out);
	return !err;
}

/* Without one that matches now there will be none, until the configuration changes. */
static void note_stranger(struct sl_cgroups *c, __u64 id)
{
	__u64 *stranger;

	if (c->n_strangers == STRANGERS_MAX)
		c->n_strangers = 0; /* most are gone: the others' files are read again */
	stranger = SL_ADD(c->strangers, c->n_strangers);
	if (stranger)
		*stranger = id;
}

static void warn_of_choice(const struct sl_container *container,
			   const struct sl_target_group *group)
{
	const char *choice = sl_container_choice(container);

	if (!choice || !strcmp(choice, group->policy))
		return;
	fputs("sluiced: container ", stderr);
	sl_put_text(container->name, stderr);
	fprintf(stderr,
		": its %s is not in \"choice\" of the target of line %u: it gets policy %s\n",
		SL_CONTAINER_CHOICE, group->line, group->policy);
}

static void name(struct sl_watched_cgroup *w, struct sl_container *container)
{
	if (w->as.group->of == SL_GROUP_OF_CONTAINERS)
		warn_of_choice(container, w->as.group);
	sl_cgroups_name(w, container); /* or it has none, without memory */
}

/* ---- the walk ---- */

/* of_root: all that is above it is root's. */
static void consider(struct sl_cgroups *c, const char *path, const struct stat *st, bool of_root)
{
	struct sl_watched_cgroup *w = sl_cgroups_find(c, st->st_ino);
	struct sl_container container = {};
	struct sl_target_group *group;
	bool is_container, is_pod;

	if (w)
		w->seen = true;
	/* w may have moved then */
	is_pod = !st->st_uid && c->pods && c->pods->saw(c->pods_context, path, st);
	if (w || is_pod)
		return;
	is_container = of_root && find_container(c, path, st, &container);
	group = sl_cgroups_match(c, path, is_container ? &container : NULL);
	w = group ? sl_cgroups_add(c, path, st->st_ino, group) : NULL;
	if (w && is_container)
		name(w, &container);
	else if (!group && is_container)
		note_stranger(c, st->st_ino);
	sl_container_free(&container);
}

static void walk(struct sl_cgroups *c, int dir_fd, const char *path, unsigned depth, bool of_root)
{
	char below[PATH_MAX], real[PATH_MAX + 64];
	struct dirent *entry;
	struct stat st;
	DIR *dir;
	int fd;

	if (depth > DEPTH_MAX || (*path && !sl_cgroups_may_be_below(c, path))) {
		close(dir_fd);
		return;
	}
	of_root = of_root && !fstat(dir_fd, &st) && is_roots(&st);
	/* before it is read: what comes meanwhile is news */
	snprintf(real, sizeof(real), "%s%s", c->mount, path);
	inotify_add_watch(c->source.fd, real, SL_CGROUPS_NEWS);
	dir = fdopendir(dir_fd);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_type != DT_DIR || sl_is_dots(entry->d_name) ||
		    snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) >=
			    (int)sizeof(below))
			continue;
		fd = openat(dirfd(dir), entry->d_name,
			    O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0)
			continue;
		if (!fstat(fd, &st))
			consider(c, below, &st, of_root);
		walk(c, fd, below, depth + 1, of_root);
	}
	if (dir)
		closedir(dir);
	else
		close(dir_fd);
}

/* Removed: its sockets may live on, and are judged until the last is closed. */
static void forget_gone(struct sl_cgroups *c)
{
	struct sl_gone_cgroup *gone;

	for (size_t i = 0; i < c->n;) {
		struct sl_watched_cgroup *w = &c->list[i];

		if (w->seen) {
			i++;
			continue;
		}
		if (w->as.state == SL_WATCHED_ATTACHED || w->as.state == SL_WATCHED_ISOLATED)
			c->ops->tell(c->context, "gone", w, NULL, NULL);
		c->sweep = true;
		c->sweep_wait_ns = 0;
		gone = SL_ADD(c->gone, c->n_gone);
		if (gone) {
			*gone = (struct sl_gone_cgroup){w->id, w->path};
			w->path = NULL;
		}
		sl_cgroups_drop(c, w);
	}
}

static bool is_by_hand(const struct sl_cgroups *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->list[i].as.by_hand || c->list[i].as.orphan || c->list[i].container ||
		    c->list[i].of_pod)
			return true;
	return false;
}

/* What no pattern leads to is looked at by its path. */
static void look_at_others(struct sl_cgroups *c)
{
	char real[PATH_MAX + 64];
	struct stat st;

	for (size_t i = 0; i < c->n; i++) {
		struct sl_watched_cgroup *w = &c->list[i];

		snprintf(real, sizeof(real), "%s%s", c->mount, w->path);
		if (!w->seen && !stat(real, &st) && st.st_ino == w->id)
			w->seen = true;
	}
}

void sl_cgroups_walk(struct sl_cgroups *c, bool news)
{
	int fd = open(c->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	c->scan_at_ns = 0;
	c->scanned_at_ns = sl_now_ns();
	if (fd < 0) /* no descriptor: nothing is known to be gone */
		return;
	for (size_t i = 0; i < c->n; i++)
		c->list[i].seen = false;
	if (c->pods)
		c->pods->begin(c->pods_context, news);
	walk(c, fd, "", 0, true);
	if (is_by_hand(c))
		look_at_others(c);
	forget_gone(c);
	if (c->pods)
		c->pods->end(c->pods_context);
}

char *sl_cgroups_where(void *context, __u64 id, bool *removed)
{
	struct sl_cgroups *c = context;
	const struct sl_watched_cgroup *w = sl_cgroups_find(c, id);
	const char *path = w ? w->path : NULL;
	bool is_gone = false;
	char *real;

	for (size_t i = 0; i < c->n_gone && !path; i++)
		if (c->gone[i].id == id && c->gone[i].path) {
			path = c->gone[i].path;
			is_gone = true;
		}
	if (removed)
		*removed = is_gone;
	return path && asprintf(&real, "%s%s", c->mount, path) > 0 ? real : NULL;
}
