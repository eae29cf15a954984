/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Where records come from while they are written: a file that is followed across rotation,
 * a unix socket that is connected to again, or standard input.
 */
#ifndef SLUICE_ALERTS_SOURCE_H
#define SLUICE_ALERTS_SOURCE_H

#include "stream.h"

struct sl_source;

/* What a source has been through; text of the last trouble, or empty. */
struct sl_source_stats {
	__u64 rotations, truncations, connections;
	char trouble[256];
};

/* from_start: the file is read from its beginning, not from its end. 0 or -errno. */
int sl_source_follow(const char *path, bool from_start, struct sl_source **out);
int sl_source_socket(const char *path, struct sl_source **out);
int sl_source_stdin(struct sl_source **out);
void sl_source_free(struct sl_source *source);

/* A descriptor that is readable when there may be something, -1: there is none now; look
 * again at the next tick. */
int sl_source_fd(const struct sl_source *source);

/* Reads what there is, a bounded amount, into the stream. 1: there may be more at once; 0: no
 * more now; -EPIPE: the end; -errno. */
int sl_source_read(struct sl_source *source, struct sl_stream *stream, __s64 now_ms);
const struct sl_source_stats *sl_source_stats(const struct sl_source *source);

#endif
