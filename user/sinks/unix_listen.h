/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A listening unix stream socket. */
#ifndef SLUICE_SINKS_UNIX_LISTEN_H
#define SLUICE_SINKS_UNIX_LISTEN_H

#include <sys/types.h>

/* The socket's file, to remove no other's. */
struct sl_unix_file {
	dev_t device;
	ino_t inode;
};

/*
 * A non-blocking listener at path (which fits sun_path), with these permissions; group
 * (gid_t)-1: as it is made. A socket that a dead server left is replaced; -EADDRINUSE:
 * somebody listens there, or it is another file. The descriptor, or -errno.
 */
int sl_unix_listen(const char *path, mode_t mode, gid_t group, struct sl_unix_file *file);

/* Takes the file away, if it is still that one. */
void sl_unix_unlink(const char *path, const struct sl_unix_file *file);

#endif
