// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "rewrite.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int fd, const char *text, size_t len)
{
	ssize_t n;

	while (len) {
		n = write(fd, text, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* The owner before the mode: chown clears set-id bits. */
static int fill(int fd, const struct stat *like, const char *text, size_t len)
{
	struct stat own;
	int err;

	if (fstat(fd, &own))
		return -errno;
	if ((own.st_uid != like->st_uid || own.st_gid != like->st_gid) &&
	    fchown(fd, like->st_uid, like->st_gid))
		return -errno;
	if (fchmod(fd, like->st_mode & 07777))
		return -errno;
	err = write_all(fd, text, len);
	if (err)
		return err;
	return fsync(fd) ? -errno : 0;
}

/* The rename itself must reach the disk. A directory that cannot be synced does
 * not undo it, so this has no error. */
static void sync_directory(char *path)
{
	int fd = open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	fsync(fd);
	close(fd);
}

static int replace(char *path, const char *text, size_t len)
{
	char *temporary = NULL;
	struct stat like;
	int fd, err;

	if (stat(path, &like))
		return -errno;
	if (asprintf(&temporary, "%s.XXXXXX", path) < 0)
		return -ENOMEM;
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		free(temporary);
		return err;
	}
	err = fill(fd, &like, text, len);
	close(fd);
	if (!err && rename(temporary, path))
		err = -errno;
	if (err)
		unlink(temporary);
	else
		sync_directory(path);
	free(temporary);
	return err;
}

int sl_file_replace(const char *path, const char *text, size_t len)
{
	char *real = realpath(path, NULL);
	int err;

	if (!real)
		return -errno;
	err = replace(real, text, len);
	free(real);
	return err;
}
