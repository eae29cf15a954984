// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Records as an alert shows them: known fields alone, so that their size is bounded. */
#include <stdlib.h>
#include <string.h>

#include "fields.h"

/* What has numbers or several parts, beside the fields. */
static const char *const amounts[] = {"seq", "count", "first", "generation", NULL};

static void add_text(json_t *to, const struct sl_alert_record *record, const char *parent,
		     const char *key, enum sl_alert_field field)
{
	char buf[SL_FIELD_TEXT];
	const char *text = sl_field_get(record, field, buf);
	json_t *in = to;

	if (!text)
		return;
	if (parent && !json_object_get(to, parent))
		json_object_set_new(to, parent, json_object());
	if (parent)
		in = json_object_get(to, parent);
	if (sl_field_kind(field) == SL_FIELD_IS_NUMBER)
		json_object_set_new(in, key, json_integer(strtoll(text, NULL, 10)));
	else
		json_object_set_new(in, key, json_string(text));
}

static void add_fields(json_t *to, const struct sl_alert_record *record)
{
	/* target and destination are put together of what follows them */
#define FIELD(id, name, parent, key, kind)                                                       \
	if (SL_FIELD_##id != SL_FIELD_TARGET && SL_FIELD_##id != SL_FIELD_DESTINATION)           \
		add_text(to, record, parent, key, SL_FIELD_##id);
	SL_ALERT_FIELDS(FIELD)
#undef FIELD
}

static void add_amounts(json_t *to, const struct sl_alert_record *record)
{
	__u64 out, in;

	for (const char *const *key = amounts; *key; key++) {
		json_t *value = json_object_get(record->json, *key);

		if (json_is_integer(value))
			json_object_set(to, *key, value);
	}
	if (sl_amount_get(record, SL_AMOUNT_OUT, &out) && sl_amount_get(record, SL_AMOUNT_IN, &in))
		json_object_set_new(to, "bytes", json_pack("{s:I, s:I}", "out", (json_int_t)out,
							   "in", (json_int_t)in));
}

static struct sl_sample *make(const struct sl_alert_record *record)
{
	char time[SL_TIME_TEXT];
	json_t *json = json_pack("{s:s}", "time", sl_time_format(record->time_ns, time));
	struct sl_sample *sample = NULL;
	char *text;

	if (!json)
		return NULL;
	add_fields(json, record);
	add_amounts(json, record);
	text = json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII);
	json_decref(json);
	if (text)
		sample = malloc(sizeof(*sample) + strlen(text) + 1);
	if (sample) {
		sample->refs = 1;
		strcpy(sample->text, text);
	}
	free(text);
	return sample;
}

struct sl_sample *sl_sample_get(struct sl_alert_record *record)
{
	if (!record->sample)
		record->sample = make(record);
	if (record->sample)
		record->sample->refs++;
	return record->sample;
}

void sl_sample_put(struct sl_sample *sample)
{
	if (sample && !--sample->refs)
		free(sample);
}
