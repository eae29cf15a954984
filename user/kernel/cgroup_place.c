// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * How much of the hierarchy a mount shows. In a cgroup namespace no path tells the depth of
 * a cgroup as the kernel counts it; the kernel itself does, of the cgroups that we are in.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <bpf/bpf.h>

#include "probe_insn.h"
#include "state_internal.h"
#include "target/mountinfo.h"

#define SHIFT(dst, src)                                                                            \
	{                                                                                          \
		.code = BPF_ALU64 | BPF_RSH | BPF_X, .dst_reg = dst, .src_reg = src                \
	}

/* ---- the cgroups that we are in ---- */

/*
 * (bpf_get_current_ancestor_cgroup_id(args[0]) >> args[1]), run by hand in our own context
 * (bpf_prog_test_run_raw_tp, 5.10; net/bpf/test_run.c) and attached to nothing. What a run
 * returns has 32 bits.
 */
static int load_asker(void)
{
	const struct bpf_insn insns[] = {
		LOAD(BPF_REG_6, BPF_REG_1, 8),
		LOAD(BPF_REG_1, BPF_REG_1, 0),
		CALL(BPF_FUNC_get_current_ancestor_cgroup_id),
		SHIFT(BPF_REG_0, BPF_REG_6),
		EXIT,
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, "sluice_place", "Dual BSD/GPL", insns,
			       N_INSNS(insns), NULL);

	return fd < 0 ? -errno : fd;
}

static int ask_half(int fd, unsigned level, unsigned shift, __u64 *id)
{
	__u64 args[2] = {level, shift};
	LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = args, .ctx_size_in = sizeof(args));

	if (bpf_prog_test_run_opts(fd, &run))
		return -errno;
	*id |= (__u64)run.retval << shift;
	return 0;
}

/* 0 behind our own level. */
static int ask_id(int fd, unsigned level, __u64 *id)
{
	int err;

	*id = 0;
	err = ask_half(fd, level, 0, id);
	return err ? err : ask_half(fd, level, 32, id);
}

static int ask_all(__u64 ids[SL_CGROUP_LEVELS], unsigned *n)
{
	int fd = load_asker(), err = fd < 0 ? fd : 0;
	unsigned i = 0;

	while (!err && i < SL_CGROUP_LEVELS) {
		err = ask_id(fd, i, &ids[i]);
		if (!err && !ids[i])
			break;
		i += !err;
	}
	if (fd >= 0)
		close(fd);
	if (!err && (!i || ids[0] != SL_CGROUP_ROOT_ID))
		err = -EPROTO;
	*n = i;
	return err;
}

/* A cgroup's level and what is above it never change, wherever we are moved: asked once. */
static unsigned own_ids(const __u64 **ids)
{
	static __u64 known[SL_CGROUP_LEVELS];
	static unsigned n_known;

	if (!n_known && ask_all(known, &n_known))
		n_known = 0;
	*ids = known;
	return n_known;
}

int sl_cgroup_above(__u64 id, const __u64 **ids)
{
	unsigned n = own_ids(ids), level;

	for (level = 0; level < n; level++)
		if ((*ids)[level] == id)
			return (int)level;
	return -ENOENT;
}

/* ---- mounts ---- */

/* Of two the higher one is taken. */
enum shows {
	SHOWS_PART, /* of which we are no part: its depth is not known */
	SHOWS_OURS, /* from a cgroup that we are in */
	SHOWS_WHOLE,
};

/* An inode's number is the id (kernfs, 64-bit), and needs no name_to_handle_at. */
static int open_mount(const char *point, enum shows *shows)
{
	int fd = open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const __u64 *ids;
	struct statfs fs;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstatfs(fd, &fs) || fs.f_type != CGROUP2_SUPER_MAGIC || fstat(fd, &st)) {
		close(fd); /* it is under another mount */
		return -ENOENT;
	}
	*shows = st.st_ino == SL_CGROUP_ROOT_ID		 ? SHOWS_WHOLE
		 : sl_cgroup_above(st.st_ino, &ids) >= 0 ? SHOWS_OURS
							 : SHOWS_PART;
	return fd;
}

struct best {
	char *point;
	int fd, rank;
	bool foreign;
};

static void consider(struct best *best, const struct sl_mount *mount)
{
	enum shows shows = SHOWS_PART;
	int fd = open_mount(mount->point, &shows), rank;
	char *copy;

	if (fd < 0)
		return;
	rank = (int)shows * 2 + !mount->readonly;
	copy = rank >= best->rank ? strdup(mount->point) : NULL; /* a later one lies above */
	if (!copy) {
		close(fd);
		return;
	}
	if (best->fd >= 0)
		close(best->fd);
	free(best->point);
	*best = (struct best){copy, fd, rank, strcmp(mount->root, "/") != 0};
}

static struct best find_best(void)
{
	FILE *in = fopen("/proc/self/mountinfo", "re");
	struct best best = {.fd = -1};
	struct sl_mount mount;
	char *line = NULL;
	size_t size = 0;

	while (in && getline(&line, &size, in) >= 0)
		if (!sl_mountinfo_line(line, &mount) && !strcmp(mount.type, "cgroup2"))
			consider(&best, &mount);
	free(line);
	if (in)
		fclose(in);
	return best;
}

int sl_cgroup_open_root(bool *whole)
{
	struct best best = find_best();

	free(best.point);
	*whole = best.rank / 2 == SHOWS_WHOLE;
	if (best.fd >= 0 && best.rank / 2 == SHOWS_PART) {
		close(best.fd);
		best.fd = -1;
	}
	return best.fd < 0 ? -ENOENT : best.fd;
}

int sl_cgroup_mount(char **point, bool *foreign, struct sl_diag *diag)
{
	struct best best = find_best();

	if (best.fd < 0)
		return sl_error(diag, NULL,
				"no cgroup2 file system is mounted here; mount one: mount -t "
				"cgroup2 none /sys/fs/cgroup (or /sys/fs/cgroup/unified)");
	close(best.fd);
	*point = best.point;
	*foreign = best.foreign;
	return 0;
}
