// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Where cgroup2 is mounted and where in it the caller is. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/magic.h>

#include "target/cgroup.h"
#include "target/mountinfo.h"

/* The initial cgroup namespace's inode: PROC_CGROUP_INIT_INO, include/linux/proc_ns.h */
#define CGROUP_INIT_NS_INO 0xEFFFFFFBU

/* path relative to root: "/a/b" under "/a" is "/b", under itself "". NULL: not below. */
static const char *below(const char *path, const char *root)
{
	size_t len = strlen(root);

	if (!strcmp(root, "/"))
		return strcmp(path, "/") ? path : "";
	if (strncmp(path, root, len) || (path[len] && path[len] != '/'))
		return NULL;
	return path + len;
}

static int way_order(const void *a, const void *b)
{
	const struct sl_cgroup2_way *x = a, *y = b;

	if (x->writable != y->writable)
		return x->writable ? -1 : 1;
	if (x->whole != y->whole)
		return x->whole ? -1 : 1;
	return x->line > y->line ? -1 : 1;
}

static int way_add(struct sl_cgroup2_way **ways, size_t *n, const struct sl_mount *mount,
		   const char *rest, size_t line)
{
	struct sl_cgroup2_way *grown, way = {
					      .writable = !mount->readonly,
					      .whole = !strcmp(mount->root, "/"),
					      .line = line,
				      };

	grown = realloc(*ways, (*n + 1) * sizeof(**ways));
	if (!grown)
		return -ENOMEM;
	*ways = grown;
	way.mount = strdup(mount->point);
	if (!way.mount || asprintf(&way.own, "%s%s", mount->point, rest) < 0) {
		free(way.mount);
		return -ENOMEM;
	}
	grown[(*n)++] = way;
	return 0;
}

void sl_cgroup2_ways_free(struct sl_cgroup2_way *ways, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(ways[i].mount);
		free(ways[i].own);
	}
	free(ways);
}

int sl_cgroup2_ways(FILE *mountinfo, const char *path, struct sl_cgroup2_way **ways, size_t *n,
		    size_t *n_mounts)
{
	struct sl_cgroup2_way *found = NULL;
	size_t n_found = 0, n_all = 0, line_no = 0, size = 0;
	struct sl_mount mount;
	const char *rest;
	char *line = NULL;
	int err = 0;

	while (!err && getline(&line, &size, mountinfo) >= 0) {
		line_no++;
		/* A line we cannot read may be any mount: none is taken from it. */
		if (sl_mountinfo_line(line, &mount) || strcmp(mount.type, "cgroup2"))
			continue;
		n_all++;
		rest = below(path, mount.root);
		if (rest)
			err = way_add(&found, &n_found, &mount, rest, line_no);
	}
	if (!err && ferror(mountinfo))
		err = -EIO;
	free(line);
	if (err) {
		sl_cgroup2_ways_free(found, n_found);
		return err;
	}
	if (n_found)
		qsort(found, n_found, sizeof(*found), way_order);
	*ways = found;
	*n = n_found;
	*n_mounts = n_all;
	return 0;
}

int sl_cgroup2_own_path(FILE *cgroup, char **path)
{
	char *line = NULL, *copy;
	int err = -ENOENT;
	size_t size = 0;

	while (err == -ENOENT && getline(&line, &size, cgroup) >= 0) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::/", 4))
			continue;
		copy = strdup(line + 3);
		err = copy ? 0 : -ENOMEM;
		if (copy)
			*path = copy;
	}
	free(line);
	return err;
}

static unsigned components(const char *path)
{
	unsigned n = 0;

	for (; *path; path++)
		n += path[0] == '/' && path[1] && path[1] != '/';
	return n;
}

/* Does the kernel's level of a cgroup equal the depth of its path here? */
static bool sees_root(const struct sl_cgroup2_way *way)
{
	char type[4096];
	struct stat st;

	if (!stat("/proc/self/ns/cgroup", &st) && st.st_ino == CGROUP_INIT_NS_INO)
		return true;
	/* cgroup.type is in every cgroup but the hierarchy's root. */
	if (!way->whole ||
	    snprintf(type, sizeof(type), "%s/cgroup.type", way->mount) >= (int)sizeof(type))
		return false;
	return access(type, F_OK) && errno == ENOENT;
}

