// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What commands of users (`sluice run` through sluiced) have and lack on this machine. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "doctor.h"
#include "kernel/expedite.h"
#include "target/private.h"

/* The mount option, which is the whole hierarchy's. */
static bool favors_moves(void)
{
	FILE *in = setmntent("/proc/self/mounts", "re");
	struct mntent *m;
	bool found = false;

	while (in && !found && (m = getmntent(in)))
		found = !strcmp(m->mnt_type, "cgroup2") && hasmntopt(m, "favordynmods");
	if (in)
		endmntent(in);
	return found;
}

/* As sluiced would: it opens the number, and writes it when it has to wait. */
static int try_knob(void)
{
	int fd = open(SL_EXPEDITE_KNOB, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* What makes moves and attachments quick. -errno: nothing does. */
static int find_way(char *text, size_t size)
{
	int normal = 0, expedited = 0, err = sl_expedite_read(SL_EXPEDITE_KNOB, &expedited);

	sl_expedite_read(SL_EXPEDITE_NORMAL, &normal);
	if (favors_moves()) {
		snprintf(text, size, "cgroup2 is mounted with favordynmods");
		return 0;
	}
	if (normal) {
		snprintf(text, size, SL_EXPEDITE_NORMAL " is %d: no grace period is expedited",
			 normal);
		return -EPERM;
	}
	if (!err && expedited && expedited != SL_EXPEDITE_OURS) {
		snprintf(text, size, SL_EXPEDITE_KNOB " is %d: all grace periods are expedited",
			 expedited);
		return 0;
	}
	err = err ? err : try_knob();
	if (err)
		snprintf(text, size, SL_EXPEDITE_KNOB " cannot be written: %s", strerror(-err));
	else
		snprintf(text, size, SL_EXPEDITE_KNOB " can be written, for the moment of a start");
	return err;
}

int sl_try_moves(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	int err = find_way(out->detail, sizeof(out->detail));

	if (err)
		out->health = err == -EACCES && geteuid() ? SL_UNKNOWN : SL_DEGRADED;
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
