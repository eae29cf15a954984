// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A cgroup from its directory, and back from its id. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "policy/text.h"
#include "state_internal.h"

#define FILEID_KERNFS 0xfe	/* include/linux/exportfs.h */
#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)

union handle {
	struct file_handle head;
	char room[sizeof(struct file_handle) + sizeof(__u64)];
};

static int get_id(int dir_fd, __u64 *id, int *mount_id)
{
	union handle h = {.head.handle_bytes = sizeof(*id)};

	if (name_to_handle_at(dir_fd, "", &h.head, mount_id, AT_EMPTY_PATH))
		return errno ? -errno : -EIO;
	if (h.head.handle_bytes != sizeof(*id) || h.head.handle_type != FILEID_KERNFS)
		return -EXDEV;
	memcpy(id, h.head.f_handle, sizeof(*id));
	return 0;
}

static bool is_cgroup2(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* A path as given, else a name in the hierarchy. */
static int open_cgroup(const char *path, struct sl_diag *diag)
{
	int fd = open(path, DIR_FLAGS), root, err = fd < 0 ? errno : EXDEV;
	bool whole;

	if (fd >= 0 && is_cgroup2(fd))
		return fd;
	if (fd >= 0)
		close(fd);
	root = path[0] == '/' ? sl_cgroup_open_root(&whole) : -1;
	if (root >= 0) {
		fd = openat(root, path[1] ? path + 1 : ".", DIR_FLAGS);
		close(root);
		if (fd >= 0)
			return fd;
	}
	sl_error(diag, NULL, "cgroup '%s': %s; give its directory below the cgroup2 mount "
		 "(`findmnt -t cgroup2`), or its name as /proc/PID/cgroup has it", path,
		 err == EXDEV ? "not on a cgroup2 file system" : strerror(err));
	return -err;
}

/* Its own id; -EXDEV: the last one was the top of the mount. */
static int next_id(int fd, int *mount, __u64 *id)
{
	int now = *mount, err;
	bool other;

	*id = 0;
	err = is_cgroup2(fd) ? get_id(fd, id, &now) : -EXDEV;
	other = *mount >= 0 && now != *mount;
	*mount = now;
	return err ? err : other ? -EXDEV : 0;
}

/* Above what the mount shows: known where we are below it ourselves. */
static int climb_on(__u64 ids[SL_CGROUP_LEVELS], unsigned *n)
{
	const __u64 *above;
	int level = *n ? sl_cgroup_above(ids[*n - 1], &above) : -ENOENT;

	if (level < 0)
		return -EXDEV;
	if (*n + (unsigned)level > SL_CGROUP_LEVELS)
		return -ELOOP;
	while (level--)
		ids[(*n)++] = above[level];
	return 0;
}

/* The ids from this one up to the hierarchy's root: *n of them, of which the mount shows
 * *n_shown. */
static int climb(int dir_fd, __u64 ids[SL_CGROUP_LEVELS], unsigned *n, unsigned *n_shown)
{
	int fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0), up, err = fd < 0 ? -errno : 0, mount = -1;

	*n = 0;
	while (!err) {
		err = *n == SL_CGROUP_LEVELS ? -ELOOP : next_id(fd, &mount, &ids[*n]);
		if (!err && *n && ids[*n] == ids[*n - 1])	/* `..` of a root directory */
			err = -EXDEV;
		if (err || ids[(*n)++] == SL_CGROUP_ROOT_ID)
			break;
		up = openat(fd, "..", DIR_FLAGS);
		if (up < 0) {
			err = -errno;
		} else {
			close(fd);
			fd = up;
		}
	}
	if (fd >= 0)
		close(fd);
	*n_shown = *n;
	return err == -EXDEV ? climb_on(ids, n) : err;
}

static char *path_of_fd(int fd)
{
	char link[32], path[4096];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return NULL;
	path[n] = 0;
	return strdup(path);
}

static int describe(struct sl_cgroup_target *c)
{
	__u64 up[SL_CGROUP_LEVELS];
	unsigned n, n_shown, i;
	int err = climb(c->fd, up, &n, &n_shown);

	if (err)
		return err;
	for (i = 0; i < n; i++)
		c->ids[i] = up[n - 1 - i];
	c->level = n - 1;
	c->top = n - n_shown;
	c->id = c->ids[c->level];
	c->path = path_of_fd(c->fd);
	return c->path ? 0 : -ENOMEM;
}

