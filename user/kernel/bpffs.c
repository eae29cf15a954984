// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The bpf file system, where pins live. */
#include <errno.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#include "kernel.h"

#define BPFFS "/sys/fs/bpf"

bool sl_bpffs_is_mounted(void)
{
	struct statfs fs;

	return !statfs(BPFFS, &fs) && fs.f_type == BPF_FS_MAGIC;
}

int sl_bpffs_ensure(void)
{
	struct statfs fs;

	if (statfs(BPFFS, &fs))
		return -errno;
	if (fs.f_type == BPF_FS_MAGIC)
		return 0;
	return mount("bpf", BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") ? -errno :
											  0;
}
