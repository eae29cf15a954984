// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What the machine has beside the BPF machinery: privileges, mounts, settings. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cap-ng.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "doctor.h"
#include "kernel/probe.h"
#include "resolve/lookup.h"
#include "target/confine.h"
#include "target/mountinfo.h"

#define OLDEST_MAJOR 6
#define OLDEST_MINOR 1

static void say(struct sl_finding *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(struct sl_finding *out, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(out->detail, sizeof(out->detail), fmt, args);
	va_end(args);
}

/* The first error of a diag, for the reader. */
static void say_diag(struct sl_finding *out, struct sl_diag *diag)
{
	if (diag->n)
		say(out, "%s", diag->entries[0].message);
	sl_diag_free(diag);
}

/* A small file's first line without its end. 0 or -errno. */
static int read_line(const char *path, char *buf, size_t size)
{
	FILE *in = fopen(path, "re");
	bool got;

	if (!in)
		return -errno;
	got = fgets(buf, (int)size, in);
	fclose(in);
	if (!got)
		return -EIO;
	buf[strcspn(buf, "\n")] = 0;
	return 0;
}

int sl_try_capability(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	if (capng_get_caps_process())
		return -EIO;
	if (capng_have_capability(CAPNG_EFFECTIVE, (unsigned)f->value))
		return 0;
	d->privileged = false;
	return -EPERM;
}

int sl_try_kernel(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	unsigned major = 0, minor = 0;
	struct utsname name;

	if (uname(&name))
		return -errno;
	say(out, "%s %s", name.release, name.machine);
	if (sscanf(name.release, "%u.%u", &major, &minor) != 2 || major < OLDEST_MAJOR ||
	    (major == OLDEST_MAJOR && minor < OLDEST_MINOR))
		out->health = SL_DEGRADED;
	return 0;
}

int sl_try_btf(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	static const char path[] = "/sys/kernel/btf/vmlinux";
	__u16 magic = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (read(fd, &magic, sizeof(magic)) != sizeof(magic) || magic != 0xeb9f) /* BTF_MAGIC */
		err = -EINVAL;
	close(fd);
	say(out, "%s", path);
	return err;
}

int sl_try_jit(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	char line[16];
	int err = read_line("/proc/sys/net/core/bpf_jit_enable", line, sizeof(line));

	if (err)
		return err;
	say(out, "net.core.bpf_jit_enable = %s", line);
	if (!strcmp(line, "0"))
		out->health = SL_DEGRADED;
	return 0;
}

/* ---- cgroups and mounts ---- */

int sl_try_cgroup2(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	struct sl_diag diag = {};
	int err = sl_cgroup2_find(&d->cgroup2, &diag);

	if (err) {
		say_diag(out, &diag);
		return err;
	}
	sl_diag_free(&diag);
	d->has_cgroup2 = true;
	say(out, "at %s; this process is in %s", d->cgroup2.mount, d->cgroup2.path);
	return 0;
}

int sl_try_scratch(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	struct sl_diag diag = {};
	int err;

	if (!d->has_cgroup2)
		return -ENOENT;
	err = sl_cgroup_make(&d->cgroup2, &d->scratch, &diag);
	if (err) {
		say_diag(out, &diag);
		return err;
	}
	sl_diag_free(&diag);
	d->cgroup_fd = d->scratch.dir_fd;
	return 0;
}

int sl_try_cgroup_kill(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	int fd, err = 0;

	if (d->cgroup_fd < 0)
		return -EPERM;
	fd = openat(d->cgroup_fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, "1", 1) != 1)
		err = -errno;
	close(fd);
	return err;
}

int sl_try_bpffs(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	FILE *in = fopen("/proc/self/mountinfo", "re");
	struct sl_mount mnt;
	char *line = NULL;
	size_t size = 0;
	int err = -ENOENT;

	if (!in)
		return -errno;
	while (err && getline(&line, &size, in) > 0) {
		if (sl_mountinfo_line(line, &mnt) || strcmp(mnt.type, "bpf"))
			continue;
		say(out, "at %s", mnt.point);
		err = 0;
	}
	free(line);
	fclose(in);
	return err;
}

/* ---- what confines the command ---- */