int sl_cgroup_open_target(const char *path, struct sl_cgroup_target *out, struct sl_diag *diag)
{
	struct sl_cgroup_target c = {.fd = open_cgroup(path, diag)};
	int err;

	if (c.fd < 0)
		return c.fd;
	err = describe(&c);
	if (!err) {
		*out = c;
		return 0;
	}
	if (err == -ELOOP)
		sl_error(diag, NULL, "cgroup '%s': deeper than %u levels, which no program follows",
			 path, SL_CGROUP_LEVELS - 1);
	else if (err == -EXDEV)
		sl_error(diag, NULL, "cgroup '%s': its mount shows neither the root of the hierarchy "
			 "nor a cgroup that this process is in, so its place is not known; use a mount "
			 "that does (`mount -t cgroup2 none DIR`)", path);
	else if (err == -EPERM)
		sl_error(diag, NULL, "cgroup '%s': its id cannot be asked for (name_to_handle_at): a "
			 "seccomp profile refuses that; give sluice one that does not (Kubernetes: "
			 "seccompProfile Unconfined)", path);
	else
		sl_error(diag, NULL, "cgroup '%s': %s", path, strerror(-err));
	close(c.fd);
	return err;
}

void sl_cgroup_close_target(struct sl_cgroup_target *c)
{
	if (!c->path)
		return;
	close(c->fd);
	free(c->path);
	*c = (struct sl_cgroup_target){.fd = -1};
}

/* ---- from an id ---- */

static sl_cgroup_finder finder;
static void *finder_context;

void sl_cgroup_found_by(sl_cgroup_finder find, void *context)
{
	finder = find;
	finder_context = context;
}

static int open_handle(int root, __u64 id)
{
	union handle h = {.head = {.handle_bytes = sizeof(id), .handle_type = FILEID_KERNFS}};
	int fd;

	memcpy(h.head.f_handle, &id, sizeof(id));
	fd = open_by_handle_at(root, &h.head, DIR_FLAGS);
	return fd < 0 ? -errno : fd;
}

static int open_if_it_is(const char *path, __u64 id)
{
	int fd = open(path, DIR_FLAGS);
	__u64 found = 0;
	int mount;

	if (fd >= 0 && !get_id(fd, &found, &mount) && found == id)
		return fd;
	if (fd >= 0)
		close(fd);
	return -ENOENT;
}

/* By looking at all of them; an inode's number is the id (kernfs, 64-bit). Takes dir_fd over. */
static int search(int dir_fd, __u64 id, unsigned depth)
{
	DIR *dir = fdopendir(dir_fd);
	struct dirent *entry;
	int found = -ENOENT, fd;

	if (!dir) {
		close(dir_fd);
		return -ENOMEM;
	}
	while (found == -ENOENT && depth < SL_CGROUP_LEVELS && (entry = readdir(dir))) {
		if (entry->d_type != DT_DIR || sl_is_dots(entry->d_name))
			continue;
		fd = openat(dirfd(dir), entry->d_name, DIR_FLAGS | O_NOFOLLOW);
		if (entry->d_ino == id)
			found = fd < 0 ? -errno : fd;
		else if (fd >= 0)
			found = search(fd, id, depth + 1);
		else if (errno != ENOENT)	/* no descriptor: it may be there */
			found = -errno;
	}
	closedir(dir);
	return found;
}

/* Who follows cgroups knows where it is: no mount table is read, and no capability is needed. */
static int open_as_found(__u64 id)
{
	bool removed = false;
	char *path = finder ? finder(finder_context, id, &removed) : NULL;
	int fd = removed ? -ESTALE : path ? open_if_it_is(path, id) : -ENOENT;

	free(path);
	return fd;
}

int sl_state_open_cgroup_id(__u64 id)
{
	int root, fd = open_as_found(id);
	bool whole;

	if (fd != -ENOENT)
		return fd;
	root = sl_cgroup_open_root(&whole);
	if (root < 0)
		return root;
	fd = open_handle(root, id);
	if (fd == -EPERM) {		/* without CAP_DAC_READ_SEARCH, which sluiced gives up */
		fd = search(root, id, 0);
		return fd == -ENOENT && whole ? -ESTALE : fd;
	}
	close(root);
	return fd;
}

bool sl_state_is_below(__u64 id, __u64 above, unsigned above_level)
{
	struct sl_cgroup_target c = {.fd = sl_state_open_cgroup_id(id)};
	bool below;

	if (c.fd < 0)
		return false;
	below = !describe(&c) && c.level >= above_level && c.ids[above_level] == above;
	close(c.fd);
	free(c.path);
	return below;
}

char *sl_state_cgroup_path(const struct sl_target *target)
{
	int fd = sl_state_open_cgroup_id(target->cgroup_id);
	char *path;

	if (fd < 0)
		return NULL;
	path = path_of_fd(fd);
	close(fd);
	return path;
}

char *sl_state_cgroup_name(const struct sl_target *target)
{
	char *path = sl_state_cgroup_path(target);

	if (!path && finder)
		path = finder(finder_context, target->cgroup_id, NULL);
	return path;
}
