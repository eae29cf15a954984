// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "first_look.h"

static bool path_of(const struct sl_cgroups *c, __u64 id, char path[PATH_MAX])
{
	return snprintf(path, PATH_MAX, "%s/%llu", c->looks, (unsigned long long)id) < PATH_MAX;
}

/* Whole or not at all. Nothing in it: the host's. */
static int note(const struct sl_cgroups *c, const char *path, const struct sl_environment *env)
{
	char next[PATH_MAX];
	FILE *out;
	int err, fd;

	if (snprintf(next, sizeof(next), "%s/.next", c->looks) >= (int)sizeof(next))
		return -ENAMETOOLONG;
	fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	out = fd < 0 ? NULL : fdopen(fd, "w");
	if (!out) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	if (env->conf == SL_CONF_OWN)
		sl_environment_print_conf(env, out);
	err = ferror(out) ? -EIO : 0;
	if (fclose(out) && !err)
		err = -errno;
	return err ? err : rename(next, path) ? -errno : 0;
}

/* What is not noted cannot hold: then the host's does, which the workload does not write. */
static int look_first(const struct sl_cgroups *c, __u64 id, const char *path,
		      struct sl_environment *env)
{
	int err = note(c, path, env);

	if (!err)
		return 0;
	fprintf(stderr, "sluiced: %s: %s: cgroup %llu has the host's resolvers, not those of its own "
		"resolv.conf\n", path, strerror(-err), (unsigned long long)id);
	return env->conf == SL_CONF_OWN ? sl_environment_take_conf(NULL, env) : 0;
}

/* A pod may be known before it has a process, and its first one is the runtime's, which has the host's
 * root until it has made its own. */
static bool is_early(const struct sl_watched_cgroup *w, const struct sl_environment *env)
{
	return w->of_pod && (env->host_root || env->conf == SL_CONF_HOSTS);
}

bool sl_first_look_holds(const struct sl_cgroups *c, const struct sl_watched_cgroup *w,
			 struct sl_environment *env)
{
	bool own = env->conf == SL_CONF_OWN, noted, early;
	char path[PATH_MAX];
	struct stat st;
	int err = 0;

	if (env->err)
		return true;
	noted = c->looks && path_of(c, w->id, path) && !lstat(path, &st);
	early = !noted && is_early(w, env);
	if (early && w->expected)
		err = sl_environment_take_conf_text(w->expected, env);
	else if (early || !c->looks)
		err = own ? sl_environment_take_conf(NULL, env) : 0;
	else if (!noted)
		err = env->conf == SL_CONF_HOSTS ? 0 : look_first(c, w->id, path, env);
	else if (st.st_size || env->conf == SL_CONF_OWN)
		err = sl_environment_take_conf(st.st_size ? path : NULL, env);
	if (err) {
		sl_environment_free(env);
		*env = (struct sl_environment){.err = err};
	}
	return !early;
}

void sl_first_look_forget(const struct sl_cgroups *c, __u64 id)
{
	char path[PATH_MAX];

	if (c->looks && path_of(c, id, path))
		unlink(path);
}

static void forget_gone(struct sl_daemon *d)
{
	DIR *dir = opendir(d->cgroups.looks);
	struct dirent *entry;
	__u32 slot;
	__u64 id;

	while (dir && (entry = readdir(dir))) {
		id = strtoull(entry->d_name, NULL, 10);
		if (id && sl_state_find_cgroup(d->devices.state, id, &slot) == -ENOENT)
			sl_first_look_forget(&d->cgroups, id);
	}
	if (dir)
		closedir(dir);
}

void sl_first_look_open(struct sl_daemon *d)
{
	const char *socket = d->options->socket, *slash = strrchr(socket, '/');
	char *folder;

	if (asprintf(&folder, "%.*s/resolv-conf", slash ? (int)(slash - socket) : 1,
		     slash ? socket : ".") < 0)
		return;
	if (mkdir(folder, 0700) && errno != EEXIST)
		fprintf(stderr, "sluiced: %s: %s\n", folder, strerror(errno));
	d->cgroups.looks = folder;
	forget_gone(d);
}
