// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What stays open for one identity and one set of options, in words. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "target/cgroup.h"
#include "target/confine.h"
#include "target/identity.h"

static int add_line(struct sl_open_points *points, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static int add_line(struct sl_open_points *points, const char *fmt, ...)
{
	char **grown = realloc(points->lines, (points->n + 1) * sizeof(*grown));
	va_list ap;
	int len;

	if (!grown)
		return -ENOMEM;
	points->lines = grown;
	va_start(ap, fmt);
	len = vasprintf(&grown[points->n], fmt, ap);
	va_end(ap);
	if (len < 0)
		return -ENOMEM;
	points->n++;
	return 0;
}

/* Runs test(arg) as the command will be: its ids, no capabilities. 1, 0 or
 * -errno; a process that cannot become the user answers 1, the careful one. */
static int as_command(const struct sl_identity *id, bool (*test)(const void *arg), const void *arg)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (!pid) {
		if (sl_identity_switch(id) || sl_identity_drop_capabilities())
			_exit(1);
		_exit(test(arg));
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return !WIFEXITED(status) || WEXITSTATUS(status);
}

/* Connecting to a unix socket wants write permission on it (unix(7)). */
static bool can_connect(const void *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISSOCK(st.st_mode) &&
	       !faccessat(AT_FDCWD, path, W_OK, AT_EACCESS);
}

static int add_socket(const struct sl_identity *id, const char *path, const char *does,
		      struct sl_open_points *points)
{
	struct stat st;
	int open;

	if (stat(path, &st)) /* as root: what is not there needs no child */
		return 0;
	open = as_command(id, can_connect, path);
	if (open <= 0)
		return open;
	return add_line(points, "%s may be connected to: %s", path, does);
}

static int add_sockets(const struct sl_identity *id, struct sl_open_points *points)
{
	static const char starts[] = "it starts processes outside the cgroup";
	static const char *const system[] = {
		"/run/docker.sock",
		"/run/podman/podman.sock",
		"/run/containerd/containerd.sock",
		"/run/crio/crio.sock",
		"/run/libvirt/libvirt-sock",
		"/run/systemd/private",
	};
	static const char *const user[] = {
		"systemd/private",
		"bus",
		"docker.sock",
		"podman/podman.sock",
	};
	char path[64];
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(system) / sizeof(system[0]); i++)
		err = add_socket(id, system[i], starts, points);
	for (size_t i = 0; !err && i < sizeof(user) / sizeof(user[0]); i++) {
		snprintf(path, sizeof(path), "/run/user/%u/%s", id->uid, user[i]);
		err = add_socket(id, path, starts, points);
	}
	/* polkit asks others; uid 0 it lets pass. */
	if (!err && !id->uid)
		err = add_socket(id, "/run/dbus/system_bus_socket",
				 "systemd starts units for uid 0", points);
	if (!err)
		err = add_socket(id, "/tmp/.X11-unix/X0", "an X client may type into other windows",
				 points);
	return err;
}

static int read_number(const char *path, int none)
{
	FILE *in = fopen(path, "re");
	int value;

	if (!in)
		return none;
	if (fscanf(in, "%d", &value) != 1)
		value = none;
	fclose(in);
	return value;
}

static int add_tracing(const struct sl_identity *id, struct sl_open_points *points)
{
	static const char yama[] = "/proc/sys/kernel/yama/ptrace_scope";
	int scope = read_number(yama, 0);

	if (sl_confine_has_scope())
		return 0;
	if (!id->uid) /* their capabilities are more than the command's: refused */
		return 0;
	if (scope <= 0)
		return add_line(points,
				"processes of uid %u outside may be traced and their "
				"sockets taken (%s is 0 or missing, and the kernel has no Landlock "
				"scopes): set it to 1, or use --user",
				id->uid, yama);
	return add_line(points,
			"/proc/PID/root and /proc/PID/fd of uid %u's processes outside may "
			"be opened (%s is %d: no tracing; the kernel has no Landlock scopes); use "
			"--user",
			id->uid, yama, scope);
}

static bool can_write(const void *path)
{
	return !faccessat(AT_FDCWD, path, W_OK, AT_EACCESS);
}

/* A cgroup that the user may write lets it leave through the mounts of one of
 * its own processes outside; uid 0 is named anyway. */
static int add_delegation(const struct sl_identity *id, const struct sl_cgroup2 *fs,
			  struct sl_open_points *points)
{
	char dir[4096], file[4200], *slash;
	int open;

	if (!fs || !id->uid || sl_confine_has_scope() ||
	    snprintf(dir, sizeof(dir), "%s", fs->own) >= (int)sizeof(dir))
		return 0;
	for (;;) {
		snprintf(file, sizeof(file), "%s/cgroup.procs", dir);
		open = as_command(id, can_write, file);
		if (open < 0)
			return open;
		if (open)
			return add_line(
				points,
				"cgroup %s is delegated to uid %u: the command may "
				"move there through /proc/PID/root of a process outside; start "
				"from a cgroup that is root's",
				dir, id->uid);
		slash = strrchr(dir, '/');
		if (!strcmp(dir, fs->mount) || !slash || slash == dir)
			return 0;
		*slash = '\0';
	}
}

/* A persistent tun or tap device may be opened by its owner without CAP_NET_ADMIN. */
static int add_tuns(const struct sl_identity *id, struct sl_open_points *points)
{
	DIR *dir = opendir("/sys/class/net");
	struct dirent *e;
	char path[512];
	int err = 0;

	while (!err && dir && (e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/class/net/%s/owner", e->d_name);
		if (read_number(path, -1) == (int)id->uid)
			err = add_line(points,
				       "tun device %s belongs to uid %u: packets written to it "
				       "are forwarded, not judged here",
				       e->d_name, id->uid);
	}
	if (dir)
		closedir(dir);
	return err;
}

static int add_kept(const struct sl_identity *id, struct sl_open_points *points)
{
	int err;

	err = add_line(points,
		       "--keep-privileges: the command keeps what it was given (it runs as "
		       "uid %u, may become others, and may be traced into from outside): a hostile "
		       "one leaves its cgroup, opens packet and vsock sockets or detaches the "
		       "programs",
		       id->uid);
	return err;
}

static int add_identity(const struct sl_identity *id, struct sl_open_points *points)
{
	if (!id->uid)
		return add_line(
			points,
			"the command runs as uid 0, without capabilities: files that "
			"are root's (cron tables, units, /proc/sys/kernel/core_pattern) let it "
			"leave; use --user");
	return add_line(points,
			"files of uid %u that run later outside the cgroup (shell start files, "
			"user units, git hooks, authorized_keys) may be written",
			id->uid);
}

int sl_confine_open_points(const struct sl_identity *id, bool keep_privileges,
			   const struct sl_cgroup2 *fs, struct sl_open_points *out)
{
	struct sl_open_points points = {0};
	int err;

	if (keep_privileges) {
		err = add_kept(id, &points);
	} else {
		err = add_identity(id, &points);
		if (!err)
			err = add_tracing(id, &points);
		if (!err)
			err = add_delegation(id, fs, &points);
		if (!err)
			err = add_tuns(id, &points);
		if (!err)
			err = add_sockets(id, &points);
	}
	if (err) {
		sl_open_points_free(&points);
		return err;
	}
	*out = points;
	return 0;
}

void sl_open_points_free(struct sl_open_points *points)
{
	if (!points)
		return;
	for (size_t i = 0; i < points->n; i++)
		free(points->lines[i]);
	free(points->lines);
	*points = (struct sl_open_points){0};
}
