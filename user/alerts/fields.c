// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What the rules read in a record. */
#include "fields.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/text.h"

/* Beyond, a number of a record is taken for this: sums of 2^10 such fit. */
#define AMOUNT_MAX (1ull << 53)

static const struct field {
	const char *name, *parent, *key;
	enum sl_field_kind kind;
} fields[] = {
#define FIELD(id, name, parent, key, kind) {name, parent, key, SL_FIELD_IS_##kind},
	SL_ALERT_FIELDS(FIELD)
#undef FIELD
};

const char *const sl_field_names[] = {
#define FIELD(id, name, parent, key, kind) name,
	SL_ALERT_FIELDS(FIELD)
#undef FIELD
	NULL,
};

const char *sl_field_name(enum sl_alert_field field)
{
	return fields[field].name;
}

enum sl_field_kind sl_field_kind(enum sl_alert_field field)
{
	return fields[field].kind;
}

int sl_field_find(const char *name, size_t len)
{
	for (int i = 0; i < SL_FIELD_N; i++)
		if (sl_text_is(name, len, fields[i].name))
			return i;
	return -1;
}

static const char *cut(const char *text, char buf[SL_FIELD_TEXT])
{
	size_t len = strnlen(text, SL_FIELD_TEXT);

	if (len < SL_FIELD_TEXT)
		return text;
	len = SL_FIELD_TEXT - 1;
	while (len && (text[len] & 0xc0) == 0x80)
		len--;
	memcpy(buf, text, len);
	buf[len] = 0;
	return buf;
}

static const char *scalar_text(const json_t *value, char buf[SL_FIELD_TEXT])
{
	if (json_is_string(value))
		return cut(json_string_value(value), buf);
	if (json_is_boolean(value))
		return json_is_true(value) ? "true" : "false";
	if (!json_is_integer(value))
		return NULL;
	snprintf(buf, SL_FIELD_TEXT, "%lld", (long long)json_integer_value(value));
	return buf;
}

static const char *target_text(const struct sl_alert_record *record, char buf[SL_FIELD_TEXT])
{
	const json_t *target = json_object_get(record->json, "target");
	const char *kind = json_string_value(json_object_get(target, "kind"));
	const char *name = json_string_value(json_object_get(target, "name"));
	char whole[2 * SL_FIELD_TEXT];

	if (!kind || !name)
		return NULL;
	snprintf(whole, sizeof(whole), "%.32s:%.*s", kind, SL_FIELD_TEXT, name);
	if (cut(whole, buf) == whole)
		strcpy(buf, whole);
	return buf;
}

static const char *destination_text(const struct sl_alert_record *record, char buf[SL_FIELD_TEXT])
{
	const char *name = sl_field_get(record, SL_FIELD_DESTINATION_NAME, buf);

	return name ? name : sl_field_get(record, SL_FIELD_DESTINATION_ADDRESS, buf);
}

const char *sl_field_get(const struct sl_alert_record *record, enum sl_alert_field field,
			 char buf[SL_FIELD_TEXT])
{
	const struct field *f = &fields[field];
	const json_t *in = record->json;

	if (f->kind == SL_FIELD_IS_TARGET)
		return target_text(record, buf);
	if (f->kind == SL_FIELD_IS_DESTINATION)
		return destination_text(record, buf);
	if (f->parent)
		in = json_object_get(in, f->parent);
	return scalar_text(json_object_get(in, f->key), buf);
}

static bool number_of(const json_t *object, const char *key, __u64 *out)
{
	const json_t *value = json_object_get(object, key);
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < 0)
		return false;
	*out = (__u64)number < AMOUNT_MAX ? (__u64)number : AMOUNT_MAX;
	return true;
}

bool sl_amount_get(const struct sl_alert_record *record, enum sl_amount amount, __u64 *out)
{
	const json_t *bytes = json_object_get(record->json, "bytes");
	__u64 other = 0;

	switch (amount) {
	case SL_AMOUNT_OUT:
		return number_of(bytes, "out", out);
	case SL_AMOUNT_IN:
		return number_of(bytes, "in", out);
	case SL_AMOUNT_BOTH:
		if (!number_of(bytes, "out", out) || !number_of(bytes, "in", &other))
			return false;
		*out += other;
		return true;
	}
	return false;
}

const char *sl_alert_record_read(json_t *json, struct sl_alert_record *out)
{
	struct sl_alert_record record = {.json = json, .count = 1};
	const char *time = json_string_value(json_object_get(json, "time")), *wrong = NULL;

	if (!json_is_object(json))
		wrong = "not an object";
	else if (!time || !sl_time_parse(time, &record.time_ns))
		wrong = "no time of day in \"time\"";
	else if (!json_is_string(json_object_get(json, "event")))
		wrong = "no text in \"event\"";
	else if (json_object_get(json, "count") &&
		 (!number_of(json, "count", &record.count) || !record.count))
		wrong = "\"count\" is no number from 1";
	if (wrong) {
		json_decref(json);
		return wrong;
	}
	record.is_lost = !strcmp(json_string_value(json_object_get(json, "event")), "lost");
	record.has_seq = number_of(json, "seq", &record.seq);
	if (!record.is_lost || !number_of(json, "first", &record.first) ||
	    record.first > record.seq)
		record.first = record.seq;
	*out = record;
	return NULL;
}

int sl_alert_record_gap(__s64 time_ns, __u64 missing, struct sl_alert_record *out)
{
	char time[SL_TIME_TEXT];
	json_t *json = json_pack("{s:s, s:s, s:I}", "time", sl_time_format(time_ns, time), "event",
				 "gap", "count", (json_int_t)missing);

	if (!json)
		return -ENOMEM;
	*out = (struct sl_alert_record){.json = json, .time_ns = time_ns, .count = missing};
	return 0;
}

void sl_alert_record_free(struct sl_alert_record *record)
{
	json_decref(record->json);
	sl_sample_put(record->sample);
	*record = (struct sl_alert_record){};
}
