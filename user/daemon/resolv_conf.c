// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "resolv_conf.h"

#define PATH "/etc/resolv.conf"
#define NEWS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ONLYDIR)

static void follow_one(struct sl_resolv_conf *file, const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];
	int wd;

	snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path) + 1, path);
	wd = inotify_add_watch(file->fd, dir, NEWS);
	if (wd < 0)
		return;
	file->files[file->n_files].wd = wd;
	snprintf(file->files[file->n_files].name, sizeof(file->files->name), "%s", slash + 1);
	file->n_files++;
}

/* Anew: the link may lead elsewhere now. */
static void follow(struct sl_resolv_conf *file)
{
	int old[2] = {file->files[0].wd, file->files[1].wd}, n_old = file->n_files;
	char real[PATH_MAX];

	file->n_files = 0;
	follow_one(file, PATH);
	if (realpath(PATH, real) && strcmp(real, PATH))
		follow_one(file, real);
	for (int i = 0; i < n_old && i < 2; i++) {
		bool still = false;

		for (int j = 0; j < file->n_files; j++)
			still |= file->files[j].wd == old[i];
		if (!still)
			inotify_rm_watch(file->fd, old[i]);
	}
}

int sl_resolv_conf_open(struct sl_resolv_conf *file)
{
	*file = (struct sl_resolv_conf){.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
	if (file->fd < 0)
		return -errno;
	follow(file);
	return 0;
}

static bool is_about(const struct sl_resolv_conf *file, const struct inotify_event *event)
{
	if (event->mask & IN_Q_OVERFLOW)
		return true;
	for (int i = 0; event->len && i < file->n_files; i++)
		if (file->files[i].wd == event->wd && !strcmp(file->files[i].name, event->name))
			return true;
	return false;
}

bool sl_resolv_conf_changed(struct sl_resolv_conf *file)
{
	_Alignas(struct inotify_event) char buf[4096];
	const struct inotify_event *event;
	bool changed = false;
	ssize_t got;

	while ((got = read(file->fd, buf, sizeof(buf))) > 0)
		for (char *at = buf; at < buf + got; at += sizeof(*event) + event->len) {
			event = (const void *)at;
			changed |= is_about(file, event);
		}
	if (changed)
		follow(file);
	return changed;
}

void sl_resolv_conf_close(struct sl_resolv_conf *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}
