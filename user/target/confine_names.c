// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Names are learned from DNS packets of the command's own. What would resolve them
 * elsewhere on its behalf (nscd, systemd-resolved through nss-resolve, mDNS) is taken
 * out of its sight: its nsswitch.conf says `hosts: files dns`, and their sockets are
 * covered. In the private mount namespace of the command.
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
#define SWITCH_BYTES_MAX 65536

/* Sockets that answer for names; those that are there are covered. */
static const char *const sockets[] = {
	"/run/nscd/socket", "/var/run/nscd/socket", "/run/systemd/resolve/io.systemd.Resolve",
	"/run/avahi-daemon/socket", "/run/nslcd/socket",
};

/* A small file system of our own, mounted nowhere: its root directory. */
static int make_files(void)
{
	int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC), fd;

	if (fs < 0)
		return -errno;
	if (syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "size", "128k", 0) ||
	    syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "mode", "0555", 0) ||
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

static bool is_hosts(const char *line)
{
	line += strspn(line, " \t");
	return !strncmp(line, "hosts", 5) && line[5 + strspn(line + 5, " \t")] == ':';
}

/* The machine's own file, but for what it says of hosts. A missing one is libc's
 * default, which has other sources too. */
static int write_switch(int files)
{
	FILE *in = fopen(SWITCH, "re"), *out;
	int fd = openat(files, "nsswitch.conf", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	char *line = NULL;
	size_t cap = 0, bytes = 0;
	int err;

	out = fd < 0 ? NULL : fdopen(fd, "w");
	err = out ? 0 : -errno;
	while (!err && in && getline(&line, &cap, in) >= 0 && bytes < SWITCH_BYTES_MAX) {
		bytes += strlen(line);
		if (!is_hosts(line))
			fputs(line, out);
	}
	if (out) {
		fputs("\nhosts: files dns\n", out);
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

static int make_empty(int files)
{
	int fd = openat(files, "empty", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

int sl_confine_names(void)
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
	for (i = 0; !err && i < sizeof(sockets) / sizeof(*sockets); i++)
		if (!access(sockets[i], F_OK))
			err = cover(files, "empty", sockets[i]);
	close(files);
	return err;
}

int sl_confine_names_alone(void)
{
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL))
		return -errno;
	return sl_confine_names();
}
