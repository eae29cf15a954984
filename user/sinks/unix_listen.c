// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <string.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "unix_listen.h"

/* True if somebody accepts there, or it is no socket at all. */
static bool is_taken(const struct sockaddr_un *at)
{
	struct stat st;
	int fd, err;

	if (lstat(at->sun_path, &st))
		return false;
	if (!S_ISSOCK(st.st_mode))
		return true;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	err = fd < 0 || !connect(fd, (const void *)at, sizeof(*at)) ? 0 : errno;
	if (fd >= 0)
		close(fd);
	return err != ECONNREFUSED;
}

static int listen_at(int fd, const struct sockaddr_un *at, mode_t mode, gid_t group,
		     struct sl_unix_file *file)
{
	struct stat st;

	if (is_taken(at))
		return -EADDRINUSE;
	unlink(at->sun_path);	/* of a server that is dead */
	/* nobody can connect before listen(): then its permissions are right */
	if (bind(fd, (const void *)at, sizeof(*at)) || chmod(at->sun_path, mode) ||
	    (group != (gid_t)-1 && chown(at->sun_path, (uid_t)-1, group)) ||
	    lstat(at->sun_path, &st) || listen(fd, 4096))
		return -errno;
	*file = (struct sl_unix_file){st.st_dev, st.st_ino};
	return 0;
}

int sl_unix_listen(const char *path, mode_t mode, gid_t group, struct sl_unix_file *file)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd, err;

	if (strlen(path) >= sizeof(at.sun_path))
		return -ENAMETOOLONG;
	strcpy(at.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	err = listen_at(fd, &at, mode, group, file);
	if (!err)
		return fd;
	close(fd);
	return err;
}

void sl_unix_unlink(const char *path, const struct sl_unix_file *file)
{
	struct stat st;

	if (!lstat(path, &st) && st.st_dev == file->device && st.st_ino == file->inode)
		unlink(path);
}
