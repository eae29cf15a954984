// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The run's cgroup: made, filled, emptied, removed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "target/cgroup.h"

#define MAX_TRIES 1000 /* names taken by other threads or a pid namespace */
#define MAX_DEPTH 128  /* an open directory each; deeper trees stay */

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/* A cgroup file as a string without its newline; "" if it cannot be read. */
static void read_file(int dir_fd, const char *name, char *buf, size_t size)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, buf, size - 1);

	if (fd >= 0)
		close(fd);
	buf[len > 0 ? len : 0] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
}

static int write_file(int dir_fd, const char *name, const char *text)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int get_id(int dir_fd, __u64 *id)
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + sizeof(__u64)];
	} h = {.handle.handle_bytes = sizeof(__u64)};
	int mount_id;

	if (name_to_handle_at(dir_fd, "", &h.handle, &mount_id, AT_EMPTY_PATH))
		return -errno;
	if (h.handle.handle_bytes != sizeof(*id))
		return -EPROTO;
	memcpy(id, h.room + sizeof(struct file_handle), sizeof(*id));
	return 0;
}

static int explain_mkdir(int err, const struct sl_cgroup2 *fs, struct sl_diag *diag)
{
	const char *hint = "";

	if (err == EACCES || err == EPERM)
		hint = "; this needs root (sudo), or a cgroup that is yours";
	else if (err == EAGAIN)
		hint = "; cgroup.max.depth or cgroup.max.descendants of it or a parent is reached: "
		       "raise it or remove left-over cgroups";
	else if (err == EROFS)
		hint = "; cgroup2 is mounted read-only here";
	else if (err == ENODEV || err == ENOENT)
		hint = "; the caller's own cgroup has been removed: start from a new shell";
	sl_error(diag, NULL, "cannot make a cgroup below the caller's own (%s): %s%s", fs->own,
		 strerror(err), hint);
	return -err;
}

static int make_dir(const struct sl_cgroup2 *fs, char **path, struct sl_diag *diag)
{
	static unsigned serial;
	char *name;

	for (int tries = 0; tries < MAX_TRIES; tries++) {
		if (asprintf(&name, "%s/" SL_RUN_CGROUP_PREFIX "%d-%u", fs->own, getpid(),
			     serial++) < 0) {
			sl_error(diag, NULL, "out of memory");
			return -ENOMEM;
		}
		if (!mkdir(name, 0755)) {
			*path = name;
			return 0;
		}
		free(name);
		if (errno != EEXIST)
			break;
	}
	return explain_mkdir(errno, fs, diag);
}

static int explain_type(const char *path, const char *type, struct sl_diag *diag)
{
	sl_error(
		diag, NULL,
		"the new cgroup %s is \"%s\": its parent is threaded and takes no whole processes; "
		"start `sluice run` from a cgroup of type \"domain\" (another shell, or "
		"`systemd-run --scope`)",
		path, type);
	return -EOPNOTSUPP;
}

