// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Alerts as an Alertmanager takes them: POST /api/v2/alerts (its openapi.yaml,
 * postableAlerts). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "alert_text.h"
#include "sink_internal.h"

/* Four times what lies between two tellings, as Prometheus does: a few may be lost. */
#define HOLD 4

static void label_name(const char *field, char *out, size_t size)
{
	snprintf(out, size, "%s", field);
	for (; *out; out++)
		if (*out == '.' || *out == '-')
			*out = '_';
}

/* What identifies the alert: the same when it fires and when it is over. */
static json_t *labels_of(const struct sl_sink *sink, json_t *alert)
{
	json_t *labels = json_object(), *value;
	const char *field;
	char name[64];

	for (size_t i = 0; i < sink->config->n_labels; i++)
		json_object_set_new(labels, sink->config->labels[i].name,
				    json_string(sink->config->labels[i].value));
	json_object_foreach(json_object_get(alert, "group"), field, value) {
		label_name(field, name, sizeof(name));
		if (json_is_string(value))
			json_object_set(labels, name, value);
	}
	json_object_set(labels, "alertname", json_object_get(alert, "alert"));
	json_object_set(labels, "severity", json_object_get(alert, "severity"));
	json_object_set(labels, "fingerprint", json_object_get(alert, "fingerprint"));
	return labels;
}

static json_t *number_text(json_t *alert, const char *key)
{
	return json_sprintf("%lld", (long long)json_integer_value(json_object_get(alert, key)));
}

static json_t *annotations_of(json_t *alert)
{
	json_t *annotations = json_object(), *sample;
	char name[40], *text;
	size_t i;

	json_object_set(annotations, "summary", json_object_get(alert, "summary"));
	json_object_set(annotations, "type", json_object_get(alert, "type"));
	json_object_set_new(annotations, "count", number_text(alert, "count"));
	json_object_set_new(annotations, "value", number_text(alert, "value"));
	json_object_set_new(annotations, "threshold", number_text(alert, "threshold"));
	json_array_foreach(json_object_get(alert, "samples"), i, sample) {
		snprintf(name, sizeof(name), "sample_%zu", i + 1);
		text = sl_json_ascii(sample);
		if (text)
			json_object_set_new(annotations, name, json_string(text));
		free(text);
	}
	return annotations;
}

/* One that fires ends by itself if it is not told again: we may die. */
static json_t *end_of(const struct sl_sink *sink, json_t *alert)
{
	json_t *end = json_object_get(alert, "end");
	struct timespec ts;
	char text[SL_TIME_TEXT];

	if (json_is_string(end))
		return json_incref(end);
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += HOLD * sink->config->resend_s;
	return json_string(sl_time_format(ts.tv_sec * 1000000000ll + ts.tv_nsec, text));
}

static json_t *postable(const struct sl_sink *sink, json_t *alert)
{
	json_t *out = json_object();

	json_object_set_new(out, "labels", labels_of(sink, alert));
	json_object_set_new(out, "annotations", annotations_of(alert));
	json_object_set(out, "startsAt", json_object_get(alert, "start"));
	json_object_set_new(out, "endsAt", end_of(sink, alert));
	if (sink->config->generator)
		json_object_set_new(out, "generatorURL",
				    json_sprintf("%s#%s", sink->config->generator,
						 json_string_value(json_object_get(
							 alert, "fingerprint"))));
	return out;
}

char *sl_alertmanager_body(const struct sl_sink *sink, size_t n)
{
	json_t *list = json_array();
	char *body;

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, postable(sink, sink->queue[i].json));
	body = sl_json_ascii(list);
	json_decref(list);
	return body;
}
