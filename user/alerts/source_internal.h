/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* One kind of source for the others' calls; nothing else includes it. */
#ifndef SLUICE_ALERTS_SOURCE_INTERNAL_H
#define SLUICE_ALERTS_SOURCE_INTERNAL_H

#include <sys/types.h>

#include "source.h"

#define SL_READ_BYTES 65536	/* at once, and per turn */

struct sl_source {
	int (*read)(struct sl_source *source, struct sl_stream *stream, __s64 now_ms);
	void (*close)(struct sl_source *source);
	char *path;		/* owned, or NULL */
	int fd;			/* what is read, or -1 */
	int wait_fd;		/* what tells that there may be something, or -1 */
	struct sl_source_stats stats;

	/* A file: */
	int old_fd;		/* the one before, while its writer may still have it */
	int watch, old_watch;	/* of inotify, for each of the two; -1: none */
	__s64 old_until_ms;
	off_t offset;

	/* A socket: */
	__s64 again_ms;		/* when to connect again */
	__s64 delay_ms;
};

/* One read into the stream: bytes, 0: none now or the end (*end), -errno. */
ssize_t sl_source_take(int fd, struct sl_stream *stream, bool *end);
/* A random number below n: for jitter. */
__s64 sl_source_jitter(__s64 n);

#endif
