// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "policy/text.h"
#include "processes.h"

#define MAX_DEPTH 128	/* an open directory each */

struct walk {
	sl_foreign_fn *foreign;
	sl_process_fn *fn;
	void *context;
};

/* Only at the top: what is below another's cgroup has what name the workload likes. */
static bool is_foreign(const struct walk *walk, int dir_fd, const char *name, unsigned depth)
{
	return !depth && walk->foreign && walk->foreign(dir_fd, name);
}

static bool look_at(const struct walk *walk, int pid)
{
	char path[32];
	int proc_fd;
	bool enough;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	proc_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc_fd < 0)	/* it has ended */
		return false;
	enough = walk->fn(walk->context, proc_fd);
	close(proc_fd);
	return enough;
}

/* 0 stands for a process that our pid namespace cannot see. */
static bool look_in(const struct walk *walk, int dir_fd)
{
	int fd = openat(dir_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC), pid;
	FILE *in = fd < 0 ? NULL : fdopen(fd, "r");
	bool enough = false;

	while (in && !enough && fscanf(in, "%d", &pid) == 1)
		enough = pid > 0 && look_at(walk, pid);
	if (in)
		fclose(in);
	else if (fd >= 0)
		close(fd);
	return enough;
}

static bool look_below(const struct walk *walk, int dir_fd, unsigned depth)
{
	bool enough = look_in(walk, dir_fd);
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), child;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (dir && !enough && depth < MAX_DEPTH && (e = readdir(dir))) {
		if (e->d_type != DT_DIR || sl_is_dots(e->d_name) ||
		    is_foreign(walk, dir_fd, e->d_name, depth))
			continue;
		child = openat(dir_fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		enough = child >= 0 && look_below(walk, child, depth + 1);
		if (child >= 0)
			close(child);
	}
	if (dir)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
	return enough;
}

bool sl_each_process(int dir_fd, sl_foreign_fn *foreign, sl_process_fn *fn, void *context)
{
	const struct walk walk = {foreign, fn, context};

	return look_below(&walk, dir_fd, 0);
}
