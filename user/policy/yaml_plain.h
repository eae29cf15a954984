/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The YAML that most policies are written in, read without libfyaml, which takes a microsecond
 * for a rule. Block mappings and lists, and texts and flow collections that end in their line:
 * of these its events are libfyaml's, byte for byte and place for place
 * (tests/unit/test_yaml.c). Whatever else it meets it leaves, that line untouched, to libfyaml.
 */
#ifndef SLUICE_POLICY_YAML_PLAIN_H
#define SLUICE_POLICY_YAML_PLAIN_H

#include <stdbool.h>
#include <stddef.h>

#include "diag.h"

struct sl_yaml;

#define SL_PLAIN_DEPTH 15	/* below SL_YAML_DEPTH_MAX: who goes deeper is told so elsewhere */

enum sl_plain_mode {
	SL_PLAIN_LINE,		/* before a line */
	SL_PLAIN_KEY,
	SL_PLAIN_VALUE,		/* behind "key:" */
	SL_PLAIN_FLOW,		/* within [] or {} */
};

struct sl_plain_level {
	unsigned indent;
	bool list, flow;
};

struct sl_plain {
	bool on;
	enum sl_plain_mode mode;
	const char *text, *end;
	const char *at;		/* unread */
	const char *line;	/* where the line of at begins */
	unsigned number;	/* of it */
	bool begun;		/* there was an event */
	bool first;		/* in the flow collection: nothing yet */
	struct sl_plain_level level[SL_PLAIN_DEPTH];
	unsigned depth;
	size_t n_events;	/* that were given out */
};

/* Begins with the text of yaml, which has passed its checks. */
void sl_plain_open(struct sl_yaml *yaml);
/* The next event; false if libfyaml must go on: what was given out is the same so far. */
bool sl_plain_next(struct sl_yaml *yaml);

/* A mapping of one key with a text, which ends with its line. */
struct sl_plain_pair {
	const char *key, *text;
	size_t key_len, text_len;
	struct sl_pos text_pos;
	const char *next_line;
};

/* Is the mapping whose beginning is the current event one? Nothing is read. */
bool sl_plain_peek_pair(const struct sl_yaml *yaml, struct sl_plain_pair *pair);
/* Reads it: its end is then the current event. */
void sl_plain_take_pair(struct sl_yaml *yaml, const struct sl_plain_pair *pair);

#endif
