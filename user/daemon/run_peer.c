// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The process that asks for a run. A cgroup takes processes by their numbers, and a number
 * may be another's in a moment: a pidfd tells whose it was. It is opened before anything is
 * asked about the number, and looked at after.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon.h"
#include "kernel/effective.h"
#include "kernel/expedite.h"
#include "server.h"
#include "target/cgroup.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* 6.5 */
#endif
#define GROUPS_MAX 1024

static bool has_ended(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) != 0;
}

/* ---- who it is ---- */

/* The groups are those of the moment when it connected, as the kernel noted them. */
static bool is_member(const struct sl_caller *c)
{
	gid_t group = sl_control_server_group(c->daemon->server), groups[GROUPS_MAX];
	socklen_t len = sizeof(groups);

	if (group == (gid_t)-1)
		return false;
	if (c->gid == group)
		return true;
	if (getsockopt(c->source.fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len))
		return false;
	for (size_t i = 0; i < len / sizeof(*groups); i++)
		if (groups[i] == group)
			return true;
	return false;
}

static int open_pidfd(const struct sl_caller *c)
{
	socklen_t len = sizeof(int);
	int pidfd;

	if (!getsockopt(c->source.fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len)) {
		fcntl(pidfd, F_SETFD, FD_CLOEXEC);
		return pidfd;
	}
	if (errno != ENOPROTOOPT)
		return -errno;
	/* Before 6.5 the number may be another's: then it is one of the same user, without
	 * privileges (looks_right), who could do worse to it himself. */
	pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	return pidfd < 0 ? -errno : pidfd;
}

static FILE *open_proc(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return fopen(path, "re");
}

/* All four of its uids are the peer's, and no capability is permitted to it. */
static int looks_right(const struct sl_caller *c, struct sl_diag *diag)
{
	FILE *in = open_proc(c->pid, "status");
	bool uids = false, powerless = false;
	unsigned long long capabilities;
	unsigned id[4];
	char line[256];

	if (!in)
		return sl_error(diag, NULL, "process %d: /proc cannot be read: %s", c->pid,
				strerror(errno));
	while (fgets(line, sizeof(line), in)) {
		if (sscanf(line, "Uid: %u %u %u %u", &id[0], &id[1], &id[2], &id[3]) == 4)
			uids = id[0] == c->uid && id[1] == c->uid && id[2] == c->uid &&
			       id[3] == c->uid;
		else if (sscanf(line, "CapPrm: %llx", &capabilities) == 1)
			powerless = !capabilities;
	}
	fclose(in);
	if (!uids)
		return sl_error(diag, NULL, "process %d is not uid %u's alone", c->pid, c->uid);
	return powerless ? 0 : sl_error(diag, NULL, "process %d has capabilities", c->pid);
}

int sl_run_peer_open(const struct sl_caller *c, struct sl_diag *diag)
{
	int pidfd, err;

	if (!c->uid)
		return sl_error(diag, NULL,
				"root runs commands without sluiced: "
				"`sluice run -p FILE`");
	if (!is_member(c))
		return sl_error(diag, NULL, "uid %u is no member of the group \"%s\"", c->uid,
				c->daemon->config->group);
	pidfd = open_pidfd(c);
	if (pidfd < 0)
		return sl_error(diag, NULL, "the process that connected (%d) has ended", c->pid);
	err = looks_right(c, diag);
	if (!err && has_ended(pidfd))
		err = sl_error(diag, NULL, "the process that connected (%d) has ended", c->pid);
	if (!err)
		return pidfd;
	close(pidfd);
	return err;
}

/* ---- where it is ---- */

/* The path of its cgroup as the kernel has it; owned. NULL: unknown. */
static char *cgroup_of(pid_t pid)
{
	FILE *in = open_proc(pid, "cgroup");
	char *path = NULL;

	if (!in)
		return NULL;
	if (sl_cgroup2_own_path(in, &path))
		path = NULL;
	fclose(in);
	return path;
}

