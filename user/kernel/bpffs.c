// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The bpf file system, where pins live. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "kernel.h"

#define BPFFS "/sys/fs/bpf"

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && fs.f_type == BPF_FS_MAGIC;
}

/* Does the first process see the mount (with any_mount false), or the file system by
 * whatever mount? Its mountinfo, unlike its namespace link, is everybody's to read
 * (fs/proc_namespace.c); where it is not, nothing speaks against it. */
static bool first_process_sees(const char *path, bool any_mount)
{
	unsigned id, major, minor;
	char *line = NULL;
	struct statx st;
	size_t size = 0;
	bool seen = false;
	FILE *in;

	if (statx(AT_FDCWD, path, 0, STATX_MNT_ID, &st) || !(st.stx_mask & STATX_MNT_ID))
		return true;
	in = fopen("/proc/1/mountinfo", "re");
	if (!in)
		return true;
	while (!seen && getline(&line, &size, in) > 0)
		if (sscanf(line, "%u %*u %u:%u", &id, &major, &minor) == 3)
			seen = any_mount ? major == st.stx_dev_major && minor == st.stx_dev_minor :
					   id == st.stx_mnt_id;
	free(line);
	fclose(in);
	return seen;
}

int sl_bpffs_ensure(void)
{
	struct statfs fs;

	if (statfs(BPFFS, &fs))
		return -errno;
	if (fs.f_type == BPF_FS_MAGIC)
		return 0;
	if (!first_process_sees(BPFFS, false))
		return -EXDEV;	/* it would be gone with the mount namespace */
	return mount("bpf", BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") ? -errno :
											  0;
}

static int refuse_private(struct sl_diag *diag, const char *path)
{
	sl_error(diag, NULL, "%s: this mount namespace has no bpf file system but one of its own: "
		 "pins would vanish with it, and nothing would be judged. `ip netns exec` makes "
		 "such a one; use `nsenter --net=/run/netns/NAME sluice ...` instead", path);
	return -EXDEV;
}

static int check_at(const char *path, const char *parent, struct sl_diag *diag)
{
	int err;

	if (is_bpffs(parent))
		return first_process_sees(parent, true) ? 0 : refuse_private(diag, path);
	if (strcmp(parent, BPFFS)) {
		sl_error(diag, NULL, "%s is in no bpf file system, which pins need; leave SLUICE_STATE "
			 "out, or name a directory below /sys/fs/bpf", path);
		return -EINVAL;
	}
	err = sl_bpffs_ensure();
	if (err == -EXDEV)
		return refuse_private(diag, path);
	if (err)
		sl_error(diag, NULL, "/sys/fs/bpf: no bpf file system to pin in, and it cannot be "
			 "mounted: %s", strerror(-err));
	return err;
}

int sl_bpffs_absent(const char *path, struct sl_diag *diag)
{
	return strncmp(path, BPFFS "/", sizeof(BPFFS)) || is_bpffs(BPFFS) ||
	       first_process_sees(BPFFS, false) ? -ENOENT : refuse_private(diag, path);
}

int sl_bpffs_check(const char *path, struct sl_diag *diag)
{
	char *copy = strdup(path);
	int err = copy ? check_at(path, dirname(copy), diag) : -ENOMEM;

	free(copy);
	return err;
}
