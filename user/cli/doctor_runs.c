// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What commands of users (`sluice run` through sluiced) have and lack on this machine. */
#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include "doctor.h"
#include "target/private.h"

/* The mount option, which is the whole hierarchy's. -ENOENT: no cgroup2. */
static int favors_moves(void)
{
	FILE *in = setmntent("/proc/self/mounts", "re");
	struct mntent *m;
	int found = -ENOENT;

	if (!in)
		return -errno;
	while (found < 0 && (m = getmntent(in)))
		if (!strcmp(m->mnt_type, "cgroup2"))
			found = !!hasmntopt(m, "favordynmods");
	endmntent(in);
	return found;
}

int sl_try_moves(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	int favors = favors_moves();

	if (favors < 0)
		return favors;
	snprintf(out->detail, sizeof(out->detail), "cgroup2 is mounted %s favordynmods",
		 favors ? "with" : "without");
	if (!favors)
		out->health = SL_DEGRADED;
	return 0;
}

static int check_capabilities(const char *path)
{
	const __u32 wanted = CAP_TO_MASK(CAP_SYS_ADMIN) | CAP_TO_MASK(CAP_DAC_READ_SEARCH);
	struct vfs_ns_cap_data data = {};
	struct statvfs fs;

	if (getxattr(path, "security.capability", &data, sizeof(data)) < (int)XATTR_CAPS_SZ_2)
		return -EPERM;
	if (!(le32toh(data.magic_etc) & VFS_CAP_FLAGS_EFFECTIVE) ||
	    (le32toh(data.data[0].permitted) & wanted) != wanted)
		return -EPERM;
	return !statvfs(path, &fs) && fs.f_flag & ST_NOSUID ? -EPERM : 0;
}

int sl_try_run_names(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	char path[PATH_MAX];
	int err = sl_private_find_mounts(path);

	if (err) {
		snprintf(out->detail, sizeof(out->detail), "sluice-mounts is not installed");
		return err;
	}
	err = check_capabilities(path);
	snprintf(out->detail, sizeof(out->detail), "%.120s%s", path,
		 err ? " may not mount (no file capabilities, or a nosuid file system)" : "");
	return err;
}
