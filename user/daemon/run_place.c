// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The cgroup that runs stand in, and those of a sluiced before this one. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "daemon.h"

/* What is in the place and no run's own has this. */
static const char nothing[] = "sluice: 1\nname: sluice-runs\nrules: []\n";

/* Whoever owns a cgroup above could take processes out. */
static int look_at_place(const char *real, struct stat *st, struct sl_diag *diag)
{
	if (stat(real, st))
		return sl_error(diag, NULL, "%s: %s", real, strerror(errno));
	if (st->st_uid)
		return sl_error(diag, NULL, "%s is uid %u's, who could take runs out of it", real,
				st->st_uid);
	return 0;
}

struct making {
	struct stat *st; /* of the last */
	struct sl_diag *diag;
};

static int look_at_made(void *context, const char *real, int err)
{
	struct making *making = context;

	if (!err)
		return look_at_place(real, making->st, making->diag);
	return sl_error(making->diag, NULL, "%s cannot be made: %s%s", real, strerror(err),
			err == EACCES ? "; a new place is made when sluiced starts: restart it"
				      : "");
}

static int make_place(const struct sl_daemon *d, struct stat *st, struct sl_diag *diag)
{
	struct making making = {st, diag};
	int err = look_at_place(d->cgroups.mount, st, diag);

	return err ? err : sl_cgroup_dirs_make(d->cgroups.mount, d->config->run.cgroup,
					       look_at_made, &making);
}

void sl_runs_open(struct sl_daemon *d)
{
	struct sl_diag diag = {};
	struct stat st;

	if (d->cgroups.mount && d->config && d->config->n_runs)
		make_place(d, &st, &diag);
	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
}

/* It follows its policy's file again, and what somebody does to it is mended. */
static void follow(struct sl_daemon *d, struct sl_run *r)
{
	struct sl_watched_cgroup *w;
	char policy[64] = "";

	if (fgetxattr(r->dir_fd, SL_RUN_POLICY, policy, sizeof(policy) - 1) > 0)
		r->group = sl_runs_group(d, policy);
	r->names = fgetxattr(r->dir_fd, SL_RUN_NAMES, NULL, 0) >= 0;
	if (r->group && !sl_run_may_follow(r, r->group))
		r->group = NULL; /* as if its policy were listed no more */
	if (!r->group || sl_cgroups_find(&d->cgroups, r->id))
		return;
	sl_target_group_get(r->group);
	w = sl_cgroups_add(&d->cgroups, r->path, r->id, r->group);
	if (w)
		w->as.by_hand = true;
}

static void adopt(struct sl_daemon *d, const char *name)
{
	struct sl_run *r = NULL;
	char *path, uid[16] = "";

	if (asprintf(&path, "%s/%s", d->runs.place, name) < 0)
		return;
	r = sl_run_open(d, path);
	free(path);
	if (!r)
		return;
	if (!sl_run_is_populated(r)) {
		sl_run_remove(r);
		return;
	}
	if (fgetxattr(r->dir_fd, SL_RUN_OWNER, uid, sizeof(uid) - 1) > 0)
		r->uid = (uid_t)strtoul(uid, NULL, 10);
	r->state = SL_RUN_STARTED;
	if (sl_state_find_cgroup(d->devices.state, r->id, &r->slot)) {
		fprintf(stderr, "sluiced: %s: has no policy of its own any more: killed\n",
			r->path);
		sl_run_end(r);
		return;
	}
	follow(d, r);
}

static void adopt_all(struct sl_daemon *d, int dir_fd)
{
	DIR *dir = fdopendir(dir_fd);
	struct dirent *entry;

	if (!dir) {
		close(dir_fd);
		return;
	}
	while ((entry = readdir(dir)))
		if (entry->d_type == DT_DIR &&
		    !strncmp(entry->d_name, SL_RUN_PREFIX, strlen(SL_RUN_PREFIX)))
			adopt(d, entry->d_name);
	closedir(dir);
}

int sl_runs_open_place(struct sl_daemon *d, struct sl_diag *diag)
{
	struct sl_target_group *group = sl_target_group_new();
	const struct sl_attach_options options = {};
	struct stat st;
	char *real = NULL;
	int err = group ? make_place(d, &st, diag) : -ENOMEM, fd;

	if (group)
		group->given.of_cgroup = true;
	if (!err)
		err = sl_given_load_text(&group->given, &options, nothing, strlen(nothing), NULL,
					 diag);
	if (!err)
		err = sl_runs_enforce(d, d->config->run.cgroup, st.st_ino, group, diag);
	sl_target_group_put(group);
	if (!err)
		d->runs.place = strdup(d->config->run.cgroup);
	if (err || !d->runs.place)
		return err ? err : -ENOMEM;
	if (asprintf(&real, "%s%s", d->cgroups.mount, d->runs.place) > 0) {
		fd = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0)
			adopt_all(d, fd);
		free(real);
	}
	return 0;
}
