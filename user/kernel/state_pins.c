// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The pins of the state: where they are, and whether they are what they should be. */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "state_internal.h"

const char *const sl_state_map_names[SL_M_MAX] = {
	[SL_M_INFO] = "sl_info", [SL_M_TABLES] = "sl_tables", [SL_M_WORDS] = "sl_words",
	[SL_M_TARGETS] = "sl_targets", [SL_M_STATS] = "sl_stats", [SL_M_HITS] = "sl_hits",
	[SL_M_FLOWS] = "sl_flows", [SL_M_LOCKS] = "sl_flow_locks", [SL_M_BUDGETS] = "sl_budgets",
	[SL_M_LIMITERS] = "sl_limiters", [SL_M_EVENTS] = "sl_events", [SL_M_LEASES] = "sl_leases",
	[SL_M_METERS] = "sl_meters", [SL_M_DENIALS] = "sl_denials",
	[SL_M_NAMES] = "sl_names", [SL_M_KNOWN] = "sl_known", [SL_M_LEARNED] = "sl_learned",
	[SL_M_SCRATCH] = "sl_scratch", [SL_M_DEVICES] = "sl_devices",
};

const char *const sl_state_program_names[2] = {
	[SL_EGRESS] = "sluice_from_workload",
	[SL_INGRESS] = "sluice_to_workload",
};

char *sl_state_pin(const struct sl_state *s, bool of_netns, const char *format, ...)
{
	char name[64], *path;
	va_list args;

	va_start(args, format);
	vsnprintf(name, sizeof(name), format, args);
	va_end(args);
	return asprintf(&path, "%s/%s", of_netns ? s->netns_path : s->path, name) < 0 ? NULL :
											 path;
}

static int refuse(struct sl_diag *diag, const char *pin, const char *why)
{
	sl_error(diag, NULL, "%s: %s; it is not adopted. If no Sluice of another version is in "
		 "use, remove the pins (this opens their devices): rm -r the directory", pin, why);
	return -EINVAL;
}

int sl_state_get_map(const char *pin, const struct bpf_map *like, struct sl_diag *diag)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);
	int fd = bpf_obj_get(pin), err;

	if (fd < 0) {
		err = -errno;
		if (err != -ENOENT)
			sl_error(diag, NULL, "%s: %s", pin, strerror(-err));
		return err;
	}
	if (bpf_obj_get_info_by_fd(fd, &info, &size) || info.type != bpf_map__type(like) ||
	    info.key_size != bpf_map__key_size(like) ||
	    info.value_size != bpf_map__value_size(like) ||
	    info.max_entries != bpf_map__max_entries(like) ||
	    info.map_flags != bpf_map__map_flags(like)) {
		close(fd);
		return refuse(diag, pin, "a map of another kind or size than this version's");
	}
	return fd;
}

/* The map of the state that has that name; SL_M_MAX: none, as .rodata is none. */
static enum sl_state_map map_named(const struct sl_state *s, const char *name)
{
	enum sl_state_map m;

	for (m = 0; m < SL_M_MAX; m++)
		if (s->maps[m] >= 0 && m != SL_M_DEVICES && /* of each network namespace */
		    !strncmp(name, sl_state_map_names[m], BPF_OBJ_NAME_LEN - 1))
			break;
	return m;
}

static int id_of(int fd, struct bpf_map_info *info)
{
	__u32 size = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return bpf_obj_get_info_by_fd(fd, info, &size) ? -errno : 0;
}

static bool is_checked(const struct sl_checked *c, const struct bpf_prog_info *info)
{
	for (size_t i = 0; i < c->n && i < SL_CHECKED; i++)
		if (c->programs[i].id == info->id && c->programs[i].loaded_ns == info->load_time)
			return true;
	return false;
}

static void note_checked(struct sl_checked *c, const struct bpf_prog_info *info)
{
	c->programs[c->n % SL_CHECKED].id = info->id;
	c->programs[c->n++ % SL_CHECKED].loaded_ns = info->load_time;
}

/* The first of the state's maps that is not the one of that name that the program uses. A
 * program's maps are its own for good, so it is looked through once. */
static enum sl_state_map foreign_map(const struct sl_state *s, int fd)
{
	__u32 ids[64], i, size = sizeof(struct bpf_prog_info);
	struct bpf_prog_info info = {.nr_map_ids = 64, .map_ids = (__u64)(uintptr_t)ids};
	struct bpf_map_info used, ours;
	enum sl_state_map m;
	bool all = true;	/* were looked at */
	int map;

	if (bpf_obj_get_info_by_fd(fd, &info, &size) || is_checked(s->checked, &info))
		return SL_M_MAX;
	for (i = 0; i < info.nr_map_ids && i < 64; i++) {
		map = bpf_map_get_fd_by_id(ids[i]);
		m = SL_M_MAX;
		if (map < 0 || id_of(map, &used))
			all = false;
		else
			m = map_named(s, used.name);
		if (map >= 0)
			close(map);
		if (m == SL_M_MAX)
			continue;
		if (id_of(s->maps[m], &ours))
			all = false;
		else if (ours.id != used.id)
			return m;
	}
	if (all)
		note_checked(s->checked, &info);
	return SL_M_MAX;
}