int sl_cgroup_make(const struct sl_cgroup2 *fs, struct sl_cgroup *out, struct sl_diag *diag)
{
	struct sl_cgroup cg = {
		.dir_fd = -1,
		.events_fd = -1,
		.level = fs->level + 1,
		.level_exact = fs->level_exact,
	};
	char type[64];
	int err;

	err = make_dir(fs, &cg.path, diag);
	if (err || !cg.path)
		return err ? err : -ENOMEM;
	cg.dir_fd = open(cg.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cg.dir_fd >= 0)
		cg.events_fd = openat(cg.dir_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	if (cg.events_fd < 0 || flock(cg.dir_fd, LOCK_EX | LOCK_NB))
		err = -errno;
	else
		err = get_id(cg.dir_fd, &cg.id);
	if (err) {
		sl_error(diag, NULL, "%s: %s", cg.path, strerror(-err));
		goto undo;
	}
	read_file(cg.dir_fd, "cgroup.type", type, sizeof(type));
	if (strcmp(type, "domain")) {
		err = explain_type(cg.path, type, diag);
		goto undo;
	}
	*out = cg;
	return 0;
undo:
	rmdir(cg.path);
	sl_cgroup_close(&cg);
	return err;
}

static int explain_add(int err, const struct sl_cgroup *cg, pid_t pid, struct sl_diag *diag)
{
	const char *hint = "";
	char type[64], control[256];
	int parent;

	if (err == EOPNOTSUPP || err == EBUSY) {
		parent = openat(cg->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		read_file(parent, "cgroup.type", type, sizeof(type));
		read_file(parent, "cgroup.subtree_control", control, sizeof(control));
		if (parent >= 0)
			close(parent);
		sl_error(
			diag, NULL,
			"cgroup %s takes no processes (%s): the parent's cgroup.type is \"%s\" and "
			"its cgroup.subtree_control \"%s\"; start `sluice run` from a cgroup of "
			"type "
			"\"domain\" (another shell, or `systemd-run --scope`)",
			cg->path, strerror(err), type, control);
		return -err;
	}
	if (err == EACCES || err == EPERM)
		hint = "; this needs root (sudo)";
	else if (err == EAGAIN)
		hint = "; the pids limit of a parent cgroup is reached";
	sl_error(diag, NULL, "cannot move process %d into %s: %s%s", pid, cg->path, strerror(err),
		 hint);
	return -err;
}

int sl_cgroup_add(const struct sl_cgroup *cg, pid_t pid, struct sl_diag *diag)
{
	char text[16];
	int err;

	snprintf(text, sizeof(text), "%d", pid);
	err = write_file(cg->dir_fd, "cgroup.procs", text);
	return err ? explain_add(-err, cg, pid, diag) : 0;
}

static int events_populated(int events_fd)
{
	char text[256];
	ssize_t len = pread(events_fd, text, sizeof(text) - 1, 0);
	const char *at;

	if (len < 0)
		return -errno;
	text[len] = '\0';
	at = strstr(text, "populated ");
	return at ? at[strlen("populated ")] == '1' : -EPROTO;
}

int sl_cgroup_populated(const struct sl_cgroup *cg)
{
	return events_populated(cg->events_fd);
}

int sl_cgroup_wait_empty(const struct sl_cgroup *cg, int timeout_ms)
{
	long long deadline = now_ms() + timeout_ms, left;
	struct pollfd p = {.fd = cg->events_fd, .events = POLLPRI};
	int populated;

	/* Each read arms the next POLLPRI, so a change between is not missed. */
	while ((populated = events_populated(cg->events_fd)) > 0) {
		left = timeout_ms < 0 ? -1 : deadline - now_ms();
		if (timeout_ms >= 0 && left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
			return -errno;
	}
	return populated;
}

static DIR *open_dir(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir && fd >= 0)
		close(fd);
	return dir;
}

/* Calls visit(dir, arg) for each cgroup below and for this one, deepest first. */
static int for_each_below(int at, const char *name, unsigned depth,
			  int (*visit)(int dir_fd, int parent_fd, const char *name))
{
	DIR *dir = depth < MAX_DEPTH ? open_dir(at, name) : NULL;
	struct dirent *e;
	int err = 0, e2;

	if (!dir)
		return depth < MAX_DEPTH ? -errno : -ELOOP;
	while ((e = readdir(dir))) {
		if (e->d_type != DT_DIR || !strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		e2 = for_each_below(dirfd(dir), e->d_name, depth + 1, visit);
		err = err ? err : e2;
	}
	e2 = visit(dirfd(dir), depth ? at : -1, name);
	closedir(dir);
	return err ? err : e2;
}

static int kill_members(int dir_fd, int parent_fd, const char *name)
{
	int fd = openat(dir_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	FILE *in = fd < 0 ? NULL : fdopen(fd, "r");
	int pid;

	(void)parent_fd;
	(void)name;
	if (!in) {
		if (fd >= 0)
			close(fd);
		return -errno;
	}
	/* 0 stands for a process that our pid namespace cannot see; kill(0)
	 * would hit ourselves. */
	while (fscanf(in, "%d", &pid) == 1)
		if (pid > 0)
			kill(pid, SIGKILL);
	fclose(in);
	return 0;
}

int sl_cgroup_kill_by_signals(const struct sl_cgroup *cg, int timeout_ms)
{
	long long deadline = now_ms() + timeout_ms;
	int err;

	/* Rounds, since a process may fork between the list and its death. */
	do {
		err = for_each_below(cg->dir_fd, ".", 0, kill_members);
		if (err)
			return err;
		err = sl_cgroup_wait_empty(cg, 20);
	} while (err == -ETIMEDOUT && now_ms() < deadline);
	return err;
}

int sl_cgroup_kill(const struct sl_cgroup *cg)
{
	int err = write_file(cg->dir_fd, "cgroup.kill", "1");

	return err == -ENOENT ? sl_cgroup_kill_by_signals(cg, 5000) : err;
}

static int remove_child(int dir_fd, int parent_fd, const char *name)
{
	(void)dir_fd;
	if (parent_fd < 0) /* the top itself: its caller knows its name */
		return 0;
	return unlinkat(parent_fd, name, AT_REMOVEDIR) ? -errno : 0;
}

static int remove_tree(int dir_fd, const char *path)
{
	int err = for_each_below(dir_fd, ".", 0, remove_child);

	if (err)
		return err;
	return rmdir(path) ? -errno : 0;
}

int sl_cgroup_remove(const struct sl_cgroup *cg)
{
	return remove_tree(cg->dir_fd, cg->path);
}

void sl_cgroup_close(struct sl_cgroup *cg)
{
	if (!cg || !cg->path)
		return;
	if (cg->events_fd >= 0)
		close(cg->events_fd);
	if (cg->dir_fd >= 0)
		close(cg->dir_fd);
	free(cg->path);
	*cg = (struct sl_cgroup){.dir_fd = -1, .events_fd = -1};
}

/* Is it a run's name, of a process that is gone? */
static bool is_left_over(const char *name)
{
	unsigned serial;
	int pid, used = 0;

	if (sscanf(name, SL_RUN_CGROUP_PREFIX "%d-%u%n", &pid, &serial, &used) != 2 || name[used] ||
	    pid <= 0)
		return false;
	return kill(pid, 0) && errno == ESRCH;
}

static bool sweep_one(int parent_fd, const char *parent, const char *name)
{
	int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int events = fd < 0 ? -1 : openat(fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	bool removed = false;
	char path[4096];

	/* The lock: a pid namespace may hide a run that is alive. */
	if (events >= 0 && !flock(fd, LOCK_EX | LOCK_NB) && !events_populated(events) &&
	    snprintf(path, sizeof(path), "%s/%s", parent, name) < (int)sizeof(path))
		removed = !remove_tree(fd, path);
	if (events >= 0)
		close(events);
	if (fd >= 0)
		close(fd);
	return removed;
}

int sl_cgroup_sweep(const struct sl_cgroup2 *fs)
{
	DIR *dir = open_dir(AT_FDCWD, fs->own);
	struct dirent *e;
	int n = 0;

	if (!dir)
		return -errno;
	while ((e = readdir(dir)))
		if (is_left_over(e->d_name) && sweep_one(dirfd(dir), fs->own, e->d_name))
			n++;
	closedir(dir);
	return n;
}
