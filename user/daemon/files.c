// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The files that sluiced follows, by their directories: an editor, a package and a
 * Kubernetes volume all put a new file in the old one's place. What is half written
 * brings no news until it is closed.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon.h"
#include "policy/text.h"

#define SETTLE_NS (150 * 1000000ull)
#define NEWS                                                                                       \
	(IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB |        \
	 IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

struct watched_directory {
	int wd;
	char *path;		 /* owned */
	char only[NAME_MAX + 1]; /* the file of it that is followed; empty: all */
};

struct sl_files {
	struct sl_loop_source source;
	struct watched_directory *dirs; /* owned; one may be there for several files */
	size_t n;
};

static bool follows(const struct watched_directory *dirs, size_t n, int wd)
{
	for (size_t i = 0; i < n; i++)
		if (dirs[i].wd == wd)
			return true;
	return false;
}

static void free_directories(struct watched_directory *dirs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(dirs[i].path);
	free(dirs);
}

/* only: NULL for all files. A directory that is not there brings no news: what it stands in
 * does, the periodic reconcile and SIGHUP. */
static void follow(struct sl_files *files, const char *path, const char *only)
{
	int wd = inotify_add_watch(files->source.fd, path, NEWS);
	struct watched_directory *dir = wd < 0 ? NULL : SL_ADD(files->dirs, files->n);

	if (!dir)
		return;
	*dir = (struct watched_directory){.wd = wd, .path = strdup(path)};
	snprintf(dir->only, sizeof(dir->only), "%s", only ? only : "");
}

static void follow_name(struct sl_files *files, const char *path, bool alone)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) + 1 : 2,
		 slash ? path : "./");
	follow(files, dir, !alone ? NULL : slash ? slash + 1 : path);
}

/* A directory that is renamed, removed or made is news of the one above it. */
static void follow_directory(struct sl_files *files, const char *path)
{
	size_t len = strlen(path);
	char dir[PATH_MAX];

	while (len && path[len - 1] == '/')
		len--;
	if (len && snprintf(dir, sizeof(dir), "%.*s", (int)len, path) < (int)sizeof(dir))
		follow_name(files, dir, true);
}

/*
 * A file of a Kubernetes volume is a link to ..data/FILE, and the link ..data is what is put
 * in the old one's place: with a link, all that happens beside it is news, and what becomes of
 * the file that it leads to.
 */
static void follow_file(struct sl_files *files, const char *path)
{
	const char *slash = strrchr(path, '/');
	char target[PATH_MAX];
	struct stat st;
	bool link = !lstat(path, &st) && S_ISLNK(st.st_mode);

	follow_name(files, path, !link);
	if (link && realpath(path, target))
		follow_name(files, target, true);
	if (slash && snprintf(target, sizeof(target), "%.*s", (int)(slash - path), path) <
			     (int)sizeof(target))
		follow_directory(files, target);
}

/* Lists of addresses and fragments may stand in folders below. */
static void follow_below(struct sl_files *files, const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	char below[PATH_MAX];

	follow(files, path, NULL);
	follow_directory(files, path);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || (entry->d_type != DT_DIR && entry->d_type != DT_LNK))
			continue;
		if (snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) <
		    (int)sizeof(below))
			follow(files, below, NULL);
	}
	if (dir)
		closedir(dir);
}

void sl_files_follow(struct sl_daemon *daemon)
{
	struct sl_files *files = daemon->files;
	struct watched_directory *old;
	size_t n_old;

	if (!files)
		return;
	old = files->dirs;
	n_old = files->n;
	files->dirs = NULL;
	files->n = 0;
	follow_file(files, daemon->options->config);
	if (daemon->config && (!daemon->policies || strcmp(daemon->config->policies,
							   daemon->policies)))
		follow_below(files, daemon->config->policies);
	if (daemon->policies)
		follow_below(files, daemon->policies);
	/* last: what is followed on has never been let go, and none of its news is lost */
	for (size_t i = 0; i < n_old; i++)
		if (!follows(files->dirs, files->n, old[i].wd))
			inotify_rm_watch(files->source.fd, old[i].wd);
	/* what is new may have been filled after it was read */
	for (size_t i = 0; n_old && i < files->n; i++)
		if (!follows(old, n_old, files->dirs[i].wd))
			daemon->reload_at_ns = sl_now_ns() + SETTLE_NS;
	free_directories(old, n_old);
}

/* A file that is made has nothing in it; a directory and a link are what they are. */
static bool is_half_written(const struct watched_directory *dir, const struct inotify_event *event)
{
	char path[PATH_MAX];
	struct stat st;

	if (!(event->mask & IN_CREATE) || event->mask & IN_ISDIR || !dir->path || !event->len)
		return false;
	return snprintf(path, sizeof(path), "%s/%s", dir->path, event->name) >= (int)sizeof(path) ||
	       lstat(path, &st) || S_ISREG(st.st_mode);
}

static void on_news(struct sl_daemon *daemon, const struct inotify_event *event)
{
	struct sl_files *files = daemon->files;
	const char *name = event->len ? event->name : "";

	if (event->mask & IN_Q_OVERFLOW) {
		daemon->reload_at_ns = sl_now_ns();
		return;
	}
	for (size_t i = 0; i < files->n; i++) {
		const struct watched_directory *dir = &files->dirs[i];

		if (dir->wd != event->wd || (*name && dir->only[0] && strcmp(name, dir->only)) ||
		    is_half_written(dir, event))
			continue;
		daemon->reload_at_ns = sl_now_ns() + SETTLE_NS;
	}
}

static void on_ready(void *context, __u32 events)
{
	struct sl_daemon *daemon = context;
	_Alignas(struct inotify_event) char buf[16384];
	ssize_t got;

	(void)events;
	while ((got = read(daemon->files->source.fd, buf, sizeof(buf))) > 0)
		for (char *at = buf; at < buf + got;) {
			const struct inotify_event *event = (const void *)at;

			on_news(daemon, event);
			at += sizeof(*event) + event->len;
		}
}

int sl_files_open(struct sl_daemon *daemon)
{
	struct sl_files *files = calloc(1, sizeof(*files));
	int fd = files ? inotify_init1(IN_CLOEXEC | IN_NONBLOCK) : -1;

	if (fd < 0) {
		free(files);
		return files ? -errno : -ENOMEM;
	}
	files->source = (struct sl_loop_source){.fd = fd, .ready = on_ready, .context = daemon};
	daemon->files = files;
	return sl_loop_add(daemon->loop, &files->source, EPOLLIN);
}

void sl_files_close(struct sl_daemon *daemon)
{
	if (!daemon->files)
		return;
	sl_loop_drop(daemon->loop, &daemon->files->source);
	close(daemon->files->source.fd);
	free_directories(daemon->files->dirs, daemon->files->n);
	free(daemon->files);
	daemon->files = NULL;
}
