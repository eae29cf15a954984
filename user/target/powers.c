// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "powers.h"
#include "processes.h"

#define MAP_BYTES 4096 /* a map that is longer is not ours */

struct look {
	char own[MAP_BYTES]; /* our uid_map */
	__u64 wanted;
	struct sl_powers *out;
};

/* As text, NUL-terminated; false: it is not there, or longer. */
static bool read_text(int dir_fd, const char *name, char *buf, size_t size)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0 || (size_t)n == size - 1)
		return false;
	buf[n] = '\0';
	return true;
}

/* Which namespace it is in the link in ns/ would say, for which one needs CAP_SYS_PTRACE. */
static bool is_of_our_namespace(const struct look *l, int proc_fd)
{
	char map[MAP_BYTES];

	return read_text(proc_fd, "uid_map", map, sizeof(map)) && !strcmp(map, l->own);
}

/* A line of its status may be long: it has all of its groups. */
static bool read_powers(int proc_fd, __u64 wanted, struct sl_powers *out)
{
	int fd = openat(proc_fd, "status", O_RDONLY | O_CLOEXEC);
	FILE *in = fd < 0 ? NULL : fdopen(fd, "r");
	unsigned long long has = 0;
	char *line = NULL;
	size_t size = 0;

	if (!in) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while (getline(&line, &size, in) >= 0) {
		sscanf(line, "Pid: %d", &out->pid);
		sscanf(line, "CapPrm: %llx", &has);
	}
	free(line);
	fclose(in);
	out->has = has & wanted;
	return out->pid && out->has;
}

static bool look_at(void *context, int proc_fd)
{
	struct look *l = context;
	struct sl_powers found = {};

	if (!read_powers(proc_fd, l->wanted, &found) || !is_of_our_namespace(l, proc_fd))
		return false;
	*l->out = found;
	return true;
}

void sl_powers_look(const char *cgroup, sl_foreign_fn *foreign, __u64 wanted, struct sl_powers *out)
{
	struct look l = {.wanted = wanted, .out = out};
	int fd, self = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	memset(out, 0, sizeof(*out));
	fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && self >= 0 && read_text(self, "uid_map", l.own, sizeof(l.own)))
		sl_each_process(fd, foreign, look_at, &l);
	if (fd >= 0)
		close(fd);
	if (self >= 0)
		close(self);
}
