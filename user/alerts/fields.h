/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A record of the event stream (docs/events.md) as the rules of alerts see it: its time,
 * its weight, and its fields as texts. What is in a record is not ours: every text is
 * bounded here, and nothing is taken for granted about its bytes but that it is UTF-8.
 */
#ifndef SLUICE_ALERTS_FIELDS_H
#define SLUICE_ALERTS_FIELDS_H

#include <jansson.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

/* name, the object it stands in (NULL: the record itself), its key, what it is */
#define SL_ALERT_FIELDS(X) \
	X(EVENT, "event", NULL, "event", TEXT) \
	X(VERDICT, "verdict", NULL, "verdict", TEXT) \
	X(REASON, "reason", NULL, "reason", TEXT) \
	X(POLICY, "policy", NULL, "policy", TEXT) \
	X(RULE, "rule", NULL, "rule", TEXT) \
	X(TARGET, "target", NULL, "target", TARGET) \
	X(TARGET_KIND, "target.kind", "target", "kind", TEXT) \
	X(TARGET_NAME, "target.name", "target", "name", TEXT) \
	X(HOOK, "hook", NULL, "hook", TEXT) \
	X(DIRECTION, "direction", NULL, "direction", TEXT) \
	X(FAMILY, "family", NULL, "family", TEXT) \
	X(PROTOCOL, "protocol", NULL, "protocol", TEXT) \
	X(SOURCE_ADDRESS, "source.address", "source", "address", ADDRESS) \
	X(SOURCE_PORT, "source.port", "source", "port", NUMBER) \
	X(DESTINATION, "destination", NULL, "destination", DESTINATION) \
	X(DESTINATION_ADDRESS, "destination.address", "destination", "address", ADDRESS) \
	X(DESTINATION_PORT, "destination.port", "destination", "port", NUMBER) \
	X(DESTINATION_NAME, "destination.name", "destination", "name", TEXT) \
	X(QUESTION_NAME, "question.name", "question", "name", TEXT) \
	X(QUESTION_TYPE, "question.type", "question", "type", TEXT) \
	X(LINK_SOURCE, "link.source", "link", "source", TEXT) \
	X(PROCESS_PID, "process.pid", "process", "pid", NUMBER) \
	X(PROCESS_UID, "process.uid", "process", "uid", NUMBER) \
	X(PROCESS_COMM, "process.comm", "process", "comm", TEXT) \
	X(CHANGE, "change", NULL, "change", TEXT) \
	X(WHY, "why", NULL, "why", TEXT)

enum sl_alert_field {
#define FIELD(id, name, parent, key, kind) SL_FIELD_##id,
	SL_ALERT_FIELDS(FIELD)
#undef FIELD
	SL_FIELD_N,
};

enum sl_field_kind {
	SL_FIELD_IS_TEXT,
	SL_FIELD_IS_NUMBER,
	SL_FIELD_IS_ADDRESS,
	SL_FIELD_IS_TARGET,		/* kind:name */
	SL_FIELD_IS_DESTINATION,	/* the name, else the address */
};

/* Of one text that is taken from a record; longer ones are cut between characters. */
#define SL_FIELD_TEXT 512

/* A sample is a record again, with the fields above and what they mean alone. */
struct sl_sample {
	unsigned refs;
	char text[];		/* JSON, ASCII, one line */
};

struct sl_alert_record {
	json_t *json;		/* owned */
	__s64 time_ns;		/* Unix time */
	__u64 count;		/* decisions; 1 where the record has none */
	/* Of the stream: `lost` stands for the numbers first to seq, others for their own. */
	bool has_seq, is_lost;
	__u64 first, seq;
	struct sl_sample *sample; /* owned; made when first asked for */
};

const char *sl_field_name(enum sl_alert_field field);
enum sl_field_kind sl_field_kind(enum sl_alert_field field);
/* Its number or -1. */
int sl_field_find(const char *name, size_t len);
/* All names, NULL-terminated. */
extern const char *const sl_field_names[];

/*
 * Takes the record over. NULL, or why it is none (static); the reference is gone then
 * too. Free with sl_alert_record_free.
 */
const char *sl_alert_record_read(json_t *json, struct sl_alert_record *out);
void sl_alert_record_free(struct sl_alert_record *record);

/* The record that stands for records that are missing in a stream. 0 or -ENOMEM. */
int sl_alert_record_gap(__s64 time_ns, __u64 missing, struct sl_alert_record *out);

/* The text of a field, or NULL where the record has none. Returns buf or borrowed text
 * without NULs. */
const char *sl_field_get(const struct sl_alert_record *record, enum sl_alert_field field,
			 char buf[SL_FIELD_TEXT]);

/* bytes.out, bytes.in, their sum: false if the record has none. */
enum sl_amount { SL_AMOUNT_OUT, SL_AMOUNT_IN, SL_AMOUNT_BOTH };
bool sl_amount_get(const struct sl_alert_record *record, enum sl_amount amount, __u64 *out);

/* A new reference to the record's sample, NULL when out of memory. */
struct sl_sample *sl_sample_get(struct sl_alert_record *record);
void sl_sample_put(struct sl_sample *sample);

/* RFC 3339 with a zone of Z or +-hh:mm; false if it is not, or before 1970. */
bool sl_time_parse(const char *text, __s64 *ns);
#define SL_TIME_TEXT 40
const char *sl_time_format(__s64 ns, char buf[SL_TIME_TEXT]);

#endif
