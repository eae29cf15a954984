/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Bytes to records: lines, JSON, and the sequence numbers that prove that none is missing.
 * A line that is no record is counted and passed over; so is what is too long for one.
 */
#ifndef SLUICE_ALERTS_STREAM_H
#define SLUICE_ALERTS_STREAM_H

#include "fields.h"

#define SL_LINE_MAX 65536
#define SL_STREAMS_MAX 16	/* writers into one file that are told apart */

typedef void (*sl_record_fn)(void *context, struct sl_alert_record *record);

struct sl_stream_stats {
	__u64 lines, records, faulty, gaps, missing, repeated, ahead;
	char fault[256];	/* why the last faulty line was none */
	__u64 fault_line;
};

struct sl_stream;

/* live: a record that lies in the future by more than a minute gets the time at which it
 * was read. NULL when out of memory. */
struct sl_stream *sl_stream_new(bool live, sl_record_fn out, void *context);
void sl_stream_free(struct sl_stream *stream);

void sl_stream_bytes(struct sl_stream *stream, const char *bytes, size_t n);
/* What comes now does not continue the last line: its rest is taken for a line. */
void sl_stream_cut(struct sl_stream *stream);
/* All of a file; `-` is standard input. 0 or -errno. */
int sl_stream_file(struct sl_stream *stream, const char *path);
const struct sl_stream_stats *sl_stream_stats(const struct sl_stream *stream);

#endif
