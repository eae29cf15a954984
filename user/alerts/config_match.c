// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* `match` and `not`: fields, and the values that they may have. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_internal.h"
#include "policy/address.h"

#define VALUES_MAX 1024

struct reading {
	struct sl_alert_match *match;
};

static bool range_parse(const char *text, size_t len, struct sl_alert_value *value)
{
	const char *dash = memchr(text, '-', len);
	size_t n = dash ? (size_t)(dash - text) : len;

	if (!sl_text_number(text, n, ~0ull, &value->low))
		return false;
	value->high = value->low;
	if (dash && !sl_text_number(dash + 1, len - n - 1, ~0ull, &value->high))
		return false;
	return value->low <= value->high;
}

static void typed_read(struct sl_parser *p, const struct sl_alert_match *match,
		       struct sl_alert_value *value)
{
	const char *text = p->yaml.scalar;
	size_t len = p->yaml.scalar_len;

	switch (sl_field_kind(match->field)) {
	case SL_FIELD_IS_NUMBER:
		value->kind = SL_VALUE_RANGE;
		if (!range_parse(text, len, value))
			sl_error(p->diag, &p->yaml.pos, "\"%s\" wants a number or a range, as 443 "
				 "or 1-1023; found \"%.*s\"", sl_field_name(match->field),
				 SL_Q(text, len));
		return;
	case SL_FIELD_IS_ADDRESS:
		value->kind = SL_VALUE_PREFIX;
		sl_cidr_read(text, len, &p->yaml.pos, &value->prefix, p->diag);
		return;
	default:
		value->kind = SL_VALUE_TEXT;
		value->text = strndup(text, len);
		if (!value->text)
			sl_parser_no_memory(p);
	}
}

static void value_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_alert_match *match = ((struct reading *)object)->match;
	struct sl_alert_value *value;

	if (p->yaml.type != SL_YAML_SCALAR) {
		sl_wrong_value(p, key);
		return;
	}
	if (match->n == VALUES_MAX) {
		sl_error(p->diag, &p->yaml.pos, "more than %d values of \"%s\"", VALUES_MAX,
			 sl_field_name(match->field));
		sl_yaml_stop(&p->yaml, -EINVAL);
		return;
	}
	value = SL_ADD(match->values, match->n);
	if (!value)
		sl_parser_no_memory(p);
	else if (!sl_yaml_is_null(&p->yaml))
		typed_read(p, match, value);
}

/* The field that is the current event; -1, reported. */
static int field_read(struct sl_parser *p, const struct sl_match_list *list)
{
	const char *nearest, *text = p->yaml.scalar;
	size_t len = p->yaml.scalar_len;
	int field;

	if (p->yaml.type != SL_YAML_SCALAR) {
		sl_error(p->diag, &p->yaml.pos, "a field is a word, not a list or mapping");
		sl_yaml_skip(&p->yaml);
		return -1;
	}
	field = sl_field_find(text, len);
	if (field < 0) {
		nearest = sl_nearest(text, len, sl_field_names);
		sl_error(p->diag, &p->yaml.pos, "\"%.*s\" is no field of a record that a rule can "
			 "name%s%s%s", SL_Q(text, len), nearest ? "; did you mean \"" : "",
			 nearest ? nearest : "", nearest ? "\"?" : "");
		return -1;
	}
	for (size_t i = 0; i < list->n; i++) {
		if (list->matches[i].field != (enum sl_alert_field)field)
			continue;
		sl_error(p->diag, &p->yaml.pos, "\"%s\" stands here twice: put its values into "
			 "one list", sl_field_name(field));
		return -1;
	}
	return field;
}

static void one_read(struct sl_parser *p, const struct sl_key *key, struct sl_match_list *list,
		     int field)
{
	const struct sl_key named = {.name = sl_field_name(field),
				     .type = "a value or a list of values"};
	struct reading reading = {};

	reading.match = SL_ADD(list->matches, list->n);
	if (!reading.match) {
		sl_parser_no_memory(p);
		return;
	}
	reading.match->field = (enum sl_alert_field)field;
	sl_each_read(p, &named, value_read, &reading);
}

void sl_match_list_read(struct sl_parser *p, const struct sl_key *key, struct sl_match_list *list)
{
	if (p->yaml.type != SL_YAML_MAP) {
		sl_wrong_value(p, key);
		return;
	}
	for (sl_yaml_next(&p->yaml);
	     p->yaml.type != SL_YAML_MAP_END && p->yaml.type != SL_YAML_END;
	     sl_yaml_next(&p->yaml)) {
		int field = field_read(p, list);

		sl_yaml_next(&p->yaml);
		if (field < 0)
			sl_yaml_skip(&p->yaml);
		else
			one_read(p, key, list, field);
	}
}

int sl_match_list_default(struct sl_match_list *list, enum sl_alert_field field,
			  const char *const *words)
{
	struct sl_alert_match *match;
	struct sl_alert_value *value;

	for (size_t i = 0; i < list->n; i++)
		if (list->matches[i].field == field)
			return 0;
	match = SL_ADD(list->matches, list->n);
	if (!match)
		return -ENOMEM;
	match->field = field;
	for (; *words; words++) {
		value = SL_ADD(match->values, match->n);
		if (!value)
			return -ENOMEM;
		value->kind = SL_VALUE_TEXT;
		value->text = strdup(*words);
		if (!value->text)
			return -ENOMEM;
	}
	return 0;
}

void sl_match_list_free(struct sl_alert_match *matches, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < matches[i].n; k++)
			free(matches[i].values[k].text);
		free(matches[i].values);
	}
	free(matches);
}
