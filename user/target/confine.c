// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The private mounts and the Landlock scope. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/landlock.h>
#include <linux/magic.h>

#include "target/confine.h"
#include "target/mountinfo.h"

/* linux/landlock.h of 6.12 and later; Debian 12's header is of 6.1. */
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)
#define SCOPE_SIGNAL (1ULL << 1)
#define SCOPE_ABI 6

struct scope_ruleset {
	uint64_t handled_access_fs, handled_access_net, scoped;
};

/* The mount of that line as an O_PATH descriptor. -ENOENT if another one lies
 * over it: then no path leads there, and the command (without CAP_SYS_ADMIN)
 * cannot take the upper one away. */
static int open_mount(const struct sl_mount *mnt)
{
	int fd = open(mnt->point, O_PATH | O_CLOEXEC), err = 0;
	struct statx stx;

	if (fd < 0)
		return errno == ENOTDIR ? -ENOENT : -errno;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx))
		err = -errno;
	else if (stx.stx_mnt_id != (uint64_t)mnt->id)
		err = -ENOENT;
	if (!err)
		return fd;
	close(fd);
	return err;
}

static int make_readonly(int fd)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
	struct statvfs st;

	if (mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)))
		return -errno;
	if (fstatvfs(fd, &st))
		return -errno;
	return st.f_flag & ST_RDONLY ? 0 : -EPERM;
}

static int mask(const char *point)
{
	if (mount("sluice", point, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "mode=0555,size=4k"))
		return -errno;
	return 0;
}

static int guard(const struct sl_mount *mnt)
{
	bool bpf = !strcmp(mnt->type, "bpf");
	int fd, err;

	if (!bpf && strcmp(mnt->type, "cgroup") && strcmp(mnt->type, "cgroup2"))
		return 0;
	fd = open_mount(mnt);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	err = bpf ? mask(mnt->point) : make_readonly(fd);
	close(fd);
	return err;
}

/* All of it first: what we mount would show up while we read. */
static int read_all(const char *path, char **text)
{
	FILE *in = fopen(path, "re");
	char *buf = NULL;
	size_t size = 0;
	ssize_t len;
	int err = 0;

	if (!in)
		return -errno;
	len = getdelim(&buf, &size, '\0', in);
	if (len < 0)
		err = -EIO;
	fclose(in);
	if (err)
		free(buf);
	else
		*text = buf;
	return err;
}

/* The caller may stand in a cgroup directory that another mount covers. */
static int check_cwd(void)
{
	struct statvfs flags;
	struct statfs st;

	if (statfs(".", &st))
		return 0; /* cannot be used either */
	if (st.f_type != CGROUP_SUPER_MAGIC && st.f_type != CGROUP2_SUPER_MAGIC)
		return 0;
	return !statvfs(".", &flags) && flags.f_flag & ST_RDONLY ? 0 : -EPERM;
}

int sl_confine_mounts(void)
{
	char *text = NULL, *save = NULL;
	struct sl_mount mnt;
	int err;

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL))
		return -errno;
	err = read_all("/proc/self/mountinfo", &text);
	if (err)
		return err;
	for (char *line = strtok_r(text, "\n", &save); line && !err;
	     line = strtok_r(NULL, "\n", &save)) {
		err = sl_mountinfo_line(line, &mnt);
		if (!err)
			err = guard(&mnt);
	}
	free(text);
	return err ? err : check_cwd();
}

bool sl_confine_has_scope(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >=
	       SCOPE_ABI;
}

int sl_confine_scope(void)
{
	struct scope_ruleset rules = {.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL};
	int fd, err = 0;

	if (!sl_confine_has_scope())
		return 0;
	fd = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);
	if (fd < 0)
		return -errno;
	if (syscall(SYS_landlock_restrict_self, fd, 0))
		err = -errno;
	close(fd);
	return err;
}
