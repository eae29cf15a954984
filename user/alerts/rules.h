/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The rules of alerts and where alerts go, as read from YAML. docs/alerts.md is the manual;
 * its tables and those of keys.c are the same (a unit test compares them).
 */
#ifndef SLUICE_ALERTS_RULES_H
#define SLUICE_ALERTS_RULES_H

#include "fields.h"
#include "policy/policy.h"

#define SL_ALERTS_RULES "/etc/sluice/alerts.yaml"
#define SL_ALERT_BUCKETS 64	/* steps of a window */
#define SL_ALERT_DISTINCT_MAX 1024
#define SL_ALERT_MOMENTS_MAX 64
#define SL_ALERT_GROUP_FIELDS 6
#define SL_ALERT_SECONDS_MAX (30ll * 86400)

enum sl_alert_type {
	SL_ALERT_BLOCKED, SL_ALERT_SCAN, SL_ALERT_FIRST_SEEN, SL_ALERT_BYTES, SL_ALERT_DNS,
	SL_ALERT_BEACON, SL_ALERT_LOSS, SL_ALERT_DETACH, SL_ALERT_EXPIRED, SL_ALERT_CUSTOM,
	SL_ALERT_TYPES,
};

/* What a rule measures over its window. */
enum sl_measure {
	SL_MEASURE_COUNT,	/* decisions */
	SL_MEASURE_AMOUNT,	/* bytes */
	SL_MEASURE_DISTINCT,	/* values of `of` */
	SL_MEASURE_NEW,		/* values of `of` that were never seen */
	SL_MEASURE_BEACON,	/* regular intervals */
};

enum sl_severity_level { SL_SEVERITY_INFO, SL_SEVERITY_WARNING, SL_SEVERITY_CRITICAL };

/* One value of a field's match. */
struct sl_alert_value {
	enum { SL_VALUE_NULL, SL_VALUE_TEXT, SL_VALUE_RANGE, SL_VALUE_PREFIX } kind;
	char *text;		/* owned; TEXT: * stands for any run */
	__u64 low, high;	/* RANGE */
	struct sl_cidr prefix;	/* PREFIX */
};

/* A field and its values: one of them. */
struct sl_alert_match {
	enum sl_alert_field field;
	struct sl_alert_value *values;	/* owned */
	size_t n;
};

struct sl_alert_rule {
	char *name;			/* owned */
	enum sl_alert_type type;
	enum sl_measure measure;
	enum sl_amount amount;		/* AMOUNT */
	enum sl_severity_level severity;
	struct sl_alert_match *match, *not;	/* owned; all of match, none of not */
	size_t n_match, n_not;
	enum sl_alert_field group[SL_ALERT_GROUP_FIELDS], of[SL_ALERT_GROUP_FIELDS];
	size_t n_group, n_of;
	__u64 threshold;		/* count, or over (bytes) */
	__s64 window_s, for_s, repeat_s;
	__s64 period_min_s, period_max_s, merge_s;	/* BEACON */
	unsigned jitter;		/* BEACON: percent */
	__s64 learn_s;			/* NEW; 0: nothing is learned in silence */
	char *summary;			/* owned, or NULL */
	struct sl_pos pos;
};

enum sl_sink_kind { SL_SINK_ALERTMANAGER, SL_SINK_WEBHOOK, SL_SINK_EXEC, SL_SINK_LOG };

struct sl_alert_sink_config {
	enum sl_sink_kind kind;
	enum sl_severity_level severity;	/* the least that it takes */
	char *url, *ca, *token, *secret;	/* owned, or NULL; the last three: paths */
	char *generator;			/* owned, or NULL */
	struct sl_alert_label {
		char *name, *value;		/* owned */
	} *labels;
	size_t n_labels;
	char **command;				/* owned, n_command + 1 with the NULL */
	size_t n_command;
	char *file;				/* owned; LOG: `-` is standard output */
	__s64 timeout_s, resend_s;
	__u64 queue, parallel;
	struct sl_pos pos;
};

struct sl_alerts_config {
	struct sl_alert_rule *rules;	/* owned */
	size_t n_rules;
	struct sl_alert_sink_config *sinks;	/* owned */
	size_t n_sinks;
	__u64 groups;			/* the most that are kept */
	char *memory;			/* owned path, or NULL */
	__u64 memory_entries;
	__s64 forget_s;
};

/*
 * Reads a text; every error is in diag. 0, -EINVAL or -ENOMEM; *out is untouched on failure,
 * else to be freed with sl_alerts_config_free. The positions borrow `file`.
 */
int sl_alerts_config_parse(const char *text, size_t len, const char *file,
			   struct sl_alerts_config *out, struct sl_diag *diag);
/* The same of a file; - is standard input. */
int sl_alerts_config_read(const char *path, struct sl_alerts_config *out, struct sl_diag *diag);
void sl_alerts_config_free(struct sl_alerts_config *config);

const char *sl_alert_type_word(enum sl_alert_type type);
const char *sl_severity_word(enum sl_severity_level severity);

/* Is the record one that the rule is about? */
bool sl_alert_rule_matches(const struct sl_alert_rule *rule,
			   const struct sl_alert_record *record);

#endif
