// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Inherited descriptors that would carry the command past the hooks. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/magic.h>

#include "target/confine.h"

#define TUN_MAJOR 10  /* misc devices */
#define TUN_MINOR 200 /* include/linux/miscdevice.h */

enum verdict { KEEP, KEEP_UNIX, CLOSE };

static const char *family_name(int family)
{
	switch (family) {
	case AF_INET:
		return "inet";
	case AF_INET6:
		return "inet6";
	case AF_NETLINK:
		return "netlink";
	case AF_PACKET:
		return "packet";
	case AF_VSOCK:
		return "vsock";
	}
	return NULL;
}

static const char *type_name(int type)
{
	switch (type) {
	case SOCK_STREAM:
		return "stream ";
	case SOCK_DGRAM:
		return "datagram ";
	case SOCK_RAW:
		return "raw ";
	}
	return "";
}

static enum verdict judge_socket(int fd, char *what, size_t size)
{
	int family = -1, type = -1;
	socklen_t len = sizeof(family);
	const char *name;

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len)) {
		/* O_PATH of a unix socket's file: no socket yet. */
		if (errno == EBADF)
			return KEEP;
		snprintf(what, size, "socket of unknown family");
		return CLOSE;
	}
	if (family == AF_UNIX)
		return KEEP_UNIX;
	len = sizeof(type);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len))
		type = -1;
	name = family_name(family);
	if (name)
		snprintf(what, size, "%s %ssocket", name, type_name(type));
	else
		snprintf(what, size, "%ssocket of family %d", type_name(type), family);
	return CLOSE;
}

static bool on_guarded_fs(int fd)
{
	struct statfs st;

	return !fstatfs(fd, &st) && (st.f_type == CGROUP_SUPER_MAGIC ||
				     st.f_type == CGROUP2_SUPER_MAGIC || st.f_type == BPF_FS_MAGIC);
}

/* What anonymous inodes are shows only in the name of their link. */
static bool link_starts(int fd, const char *with)
{
	char path[32], name[64];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, name, sizeof(name) - 1);
	name[len > 0 ? len : 0] = '\0';
	return !strncmp(name, with, strlen(with));
}

static enum verdict judge(int fd, bool confined, char *what, size_t size)
{
	const char *name = NULL;
	struct stat st;

	if (fstat(fd, &st)) {
		snprintf(what, size, "descriptor that cannot be examined");
		return CLOSE;
	}
	if (S_ISSOCK(st.st_mode))
		return judge_socket(fd, what, size);
	if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(TUN_MAJOR, TUN_MINOR))
		name = "tun device";
	else if (link_starts(fd, "anon_inode:[io_uring]"))
		name = "io_uring";
	else if (confined && on_guarded_fs(fd))
		name = "cgroup or bpf file";
	else if (confined && S_ISDIR(st.st_mode))
		name = "directory";
	else if (confined && link_starts(fd, "anon_inode:bpf"))
		name = "bpf object";
	if (!name)
		return KEEP;
	snprintf(what, size, "%s", name);
	return CLOSE;
}

static int add(struct sl_fds *fds, const struct sl_fd_closed *item)
{
	struct sl_fd_closed *grown;

	grown = realloc(fds->closed, (fds->n_closed + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	grown[fds->n_closed++] = *item;
	fds->closed = grown;
	return 0;
}

static int scan_one(int fd, bool confined, struct sl_fds *fds, struct sl_diag *diag)
{
	static const char *const names[] = {"input", "output", "error"};
	struct sl_fd_closed item = {.fd = fd};
	int flags = fcntl(fd, F_GETFD);

	if (flags < 0 || flags & FD_CLOEXEC)
		return 0;
	switch (judge(fd, confined, item.what, sizeof(item.what))) {
	case KEEP:
		return 0;
	case KEEP_UNIX:
		fds->n_unix++;
		return 0;
	case CLOSE:
		break;
	}
	if (fd > 2)
		return add(fds, &item);
	sl_error(diag, NULL,
		 "standard %s is a %s made outside the command's cgroup, so no policy "
		 "would hold for it; put a pipe between: `... | sluice run ... | ...`",
		 names[fd], item.what);
	return -ENOTSUP;
}

int sl_fds_scan(bool confined, struct sl_fds *out, struct sl_diag *diag)
{
	DIR *dir = opendir("/proc/self/fd");
	struct sl_fds fds = {0};
	struct dirent *e;
	int err = 0;

	if (!dir) {
		err = -errno;
		sl_error(diag, NULL, "/proc/self/fd: %s; is /proc mounted?", strerror(-err));
		return err;
	}
	/* The directory's own descriptor is close-on-exec. */
	while (!err && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			err = scan_one(atoi(e->d_name), confined, &fds, diag);
	closedir(dir);
	if (err == -ENOMEM)
		sl_error(diag, NULL, "out of memory");
	if (err) {
		sl_fds_free(&fds);
		return err;
	}
	*out = fds;
	return 0;
}

int sl_fds_close(const struct sl_fds *fds)
{
	for (size_t i = 0; i < fds->n_closed; i++)
		if (close(fds->closed[i].fd) && errno == EBADF)
			return -EBADF; /* not the descriptors that were scanned */
	return 0;
}

void sl_fds_free(struct sl_fds *fds)
{
	if (!fds)
		return;
	free(fds->closed);
	*fds = (struct sl_fds){0};
}
