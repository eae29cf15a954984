/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the readers of the rules' file share; nothing else includes it. */
#ifndef SLUICE_ALERTS_CONFIG_INTERNAL_H
#define SLUICE_ALERTS_CONFIG_INTERNAL_H

#include "keys.h"
#include "policy/parser.h"
#include "policy/text.h"
#include "rules.h"

/* As sl_value_fn each: the value of key into the object. */

/* A duration from least to most seconds; false if it is none, reported. */
bool sl_duration_read(struct sl_parser *p, const struct sl_key *key, __s64 least, __s64 most,
		      __s64 *out);
/* A number from least to most. */
bool sl_between_read(struct sl_parser *p, const struct sl_key *key, __u64 least, __u64 most,
		     __u64 *out);
bool sl_severity_read(struct sl_parser *p, const struct sl_key *key,
		      enum sl_severity_level *out);
bool sl_path_read(struct sl_parser *p, const struct sl_key *key, char **out);

/* config_rule.c, config_sink.c: an element of the list; object: struct sl_alerts_config. */
void sl_alert_rule_read(struct sl_parser *p, const struct sl_key *key, void *object);
void sl_sink_read(struct sl_parser *p, const struct sl_key *key, void *object);
void sl_alert_rule_free(struct sl_alert_rule *rule);
void sl_alert_sink_config_free(struct sl_alert_sink_config *sink);

/* config_match.c: `match` or `not`. */
struct sl_match_list {
	struct sl_alert_match *matches;	/* owned */
	size_t n;
};

void sl_match_list_read(struct sl_parser *p, const struct sl_key *key,
			struct sl_match_list *list);
void sl_match_list_free(struct sl_alert_match *matches, size_t n);
/* Appends a field with a NULL-terminated list of words, unless the field is there. */
int sl_match_list_default(struct sl_match_list *list, enum sl_alert_field field,
			  const char *const *words);

#endif
