/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the files of this folder share. sink.h is what others see. */
#ifndef SLUICE_SINKS_INTERNAL_H
#define SLUICE_SINKS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "sink.h"

#define SL_LINE_MAX 65536	/* bytes of one record */
#define SL_BATCH 64		/* records that a sink is given at once */

/* ---- lines: a record as bytes, shared by the queues that hold it (queue.c) ---- */

struct sl_line {
	atomic_uint users;
	bool gap;		/* stands for lost records; without bytes until it is rendered */
	enum sl_sink_level level;
	__u64 first, seq;	/* first: of a gap, else equal to seq */
	size_t len;
	char bytes[];		/* with the newline, where the shape has one */
};

struct sl_line *sl_line_new(const char *bytes, size_t len, __u64 seq, enum sl_sink_level level);
struct sl_line *sl_line_gap(__u64 first, __u64 last);
struct sl_line *sl_line_hold(struct sl_line *line);
void sl_line_drop(struct sl_line *line);	/* NULL is fine */

/*
 * Bounded, first in first out. What does not fit is a gap, which takes its place in
 * front of the next line that does. After an overflow lines are taken again when a
 * quarter is free: a reader that is slow throughout gets runs of records, not one
 * record between two gaps.
 */
struct sl_queue {
	struct sl_line **lines;	/* owned; each holds its line */
	unsigned cap, head, n;
	bool losing;
	__u64 first, last;	/* of the gap, while losing */
};

int sl_queue_init(struct sl_queue *queue, unsigned cap);
void sl_queue_free(struct sl_queue *queue);
/* Numbers of records that are lost with this line: 0, or those that it stands for. */
__u64 sl_queue_push(struct sl_queue *queue, struct sl_line *line);
struct sl_line **sl_queue_at(struct sl_queue *queue, unsigned i);
void sl_queue_pop(struct sl_queue *queue, unsigned n);
/* The gap at the end becomes a line, if the queue is empty: its reader is back. */
void sl_queue_settle(struct sl_queue *queue);
/* Records in it, or standing behind its gaps. */
__u64 sl_queue_records(const struct sl_queue *queue);

/* ---- records as bytes (render.c, journal_fields.c, ocsf.c) ---- */

enum sl_shape {
	SL_SHAPE_LINE,		/* JSON and a newline */
	SL_SHAPE_JOURNAL,	/* fields of journald's native protocol */
	SL_SHAPE_SYSLOG,	/* RFC 5424 from the version on: `1 TIME HOST ...` */
	SL_SHAPES
};
#define SL_VARIANTS (SL_SHAPES * 2)	/* and the format */

unsigned sl_variant(enum sl_shape shape, enum sl_sink_format format);

/* NULL: no memory, or longer than SL_LINE_MAX. */
struct sl_line *sl_render(unsigned variant, json_t *record, __u64 seq, enum sl_sink_level level);

/* One line for a person. A string of the record's, owned by the caller. */
char *sl_record_message(const json_t *record);
/* sl_record_text(record, "destination", "address"): the text, or NULL. */
const char *sl_record_path(const json_t *record, ...) __attribute__((sentinel));
#define sl_record_text(record, ...) sl_record_path(record, __VA_ARGS__, (const char *)NULL)
json_t *sl_ocsf(json_t *record, enum sl_sink_level level);
/* Appends the fields to a stream. */
void sl_journal_fields(FILE *out, const json_t *record, const char *message,
		       enum sl_sink_level level);

/* ---- a sink: its queue, its thread (worker.c), its kind ---- */

struct sl_sink;

struct sl_sink_ops {
	const char *kind;
	enum sl_shape shape;
	/* Makes it ready to write: 0 or -errno. Tried again for ever. */
	int (*open)(struct sl_sink *sink);
	/* Delivers lines in order; *done says how many are, also on failure. -errno: try
	 * again later; sink->opened may be cleared, to be opened anew first. */
	int (*write)(struct sl_sink *sink, struct sl_line **lines, unsigned n, unsigned *done);
	/* At least once a second while it is open. NULL: nothing to do. */
	int (*tick)(struct sl_sink *sink);
	/* Waits for sink->wake, or what else the kind waits for. NULL: for wake alone. */
	void (*wait)(struct sl_sink *sink, int timeout_ms);
	/* Readers that have not got all yet. NULL: none. */
	bool (*busy)(struct sl_sink *sink);
	void (*close)(struct sl_sink *sink);	/* also when it was never open */
};

extern const struct sl_sink_ops sl_file_ops, sl_stdout_ops, sl_journald_ops, sl_syslog_ops,
	sl_unix_ops;

struct sl_clock {
	sl_sink_clock now;
	void *context;
};
__s64 sl_clock_ns(const struct sl_clock *clock);
__u64 sl_monotonic_ms(void);
/* RFC 3339 with nanoseconds, UTC. */
const char *sl_time_text(__s64 unix_ns, char buf[40]);

struct sl_sink {
	const struct sl_sink_ops *ops;
	struct sl_sink_config config;	/* owned */
	struct sl_clock clock;
	char stream[17];		/* of the hub */
	unsigned variant;
	pthread_t thread;
	atomic_uint users;		/* the hub and the thread */
	int wake;			/* an eventfd */

	pthread_mutex_t lock;		/* for all down to here: */
	struct sl_queue queue;
	struct sl_sink_stats stats;
	bool reopen, stopping, tried;
	__u64 deadline_ms;		/* of stopping, monotonic */

	/* the thread's own */
	bool opened;
	__u64 offset;			/* bytes of the first line that are out already */
	__u64 retry_ms, backoff_ms, tick_ms;
	void *own;			/* of the kind */
};

/* NULL with *err: -ENOMEM, -EAGAIN, -EMFILE. The configuration is copied. */
struct sl_sink *sl_sink_start(const struct sl_sink_config *config, const struct sl_clock *clock,
			      const char stream[17], int *err);
void sl_sink_put(struct sl_sink *sink, struct sl_line *line);
void sl_sink_wake(struct sl_sink *sink);
/* Waits (at most until then) for the first attempt to open: 0 or its text in buf. */
int sl_sink_first(struct sl_sink *sink, __u64 until_ms, char buf[160]);
void sl_sink_stop(struct sl_sink *sink, __u64 deadline_ms);
/* After sl_sink_stop: waits for the thread; the number of records that it did not write. */
__u64 sl_sink_join(struct sl_sink *sink);
/* For the kinds: an attempt failed. what may be NULL. */
void sl_sink_failed(struct sl_sink *sink, const char *what, int err);
void sl_sink_count(struct sl_sink *sink, const struct sl_line *line);

#endif
