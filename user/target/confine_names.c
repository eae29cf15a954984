// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Names are learned from DNS packets of the command's own. What would resolve them
 * elsewhere on its behalf (nscd, systemd-resolved through nss-resolve, mDNS) is taken
 * out of its sight: its nsswitch.conf says `hosts: files dns`, and their sockets are
 * covered. With a forwarder, its resolv.conf names that alone. In the private mount
 * namespace of the command.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "target/confine.h"

#define SWITCH "/etc/nsswitch.conf"
#define RESOLVERS "/etc/resolv.conf"
#define COPY_BYTES_MAX 65536

/*
 * Where sockets stand that answer for names. A socket that was covered alone would be seen again
 * when its daemon makes it anew: the kernel takes off what is mounted on a file that is
 * removed. So the folders are covered, of those that are there.
 */
static const struct {
	const char *path, *name; /* in our file system */
} folders[] = {
	{"/run/nscd", "nscd"},
	{"/run/systemd/resolve", "resolve"},
	{"/run/avahi-daemon", "avahi"},
	{"/run/nslcd", "nslcd"},
};

/* What /etc/resolv.conf may lead to, in the second of them: as it is now, and as the policy's
 * resolvers are those of now. */
static const char *const resolved_files[] = {"resolve/resolv.conf", "resolve/stub-resolv.conf"};
#define RESOLVED "/run/systemd/"

/* Elsewhere, and what is in no folder of its own. */
static const char *const sockets[] = {
	"/run/nscd/socket", "/var/run/nscd/socket", "/run/systemd/resolve/io.systemd.Resolve",
	"/run/avahi-daemon/socket", "/run/nslcd/socket",
};

/*
 * Where it is mounted for a moment: before 6.15 a file of a mount that is nowhere cannot be
 * cloned (EINVAL: fs/namespace.c, __do_loopback, check_mnt). Nothing that is read or covered
 * here lies below, and nobody else sees it.
 */
#define FOR_A_MOMENT "/proc"

/* A small file system of our own, mounted nowhere: its root directory. */
static int make_mount(void)
{
	int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC), fd;

	if (fs < 0)
		return -errno;
	/* Its owner may write: who mounts it may be no root (sluice-mounts). What is seen of it
	 * are its files, each read-only. */
	if (syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "size", "512k", 0) ||
	    syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "mode", "0755", 0) ||
	    syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		fd = -errno;
	else
		fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC,
				  MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (fd == -1)
		fd = -errno;
	close(fs);
	return fd;
}

static int make_files(void)
{
	int fd = make_mount(), err;

	if (fd < 0 || !syscall(SYS_move_mount, fd, "", AT_FDCWD, FOR_A_MOMENT,
			       MOVE_MOUNT_F_EMPTY_PATH))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

/* A file of it, read-only, over a path. */
static int cover(int files, const char *name, const char *path)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
	int tree = (int)syscall(SYS_open_tree, files, name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	int err = 0;

	if (tree < 0)
		return -errno;
	if (mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) ||
	    syscall(SYS_move_mount, tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH))
		err = -errno;
	close(tree);
	return err;
}

/* A line that begins with that word. */
static bool begins(const char *line, const char *word, const char *ends)
{
	size_t len = strlen(word);

	line += strspn(line, " \t");
	return !strncmp(line, word, len) && line[len] && strchr(ends, line[len]);
}

static bool is_hosts(const char *line)
{
	line += strspn(line, " \t");
	return !strncmp(line, "hosts", 5) && line[5 + strspn(line + 5, " \t")] == ':';
}

static bool is_nameserver(const char *line)
{
	return begins(line, "nameserver", " \t\n");
}

/* The machine's own file, but for such lines, and a last line of ours. */
static int write_copy(int files, const char *name, const char *from,
		      bool (*is_left_out)(const char *line), const char *last)
{
	FILE *in = fopen(from, "re"), *out;
	int fd = openat(files, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	char *line = NULL;
	size_t cap = 0, bytes = 0;
	int err;

	out = fd < 0 ? NULL : fdopen(fd, "w");
	err = out ? 0 : -errno;
	while (!err && in && getline(&line, &cap, in) >= 0 && bytes < COPY_BYTES_MAX) {
		bytes += strlen(line);
		if (!is_left_out(line))
			fputs(line, out);
	}
	if (out) {
		fprintf(out, "\n%s\n", last);
		if (fclose(out))
			err = -EIO;
	} else if (fd >= 0) {
		close(fd);
	}
	free(line);
	if (in)
		fclose(in);
	return err;
}

/* A missing nsswitch.conf is libc's default, which has other sources too. */
static int write_switch(int files)
{
	return write_copy(files, "nsswitch.conf", SWITCH, is_hosts, "hosts: files dns");
}

/* Its search domains and options stay. It may be a link: its end is covered. */
static int cover_resolvers(int files, const char *resolver)
{
	char last[80], *path = realpath(RESOLVERS, NULL);
	int err;

	if (!path)
		return -errno;
	snprintf(last, sizeof(last), "nameserver %s", resolver);
	err = write_copy(files, "resolv.conf", path, is_nameserver, last);
	if (!err)
		err = cover(files, "resolv.conf", path);
	free(path);
	return err;
}

static bool is_none(const char *line)
{
	(void)line;
	return false;
}

static int copy_resolved(int files)
{
	char from[64];
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(resolved_files) / sizeof(*resolved_files); i++) {
		snprintf(from, sizeof(from), RESOLVED "%s", resolved_files[i]);
		if (!access(from, R_OK))
			err = write_copy(files, resolved_files[i], from, is_none, "");
	}
	return err;
}

static int cover_folders(int files)
{
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(folders) / sizeof(*folders); i++) {
		if (access(folders[i].path, F_OK))
			continue;
		err = mkdirat(files, folders[i].name, 0755) ? -errno : 0;
		if (!err && !strcmp(folders[i].name, "resolve"))
			err = copy_resolved(files);
		if (!err)
			err = cover(files, folders[i].name, folders[i].path);
	}
	return err;
}

static int make_empty(int files)
{
	int fd = openat(files, "empty", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

int sl_confine_names(const char *resolver)
{
	int files = make_files(), err;
	size_t i;

	if (files < 0)
		return files;
	err = write_switch(files);
	if (!err)
		err = make_empty(files);
	if (!err && !access(SWITCH, F_OK))
		err = cover(files, "nsswitch.conf", SWITCH);
	if (!err)
		err = cover_folders(files);
	for (i = 0; !err && i < sizeof(sockets) / sizeof(*sockets); i++)
		if (!access(sockets[i], F_OK))
			err = cover(files, "empty", sockets[i]);
	if (!err && resolver)
		err = cover_resolvers(files, resolver);
	close(files);
	if (umount2(FOR_A_MOMENT, MNT_DETACH) && !err)
		err = -errno;
	return err;
}

int sl_confine_names_alone(const char *resolver)
{
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL))
		return -errno;
	return sl_confine_names(resolver);
}
