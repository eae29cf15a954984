// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "alert_text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy/parser.h"
#include "policy/text.h"

static const char *state_word(const struct sl_alert *alert)
{
	return alert->state == SL_ALERT_FIRING ? "firing" : "resolved";
}

static void period_summary(const struct sl_alert *alert, char buf[SL_SUMMARY_TEXT])
{
	snprintf(buf, SL_SUMMARY_TEXT, "%llu connections at intervals of %llu.%03llu s, within "
		 "%u %%", (unsigned long long)alert->rule->threshold,
		 (unsigned long long)alert->value / 1000, (unsigned long long)alert->value % 1000,
		 alert->rule->jitter);
}

const char *sl_alert_summary(const struct sl_alert *alert, char buf[SL_SUMMARY_TEXT])
{
	static const struct {
		const char *one, *rest;	/* an s between them where there are more */
	} what[] = {
		[SL_ALERT_BLOCKED] = {"attempt", " blocked"},
		[SL_ALERT_SCAN] = {"distinct destination", ""},
		[SL_ALERT_FIRST_SEEN] = {"destination", " never seen before"},
		[SL_ALERT_BYTES] = {"byte", ""}, [SL_ALERT_DNS] = {"DNS question", " refused"},
		[SL_ALERT_LOSS] = {"record", " lost"},
		[SL_ALERT_DETACH] = {"change", " by others to what is attached"},
		[SL_ALERT_EXPIRED] = {"exception", " expired"}, [SL_ALERT_CUSTOM] = {"record", ""},
	};
	const struct sl_alert_rule *rule = alert->rule;
	char window[24] = "";

	if (rule->summary) {
		snprintf(buf, SL_SUMMARY_TEXT, "%s", rule->summary);
	} else if (rule->measure == SL_MEASURE_BEACON) {
		period_summary(alert, buf);
	} else if (rule->measure == SL_MEASURE_NEW) {
		snprintf(buf, SL_SUMMARY_TEXT, "%llu %s%s%s", (unsigned long long)alert->value,
			 what[rule->type].one, SL_S(alert->value), what[rule->type].rest);
	} else {
		sl_duration_format(rule->window_s, window, sizeof(window));
		snprintf(buf, SL_SUMMARY_TEXT, "%llu %s%s%s in %s (alert at %llu)",
			 (unsigned long long)alert->value, what[rule->type].one,
			 SL_S(alert->value), what[rule->type].rest, window,
			 (unsigned long long)rule->threshold);
	}
	return buf;
}

static json_t *group_json(const struct sl_alert *alert)
{
	json_t *group = json_object();

	for (size_t i = 0; i < alert->rule->n_group; i++)
		json_object_set_new(group, sl_field_name(alert->rule->group[i]),
				    alert->group[i] ? json_string(alert->group[i]) : json_null());
	return group;
}

static json_t *samples_json(const struct sl_alert *alert)
{
	json_t *samples = json_array();

	for (size_t i = 0; i < alert->n_samples; i++)
		json_array_append_new(samples, json_loads(alert->samples[i], 0, NULL));
	return samples;
}

static json_t *number(__u64 value)
{
	return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

static json_t *time_json(__s64 ns)
{
	char buf[SL_TIME_TEXT];

	return json_string(sl_time_format(ns, buf));
}

json_t *sl_alert_json(const struct sl_alert *alert)
{
	const struct sl_alert_rule *rule = alert->rule;
	bool ended = alert->state == SL_ALERT_RESOLVED;
	char summary[SL_SUMMARY_TEXT];

	return json_pack("{s:o, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o,"
			 " s:s, s:o}",
			 "time", time_json(alert->time_ns), "alert", rule->name,
			 "type", sl_alert_type_word(rule->type),
			 "severity", sl_severity_word(rule->severity), "state", state_word(alert),
			 "fingerprint", alert->fingerprint, "start", time_json(alert->start_ns),
			 "end", ended ? time_json(alert->end_ns) : json_null(),
			 "count", number(alert->count), "value", number(alert->value),
			 "threshold", number(rule->threshold), "told", number(alert->told),
			 "evicted", alert->evicted, "group", group_json(alert),
			 "summary", sl_alert_summary(alert, summary),
			 "samples", samples_json(alert));
}

/* jansson leaves DEL as it is. It can only stand in a string. */
char *sl_json_ascii(const json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII), *out, *to;
	size_t n = 0;

	for (const char *at = text; at && *at; at++)
		n += *at == 0x7f;
	if (!n)
		return text;
	out = to = malloc(strlen(text) + 5 * n + 1);
	for (const char *at = text; out && *at; at++) {
		if (*at == 0x7f)
			to = stpcpy(to, "\\u007f");
		else
			*to++ = *at;
	}
	if (out)
		*to = 0;
	free(text);
	return out;
}

char *sl_alert_line(const struct sl_alert *alert)
{
	json_t *json = sl_alert_json(alert);
	char *line = json ? sl_json_ascii(json) : NULL;

	json_decref(json);
	return line;
}

void sl_alert_print(const struct sl_alert *alert, FILE *out)
{
	char summary[SL_SUMMARY_TEXT], time[SL_TIME_TEXT];

	fprintf(out, "%s  %-8s  %-8s  %s: ", sl_time_format(alert->time_ns, time),
		state_word(alert), sl_severity_word(alert->rule->severity), alert->rule->name);
	sl_put_text(sl_alert_summary(alert, summary), out);
	for (size_t i = 0; i < alert->rule->n_group; i++) {
		fprintf(out, "  %s=", sl_field_name(alert->rule->group[i]));
		sl_put_text(alert->group[i] ? alert->group[i] : "-", out);
	}
	fprintf(out, "  [%s]%s\n", alert->fingerprint,
		alert->evicted ? "  (no room to go on)" : "");
}
