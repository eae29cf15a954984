/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The YAML that a policy may be written in, as a stream of events: one document,
 * no anchors, aliases or tags, bounded depth. A thin layer over libfyaml's event
 * parser (its document tree would cost kilobytes a rule), and over yaml_plain.h, which reads
 * what is simple.
 */
#ifndef SLUICE_POLICY_YAML_H
#define SLUICE_POLICY_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "diag.h"
#include "yaml_plain.h"

struct fy_parser;
struct fy_diag;
struct fy_event;

#define SL_YAML_DEPTH_MAX 16
#define SL_YAML_STREAM_DEPTH_MAX 64	/* of what other programs wrote */

enum sl_yaml_type {
	SL_YAML_END,		/* of the document, or after an error */
	SL_YAML_SCALAR,
	SL_YAML_MAP, SL_YAML_MAP_END,
	SL_YAML_LIST, SL_YAML_LIST_END,
};

/* An event that is kept. scalar need not end in NUL and outlives the stream that replays it. */
struct sl_yaml_event {
	enum sl_yaml_type type;
	struct sl_pos pos;
	const char *scalar;
	size_t scalar_len;
	bool plain;
};

struct sl_yaml {
	/* The current event. scalar is borrowed until the next event and need
	 * not end in NUL; it holds no NUL. */
	enum sl_yaml_type type;
	struct sl_pos pos;
	const char *scalar;
	size_t scalar_len;
	bool plain;		/* not quoted, not a block scalar */
	/* 0, -EINVAL (reported) or -ENOMEM: why the stream ended early. */
	int error;

	/* private */
	struct sl_diag *diag;
	const char *text;
	size_t len;
	struct fy_parser *parser;
	struct fy_diag *parser_diag;
	struct fy_event *event;
	size_t line_start, scanned;
	unsigned line;
	unsigned depth, documents;
	bool many;			/* documents */
	const struct sl_yaml_event *kept; /* of a replay: the next one, and how many are left */
	size_t n_kept;
	struct sl_plain plain_text;	/* while it is on there is no parser */
};

/* Checks the text as a whole and starts the stream, before the first event.
 * text, file and diag must outlive it. On failure the stream is at its end and
 * error says why. */
void sl_yaml_open(struct sl_yaml *yaml, const char *text, size_t len, const char *file,
		  struct sl_diag *diag);
/* The same for any number of documents, whose values come one after another, nested deeper. */
void sl_yaml_open_stream(struct sl_yaml *yaml, const char *text, size_t len, const char *file,
			 struct sl_diag *diag);
/* A stream of events that were read before: n of them, each value complete. */
void sl_yaml_replay(struct sl_yaml *yaml, const struct sl_yaml_event *events, size_t n,
		    struct sl_diag *diag);
void sl_yaml_close(struct sl_yaml *yaml);

/* The next event. At the end it stays SL_YAML_END. */
void sl_yaml_next(struct sl_yaml *yaml);

/* From the first event of a value to its last. */
void sl_yaml_skip(struct sl_yaml *yaml);

/* Ends the stream with an error, which the caller has reported. */
void sl_yaml_stop(struct sl_yaml *yaml, int error);

/* `a mapping`, `the number 5`, ...: what the current event begins. */
const char *sl_yaml_describe(const struct sl_yaml *yaml, char *buf, size_t size);

/* True if the current event is a value that was left out, or null. */
bool sl_yaml_is_null(const struct sl_yaml *yaml);

/* yaml_check.c: stops the stream before its first event if the text holds what none may. */
void sl_yaml_check(struct sl_yaml *yaml);
/* yaml_error.c: reports what libfyaml refused, in our words. */
void sl_yaml_report(struct sl_yaml *yaml);
/* yaml_error.c: reports the alias that begins at offset: most likely a `*` that
 * wants quotes. */
void sl_yaml_report_alias(struct sl_yaml *yaml, size_t offset);
/* yaml.c: line and column of an offset into the text. */
struct sl_pos sl_yaml_locate(struct sl_yaml *yaml, size_t offset);

#endif