/* The kernel loads LSM programs also where nothing ever calls them. */
static void check_lsm_list(struct sl_finding *out)
{
	char line[256], *save = NULL;

	if (read_line("/sys/kernel/security/lsm", line, sizeof(line)))
		return;
	for (char *name = strtok_r(line, ",", &save); name; name = strtok_r(NULL, ",", &save))
		if (!strcmp(name, "bpf"))
			return;
	say(out, "accepted, but \"bpf\" is not in /sys/kernel/security/lsm: never called");
	out->health = SL_DEGRADED;
}

int sl_try_lsm(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	int err = sl_probe_lsm();

	if (!err)
		check_lsm_list(out);
	return err;
}

int sl_try_lsm_cgroup(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	int err = sl_probe_lsm_cgroup(d->cgroup_fd);

	if (!err)
		check_lsm_list(out);
	return err;
}

static int mounts_inside(void *arg)
{
	return sl_confine_mounts();
}

int sl_try_mounts(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	return sl_probe_in_child(mounts_inside, NULL);
}

static int seccomp_inside(void *arg)
{
	int err = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : sl_confine_seccomp();

	if (err)
		return err;
	return socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == EAFNOSUPPORT ? 0 : -EPROTO;
}

int sl_try_seccomp(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	return sl_probe_in_child(seccomp_inside, NULL);
}

int sl_try_scope(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	return sl_confine_has_scope() ? 0 : -EOPNOTSUPP;
}

int sl_try_yama(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	char line[16];
	int err = read_line("/proc/sys/kernel/yama/ptrace_scope", line, sizeof(line));

	if (!err)
		say(out, "kernel.yama.ptrace_scope = %s", line);
	if (!err && strcmp(line, "0"))
		return 0;
	if (sl_confine_has_scope()) {
		say(out, "%s; the Landlock scope does its work",
		    err ? "not in this kernel" : "ptrace_scope is 0");
		return 0;
	}
	return err ? err : -EPERM;
}

/* ---- what the command may expect ---- */

/* As `run` leaves its command: the caller's ids, no_new_privs. */
static int become(struct sl_doctor *d)
{
	int err = 0;

	if (d->has_identity && d->privileged)
		err = sl_identity_switch(&d->identity);
	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		err = -errno;
	return err;
}

static int ping_inside(void *arg)
{
	int err = become(arg);

	if (err)
		return err;
	return socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP) < 0 ? -errno : 0;
}

int sl_try_ping(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	char line[64];
	int err = read_line("/proc/sys/net/ipv4/ping_group_range", line, sizeof(line));
	char *tab = err ? NULL : strchr(line, '\t');

	if (err)
		return err;
	if (tab)
		*tab = ' ';
	say(out, "net.ipv4.ping_group_range = %s; the command's group is %u", line,
	    d->has_identity ? d->identity.gid : getgid());
	return sl_probe_in_child(ping_inside, d);
}

static int userns_inside(void *arg)
{
	int err = become(arg);

	if (err)
		return err;
	return unshare(CLONE_NEWUSER) ? -errno : 0;
}

int sl_try_userns(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	return sl_probe_in_child(userns_inside, d);
}

int sl_try_clock(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	struct timex timex = {0};
	int state = adjtimex(&timex);

	if (state < 0)
		return -errno;
	if (state != TIME_ERROR)
		return 0;
	say(out, "the kernel says that the clock is not synchronised");
	out->health = SL_DEGRADED;
	return 0;
}

/* ---- names ---- */

int sl_try_lookups(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	struct sl_lookup lookup;
	char others[sizeof(out->detail)];

	sl_lookup_read(&lookup);
	sl_lookup_others(&lookup, others, sizeof(others));
	say(out, "%s", others[0] ? others : "files and dns");
	if (others[0])
		out->health = SL_DEGRADED;
	return 0;
}

int sl_try_resolver(struct sl_doctor *d, const struct sl_feature *f, struct sl_finding *out)
{
	struct sl_lookup lookup;

	sl_lookup_read(&lookup);
	if (lookup.docker)
		say(out, "127.0.0.11: Docker's, which iptables leads to another port and back");
	else if (lookup.stub)
		say(out, "127.0.0.53: systemd-resolved's stub, which asks for everybody");
	else
		say(out, "no stub of this machine in resolv.conf");
	if (lookup.docker || lookup.stub)
		out->health = SL_DEGRADED;
	return 0;
}