static bool is_cgroup2(const char *dir)
{
	struct statfs st;

	return !statfs(dir, &st) && st.f_type == CGROUP2_SUPER_MAGIC;
}

static int explain_none(const char *path, size_t n_mounts, struct sl_diag *diag)
{
	if (!n_mounts)
		sl_error(diag, NULL,
			 "no cgroup2 file system is mounted; mount one: "
			 "mount -t cgroup2 none /sys/fs/cgroup (or /sys/fs/cgroup/unified)");
	else
		sl_error(diag, NULL,
			 "no cgroup2 mount shows this process's own cgroup \"%s\" (a cgroup "
			 "namespace or a partial mount hides it); mount one that does: "
			 "mount -t cgroup2 none DIR",
			 path);
	return -ENOENT;
}

static int take_way(const struct sl_cgroup2_way *way, char **path, struct sl_cgroup2 *out,
		    struct sl_diag *diag)
{
	struct sl_cgroup2 fs = {
		.mount = strdup(way->mount),
		.own = strdup(way->own),
		.level = components(*path),
		.level_exact = sees_root(way),
	};

	if (!fs.mount || !fs.own) {
		free(fs.mount);
		free(fs.own);
		sl_error(diag, NULL, "out of memory");
		return -ENOMEM;
	}
	fs.path = *path;
	*path = NULL;
	*out = fs;
	return 0;
}

static int choose(const struct sl_cgroup2_way *ways, size_t n, size_t n_mounts, char **path,
		  struct sl_cgroup2 *out, struct sl_diag *diag)
{
	for (size_t i = 0; i < n; i++) {
		/* A mount under another one, or one seen from another root. */
		if (!is_cgroup2(ways[i].own))
			continue;
		if (!ways[i].writable) {
			sl_error(
				diag, NULL,
				"cgroup2 at %s is mounted read-only (as in most containers), so no "
				"cgroup can be made for the command; remount it: "
				"mount -o remount,rw,bind %s",
				ways[i].mount, ways[i].mount);
			return -EROFS;
		}
		return take_way(&ways[i], path, out, diag);
	}
	return explain_none(*path, n_mounts, diag);
}

static int read_own_path(char **path, struct sl_diag *diag)
{
	FILE *in = fopen("/proc/self/cgroup", "re");
	int err = in ? sl_cgroup2_own_path(in, path) : -errno;

	if (in)
		fclose(in);
	if (err == -ENOENT)
		sl_error(diag, NULL,
			 "/proc/self/cgroup names no cgroup2 (no line `0::`); is /proc "
			 "mounted, and the kernel built with cgroup2?");
	else if (err)
		sl_error(diag, NULL, "/proc/self/cgroup: %s", strerror(-err));
	return err;
}

int sl_cgroup2_find(struct sl_cgroup2 *out, struct sl_diag *diag)
{
	struct sl_cgroup2_way *ways = NULL;
	size_t n = 0, n_mounts = 0;
	char *path = NULL;
	FILE *in;
	int err;

	err = read_own_path(&path, diag);
	if (err || !path)
		return err ? err : -ENOMEM;
	in = fopen("/proc/self/mountinfo", "re");
	err = in ? sl_cgroup2_ways(in, path, &ways, &n, &n_mounts) : -errno;
	if (in)
		fclose(in);
	if (err)
		sl_error(diag, NULL, "/proc/self/mountinfo: %s", strerror(-err));
	else
		err = choose(ways, n, n_mounts, &path, out, diag);
	sl_cgroup2_ways_free(ways, n);
	free(path);
	return err;
}

void sl_cgroup2_free(struct sl_cgroup2 *fs)
{
	if (!fs)
		return;
	free(fs->mount);
	free(fs->own);
	free(fs->path);
	*fs = (struct sl_cgroup2){0};
}