static int check_maps(const struct sl_state *s, const char *pin, int fd, struct sl_diag *diag)
{
	enum sl_state_map m = foreign_map(s, fd);
	char *path, why[160];

	if (m == SL_M_MAX)
		return 0;
	path = sl_state_pin(s, false, "%s", sl_state_map_names[m]);
	snprintf(why, sizeof(why), "not the map that %s uses", pin);
	if (path)
		refuse(diag, path, why);
	free(path);
	return path ? -EINVAL : -ENOMEM;
}

int sl_state_get_program(const struct sl_state *s, const char *pin, const char *name,
			 enum bpf_prog_type type, struct sl_diag *diag)
{
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);
	int fd = bpf_obj_get(pin), err;

	if (fd < 0) {
		err = -errno;
		if (err != -ENOENT)
			sl_error(diag, NULL, "%s: %s", pin, strerror(-err));
		return err;
	}
	/* the kernel keeps 15 characters of a name */
	if (bpf_obj_get_info_by_fd(fd, &info, &size) || info.type != type ||
	    strncmp(info.name, name, sizeof(info.name) - 1)) {
		close(fd);
		return refuse(diag, pin, "not the program that it should be");
	}
	err = check_maps(s, pin, fd, diag);
	if (err)
		close(fd);
	return err ? err : fd;
}

int sl_state_replace_pin(const struct sl_state *s, int fd, const char *pin)
{
	char *next = sl_state_pin(s, false, "next");
	int err = next ? 0 : -ENOMEM;

	if (!err) {
		unlink(next);
		err = bpf_obj_pin(fd, next) || rename(next, pin) ? -errno : 0;
	}
	free(next);
	return err;
}

int sl_state_detach_link(int fd)
{
	int err;

	sl_expedite_begin(); /* of a device: the kernel waits for frames that are on their way */
	err = bpf_link_detach(fd) ? -errno : 0;
	sl_expedite_end();
	return err;
}

void sl_state_drop_link(const char *pin)
{
	int fd = bpf_obj_get(pin);

	if (fd >= 0) {
		sl_state_detach_link(fd);
		close(fd);
	}
	unlink(pin);
}

static int say_errno(struct sl_diag *diag, const char *path, const char *what)
{
	int err = -errno;
	bool root = err == -EACCES || err == -EPERM;

	sl_error(diag, NULL, "%s: %s: %s%s", path, what, strerror(-err),
		 root ? "; this needs root (sudo)" : "");
	return err;
}

/* The inode of an open file, as /proc/locks names it. */
static bool is_lock_of(const char *line, int fd, long *pid)
{
	unsigned major, minor;
	unsigned long inode;
	char kind[16];
	struct stat st;

	return sscanf(line, "%*d: %15s %*s %*s %ld %x:%x:%lu", kind, pid, &major, &minor, &inode) ==
		       5 && !strcmp(kind, "FLOCK") && !fstat(fd, &st) && inode == st.st_ino &&
	       major == major(st.st_dev) && minor == minor(st.st_dev);
}

/* Who holds the lock, as ` (NAME, pid N)`; empty if nobody tells. */
static void holder_of(int fd, char *text, size_t size)
{
	char line[200], path[40], name[20] = "";
	FILE *f = fopen("/proc/locks", "re");
	long pid = 0;

	while (f && fgets(line, sizeof(line), f) && !is_lock_of(line, fd, &pid))
		pid = 0;
	if (f)
		fclose(f);
	*text = 0;
	if (pid <= 0)
		return;
	snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
	f = fopen(path, "re");
	if (f && fgets(name, sizeof(name), f))
		name[strcspn(name, "\n")] = 0;
	if (f)
		fclose(f);
	snprintf(text, size, " (%s%spid %ld)", name, *name ? ", " : "", pid);
}

/* A `watch` that finds a thousand devices holds it for some 20 s; who only looks has less
 * patience. */
#define LOCK_MS 30000
#define LOCK_LOOK_MS 10000
#define LOCK_PAUSE_MS 20

static int take_lock(const struct sl_state *s, int patience_ms, struct sl_diag *diag)
{
	struct timespec pause = {};
	int waited = 0, ms = 1;
	char holder[64];

	while (flock(s->lock_fd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return say_errno(diag, s->path, "cannot be locked");
		if (s->no_wait)
			return -EAGAIN;
		if (waited >= patience_ms) {
			holder_of(s->lock_fd, holder, sizeof(holder));
			sl_error(diag, NULL, "%s is locked by another process%s, for %d s now; if that "
				 "is stopped or hangs, end it: what is attached stays attached",
				 s->path, holder, waited / 1000);
			return -EBUSY;
		}
		pause.tv_nsec = ms * 1000000;
		nanosleep(&pause, NULL);
		waited += ms;
		ms = ms * 2 > LOCK_PAUSE_MS ? LOCK_PAUSE_MS : ms * 2;
	}
	return 0;
}

int sl_state_lock(struct sl_state *s, bool create, struct sl_diag *diag)
{
	int err = create ? sl_bpffs_check(s->path, diag) : 0;

	if (err)
		return err;
	if (create && mkdir(s->path, 0700) && errno != EEXIST)
		return say_errno(diag, s->path, "cannot be made");
	s->lock_fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (s->lock_fd < 0)
		return errno == ENOENT ? sl_bpffs_absent(s->path, diag) :
					 say_errno(diag, s->path, "cannot be opened");
	err = take_lock(s, create ? LOCK_MS : LOCK_LOOK_MS, diag);
	if (err)
		return err;
	if (create && mkdir(s->netns_path, 0700) && errno != EEXIST)
		return say_errno(diag, s->netns_path, "cannot be made");
	return 0;
}
