/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Audit sinks: where records go. docs/sinks.md is the contract of what a reader of one
 * gets; this is the host's side (`sluice watch`, the daemon).
 *
 * The hub numbers every record once (`seq`, from 0) and hands it to each sink's own
 * bounded queue; a thread of the sink writes. Nothing here waits for a disk, a socket or a
 * reader: what a full queue cannot take is counted, and the sink's stream says so where
 * it is missing, with a record `event: lost` that stands for the numbers `first` to `seq`.
 *
 * Threads: one caller at a time for each hub. Capabilities are a thread's, and a thread
 * gets its maker's: drop them before sl_sinks_set. A child that is to live longer than
 * an exec (the metrics server) is forked before the first sl_sinks_set.
 */
#ifndef SLUICE_SINKS_SINK_H
#define SLUICE_SINKS_SINK_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "audit/record.h"
#include "policy/diag.h"

struct sl_yaml;

/* ---- configuration (config.c) ---- */

enum sl_sink_kind {
	SL_SINK_FILE,		/* JSON Lines */
	SL_SINK_STDOUT,		/* JSON Lines */
	SL_SINK_JOURNALD,	/* its native protocol, with fields */
	SL_SINK_SYSLOG,		/* RFC 5424 */
	SL_SINK_UNIX,		/* JSON Lines to any number of readers */
};

enum sl_sink_format {
	SL_SINK_NATIVE,		/* docs/events.md */
	SL_SINK_OCSF,		/* OCSF 1.3: network activity (4001), DNS activity (4003) */
};

enum sl_sink_transport { SL_SYSLOG_UNIX, SL_SYSLOG_UDP, SL_SYSLOG_TCP };

struct sl_sink_config {
	enum sl_sink_kind kind;
	enum sl_sink_format format;
	enum sl_sink_transport transport;	/* syslog */
	char *spec;		/* as it is shown: `file:/var/log/sluice/audit.jsonl`; owned */
	char *path;		/* file, unix socket, journald's or syslog's socket; owned */
	char *host;		/* syslog over UDP and TCP: a numeric address; owned */
	unsigned port;
	unsigned queue;		/* records that may wait, of each reader; default 8192 */
	__u64 rotate_bytes;	/* 0: never by size */
	unsigned rotate_s;	/* 0: never by time; else at multiples of it in Unix time */
	unsigned keep;		/* rotated files, PATH.1 the youngest; default 7 */
	mode_t mode;		/* of a file (0640) or a socket (0660) */
	gid_t group;		/* of a socket; (gid_t)-1: left as it is made */
	unsigned consumers;	/* of a unix socket, at once; default 64 */
	unsigned facility;	/* of syslog: 0 to 23; default 3, daemon */
};

/*
 * One sink as an option says it: KIND[:ADDRESS][,KEY=VALUE]...
 *
 *   file:PATH[,rotate=10M][,every=1d][,keep=7][,mode=0640]
 *   stdout
 *   journald[:SOCKET]
 *   syslog[:SOCKET | :udp:ADDRESS:PORT | :tcp:ADDRESS:PORT][,facility=local0]
 *   unix:PATH[,mode=0660][,group=sluice][,consumers=64]
 *
 * and for all of them format=json|ocsf, queue=RECORDS. pos (may be NULL) is where it
 * stands. 0, or -EINVAL or -ENOMEM with the reason in diag and nothing in out.
 */
int sl_sink_parse(const char *spec, const struct sl_pos *pos, struct sl_sink_config *out,
		  struct sl_diag *diag);

/*
 * The same in YAML, the stream standing at the first event of the value, afterwards at
 * its last (as sl_yaml_skip): the text above, or a mapping of one kind to its address and the keys,
 * `{file: /var/log/sluice/audit.jsonl, rotate: 10M, keep: 5}`, `{journald: , format: ocsf}`.
 */
int sl_sink_parse_yaml(struct sl_yaml *yaml, struct sl_sink_config *out, struct sl_diag *diag);

/* A list of them, `- file: ...` each. *out is owned by the caller, also each element. */
int sl_sinks_parse_yaml(struct sl_yaml *yaml, struct sl_sink_config **out, size_t *n,
			struct sl_diag *diag);
void sl_sink_config_free(struct sl_sink_config *config);

/* ---- the hub (hub.c) ---- */

struct sl_sinks;

/* Unix time in ns. For tests; NULL in sl_sinks_new is the clock. */
typedef __s64 (*sl_sink_clock)(void *context);

/* NULL: no memory. Without sinks it takes records and does nothing with them. */
struct sl_sinks *sl_sinks_new(sl_sink_clock clock, void *context);

/*
 * From here on these are the sinks: one that is there with the same configuration goes
 * on, what it has queued with it; others are opened; what is no more is flushed (for at
 * most 300 ms) and closed. 0, or -ENOMEM, -EAGAIN (no thread) and the ones before stay.
 * A sink that cannot write now (no directory, no reader of a datagram socket, ...) is a
 * warning in diag, and is tried again for ever: audit never stops enforcement. strict: an
 * error there, for who is being started by hand; the return value is the same.
 * The configurations are copied.
 */
int sl_sinks_set(struct sl_sinks *sinks, const struct sl_sink_config *configs, size_t n, bool strict,
		 struct sl_diag *diag);

/* How grave, as syslog counts (RFC 5424, table 2). */
enum sl_sink_level { SL_LEVEL_ERROR = 3, SL_LEVEL_WARNING, SL_LEVEL_NOTICE, SL_LEVEL_INFO };

/* Never waits. The event as sl_event_json makes it, with the hub's number. */
void sl_sinks_put_event(struct sl_sinks *sinks, const struct sl_audit_names *names,
			const struct sl_event *event, __u64 count);

/*
 * Any other record: an object with `time` and `event` (sl_sinks_time); `seq` is
 * set here. Takes the reference. One that is no object, or has more than 64 KiB as text,
 * is not written: its number is missing and told as lost.
 */
void sl_sinks_put(struct sl_sinks *sinks, json_t *record, enum sl_sink_level level);

/* Now, for `time`: RFC 3339, UTC, nanoseconds. Returns buf. */
const char *sl_sinks_time(const struct sl_sinks *sinks, char buf[40]);

/* Files are opened again, after logrotate renamed them (SIGUSR1). Never waits. */
void sl_sinks_reopen(struct sl_sinks *sinks);

/* The number that the next record gets. */
__u64 sl_sinks_next(const struct sl_sinks *sinks);

struct sl_sink_stats {
	char spec[128];		/* cut */
	const char *kind;	/* "file", "stdout", "journald", "syslog", "unix" */
	__u64 written, bytes;	/* records, and bytes of them; of a unix sink by all readers */
	__u64 lost;		/* records that it (or a reader) did not get */
	__u64 errors;		/* attempts that failed */
	__u64 queued;		/* records that wait now */
	__u64 rotations;
	unsigned consumers;	/* readers of a unix socket now */
	char error[160];	/* the last one's text; "": none yet */
	bool failing;		/* it cannot write now */
	__s64 since_s;		/* Unix time: since when it fails, or works */
};

size_t sl_sinks_count(const struct sl_sinks *sinks);
void sl_sinks_stats(const struct sl_sinks *sinks, size_t which, struct sl_sink_stats *out);

/* The last record (`event: end`), then flushes for at most wait_ms in all. What a stuck
 * sink still holds is lost; how many records is returned. NULL is fine. */
__u64 sl_sinks_close(struct sl_sinks *sinks, unsigned wait_ms);

#endif
