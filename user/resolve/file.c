// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Reading whole files that decide what is allowed. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

#define READ_CHUNK (64u << 10)

/* Reads to the end, or one byte past max. 0 or -errno. */
static int read_all(int fd, size_t max, size_t hint, char **text, size_t *len)
{
	size_t cap = (hint < max ? hint : max) + READ_CHUNK, n = 0;
	char *buf = malloc(cap + 1), *grown;
	ssize_t got;

	if (!buf)
		return -ENOMEM;
	for (;;) {
		if (n == cap) {
			cap *= 2;
			grown = realloc(buf, cap + 1);
			if (!grown) {
				free(buf);
				return -ENOMEM;
			}
			buf = grown;
		}
		got = read(fd, buf + n, cap - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			int err = -errno;

			free(buf);
			return err;
		}
		n += got;
		if (!got || n > max)
			break;
	}
	buf[n] = '\0';
	*text = buf;
	*len = n;
	return 0;
}

/* Judges the file that is open, not the path: the path may lead elsewhere by now. */
static int check_file(const char *path, const struct stat *st, size_t max, const struct sl_pos *pos,
		      struct sl_diag *diag)
{
	if (!S_ISREG(st->st_mode))
		return sl_error(diag, pos, "%s is not a regular file%s", path,
				S_ISDIR(st->st_mode) ? " but a directory"
				: S_ISFIFO(st->st_mode)
					? " but a pipe: write - to read standard input"
					: "");
	if (st->st_mode & S_IWOTH)
		return sl_error(diag, pos, "%s may be written by anyone (mode %04o): chmod o-w %s",
				path, st->st_mode & 07777, path);
	if ((__u64)st->st_size > max)
		return sl_error(diag, pos, "%s is larger than %zu bytes", path, max);
	return 0;
}

/* Half of a policy is another policy: a file that is being written is refused. */
static bool changed(int fd, const struct stat *before, size_t len)
{
	struct stat now;

	if (fstat(fd, &now))
		return true;
	return now.st_size != before->st_size || now.st_mtim.tv_sec != before->st_mtim.tv_sec ||
	       now.st_mtim.tv_nsec != before->st_mtim.tv_nsec ||
	       (before->st_size && (size_t)before->st_size != len);
}

static int read_fd(int fd, const char *name, bool is_file, size_t max, const struct sl_pos *pos,
		   char **text, size_t *len, struct stat *st, struct sl_diag *diag)
{
	char *got = NULL;
	size_t n = 0;
	int err;

	err = is_file ? check_file(name, st, max, pos, diag) : 0;
	if (err)
		return err;
	err = read_all(fd, max, st->st_size, &got, &n);
	if (err == -ENOMEM)
		return err;
	if (err)
		return sl_error(diag, pos, "cannot read %s: %s", name, strerror(-err));
	if (n > max)
		err = sl_error(diag, pos, "%s is larger than %zu bytes", name, max);
	else if (is_file && changed(fd, st, n))
		err = sl_error(diag, pos, "%s changed while it was read", name);
	if (err) {
		free(got);
		return err;
	}
	*text = got;
	*len = n;
	return 0;
}

/* With what to do about it. errno says why it cannot be opened. */
static int unreadable(const char *path, const struct sl_pos *pos, struct sl_diag *diag)
{
	const char *slash = strrchr(path, '/'), *why = strerror(errno);

	if (errno == EACCES)
		return sl_error(diag, pos, "cannot read %s: %s: `namei -l %s` shows which step of it "
				"this user may not", path, why, path);
	if (errno != ENOENT)
		return sl_error(diag, pos, "cannot read %s: %s", path, why);
	return sl_error(diag, pos, "cannot read %s: %s: `ls%s%.*s` shows what is there", path, why,
			slash ? " " : "", slash == path ? 1 : slash ? (int)(slash - path) : 0, path);
}

int sl_file_read_stat(const char *path, size_t max, const struct sl_pos *pos, char **text,
		      size_t *len, struct stat *st, struct sl_diag *diag)
{
	int fd, err;

	memset(st, 0, sizeof(*st));
	if (!strcmp(path, "-"))
		return read_fd(STDIN_FILENO, "standard input", false, max, pos, text, len, st,
			       diag);
	/* O_NONBLOCK: opening a FIFO must not wait for a writer. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, st)) {
		err = unreadable(path, pos, diag);
		if (fd >= 0)
			close(fd);
		return err;
	}
	err = read_fd(fd, path, true, max, pos, text, len, st, diag);
	close(fd);
	return err;
}

int sl_file_read(const char *path, size_t max, const struct sl_pos *pos, char **text, size_t *len,
		 struct sl_diag *diag)
{
	struct stat st;

	return sl_file_read_stat(path, max, pos, text, len, &st, diag);
}

int sl_text_file_read(const char *path, size_t max, char **out)
{
	struct stat st;
	char *text = NULL;
	size_t len = 0;
	int fd, err = 0;

	/* The file may be the target's: it may be a FIFO or endless. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = -EINVAL;
	if (!err)
		err = read_all(fd, max, (size_t)st.st_size, &text, &len);
	close(fd);
	if (err)
		return err;
	/* A last line that is cut could say something else. */
	if (len > max) {
		free(text);
		return -EFBIG;
	}
	*out = text;
	return 0;
}