/* A target above it judges it now, and would not any more. */
static bool is_judged(struct sl_daemon *d, const struct sl_cgroup_target *cgroup)
{
	__u32 slot;

	for (unsigned i = 0; i <= cgroup->level; i++)
		if (!sl_state_find_cgroup(d->devices.state, cgroup->ids[i], &slot))
			return true;
	return false;
}

static int open_below_mount(struct sl_daemon *d, const char *path, struct sl_cgroup_target *out,
			    struct sl_diag *diag)
{
	char *real;
	int err;

	if (asprintf(&real, "%s%s", d->cgroups.mount, strcmp(path, "/") ? path : "") < 0)
		return -ENOMEM;
	err = sl_cgroup_open_target(real, out, diag);
	free(real);
	return err;
}

int sl_run_peer_check(const struct sl_caller *c, const struct sl_run *run, struct sl_diag *diag)
{
	struct sl_cgroup_target cgroup;
	char *path = cgroup_of(c->pid);
	int err;

	/* outside of our cgroup namespace, or counted from where our mount does not begin */
	if (path && (c->daemon->cgroups.foreign || !strncmp(path, "/..", 3))) {
		free(path);
		path = NULL;
	}
	if (!path)
		return sl_error(diag, NULL, "the cgroup of process %d is not known", c->pid);
	err = open_below_mount(c->daemon, path, &cgroup, diag);
	free(path);
	if (err)
		return err;
	if (is_judged(c->daemon, &cgroup))
		err = sl_error(diag, NULL,
			       "process %d is under a policy already (its cgroup is %s): a run "
			       "would take it from there",
			       c->pid, cgroup.path);
	else if (!sl_cgroup_keeps_programs(cgroup.fd, run->dir_fd))
		err = sl_error(diag, NULL,
			       "BPF programs judge the cgroup of process %d (%s), as those of "
			       "`sluice run` or of systemd do, and would not judge the run",
			       c->pid, cgroup.path);
	sl_cgroup_close_target(&cgroup);
	return err;
}

/* ---- the move ---- */

static int move_to(int dir_fd, pid_t pid)
{
	int fd = openat(dir_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC), err = 0;
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", pid);

	if (fd < 0)
		return -errno;
	sl_expedite_begin(); /* the kernel waits before it moves anybody */
	if (write(fd, text, (size_t)n) != n)
		err = -errno;
	sl_expedite_end();
	close(fd);
	return err;
}

static pid_t parent_of(pid_t pid)
{
	FILE *in = open_proc(pid, "status");
	char line[256];
	pid_t parent = 0;

	while (in && fgets(line, sizeof(line), in))
		if (sscanf(line, "PPid: %d", &parent) == 1)
			break;
	if (in)
		fclose(in);
	return parent;
}

static bool is_in(const struct sl_run *run, pid_t pid)
{
	char *path = cgroup_of(pid);
	bool in = path && !strcmp(path, run->path);

	free(path);
	return in;
}

/* The number was given to a new process while we waited for the kernel: that one goes back
 * to where its parent is, from where it came a moment ago. */
static void give_back(struct sl_daemon *d, const struct sl_run *run, pid_t pid)
{
	char *path = is_in(run, pid) ? cgroup_of(parent_of(pid)) : NULL;
	struct sl_cgroup_target cgroup;
	struct sl_diag ignored = {};

	if (path && !open_below_mount(d, path, &cgroup, &ignored)) {
		move_to(cgroup.fd, pid);
		sl_cgroup_close_target(&cgroup);
	}
	free(path);
	sl_diag_free(&ignored);
}

int sl_run_peer_move(const struct sl_caller *c, int pidfd, struct sl_run *run, struct sl_diag *diag)
{
	int err = move_to(run->dir_fd, c->pid);

	if (err && err != -ESRCH)
		return sl_error(diag, NULL, "process %d cannot be moved into %s: %s", c->pid,
				run->path, strerror(-err));
	/* As long as it had not ended the number was its own. */
	if (!err && !has_ended(pidfd))
		return 0;
	if (!err)
		give_back(c->daemon, run, c->pid);
	sl_error(diag, NULL, "process %d has ended", c->pid);
	return -ESRCH;
}
