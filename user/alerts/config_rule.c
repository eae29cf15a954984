// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A rule, and what its type makes of what is not written. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_internal.h"

#define SUMMARY_MAX 200
#define HOUR 3600

#define BIT(key) (1u << SL_AKEY_##key)
#define N_WORDS 3

/* What a type has that the others have not, and what stands for what is not written. */
static const struct type {
	const char *word;
	enum sl_measure measure;
	unsigned keys;		/* that it takes beside those of every type */
	const char *event[N_WORDS];
	const char *field_words[N_WORDS];
	enum sl_alert_field field;	/* of field_words */
	enum sl_alert_field group[4], of[3];
	unsigned n_group, n_of;
	__u64 count;
	__s64 window_s;
} types[] = {
	[SL_ALERT_BLOCKED] = {"blocked", SL_MEASURE_COUNT, BIT(COUNT) | BIT(WINDOW),
			      {"connection"}, {"deny", "audit-deny"}, SL_FIELD_VERDICT,
			      {SL_FIELD_TARGET}, {}, 1, 0, 100, 60},
	[SL_ALERT_SCAN] = {"scan", SL_MEASURE_DISTINCT, BIT(COUNT) | BIT(WINDOW) | BIT(OF),
			   {"connection"}, {"deny", "audit-deny"}, SL_FIELD_VERDICT,
			   {SL_FIELD_TARGET}, {SL_FIELD_DESTINATION, SL_FIELD_DESTINATION_PORT},
			   1, 2, 20, 60},
	[SL_ALERT_FIRST_SEEN] = {"first-seen", SL_MEASURE_NEW,
				 BIT(WINDOW) | BIT(OF) | BIT(LEARN), {"connection"},
				 {"allow"}, SL_FIELD_VERDICT, {SL_FIELD_TARGET},
				 {SL_FIELD_DESTINATION}, 1, 1, 1, HOUR},
	[SL_ALERT_BYTES] = {"bytes", SL_MEASURE_AMOUNT,
			    BIT(OVER) | BIT(WINDOW) | BIT(DIRECTION), {"meter"}, {}, 0,
			    {SL_FIELD_TARGET}, {}, 1, 0, 0, HOUR},
	[SL_ALERT_DNS] = {"dns", SL_MEASURE_COUNT, BIT(COUNT) | BIT(WINDOW), {"dns"},
			  {"deny", "audit-deny"}, SL_FIELD_VERDICT, {SL_FIELD_TARGET}, {}, 1, 0,
			  50, 60},
	[SL_ALERT_BEACON] = {"beacon", SL_MEASURE_BEACON,
			     BIT(COUNT) | BIT(PERIOD) | BIT(JITTER) | BIT(MERGE), {"connection"},
			     {}, 0, {SL_FIELD_TARGET, SL_FIELD_DESTINATION,
				     SL_FIELD_DESTINATION_PORT}, {}, 3, 0, 6, 0},
	[SL_ALERT_LOSS] = {"loss", SL_MEASURE_COUNT, BIT(COUNT) | BIT(WINDOW), {"lost", "gap", "ring-full"},
			   {}, 0, {SL_FIELD_TARGET}, {}, 1, 0, 1, 60},
	[SL_ALERT_DETACH] = {"detach", SL_MEASURE_COUNT, BIT(COUNT) | BIT(WINDOW),
			     {"foreign-change"}, {}, 0, {SL_FIELD_TARGET}, {}, 1, 0, 1, 60},
	[SL_ALERT_EXPIRED] = {"expired", SL_MEASURE_COUNT, BIT(COUNT) | BIT(WINDOW), {"expired"},
			      {}, 0, {SL_FIELD_TARGET, SL_FIELD_RULE}, {}, 2, 0, 1, 60},
	[SL_ALERT_CUSTOM] = {"custom", SL_MEASURE_COUNT, BIT(COUNT) | BIT(WINDOW), {}, {}, 0,
			     {SL_FIELD_TARGET}, {}, 1, 0, 1, 60},
};

const char *sl_alert_type_word(enum sl_alert_type type)
{
	return types[type].word;
}

const char *sl_severity_word(enum sl_severity_level severity)
{
	static const char *const words[] = {"info", "warning", "critical"};

	return words[severity];
}

/* A rule while it is read. */
struct reading {
	struct sl_alert_rule *rule;
	struct sl_match_list match, not;
	bool has_type;
};

#define RULE(object) (((struct reading *)(object))->rule)

static void name_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_pos pos = p->yaml.pos;
	unsigned earlier;
	int err;

	if (!sl_copy_name(p, key, &RULE(object)->name))
		return;
	err = sl_names_add(&p->ids, RULE(object)->name, pos.line, &earlier);
	if (err == 1)
		sl_error(p->diag, &pos, "the name \"%s\" is taken by the rule of line %u",
			 RULE(object)->name, earlier);
	else if (err)
		sl_parser_no_memory(p);
}

static void type_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	const char *words[SL_ALERT_TYPES + 1] = {NULL};
	int type;

	for (int i = 0; i < SL_ALERT_TYPES; i++)
		words[i] = types[i].word;
	type = sl_word_read(p, key, words);
	if (type < 0)
		return;
	RULE(object)->type = (enum sl_alert_type)type;
	((struct reading *)object)->has_type = true;
}

static void severity_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_severity_read(p, key, &RULE(object)->severity);
}

static void match_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_match_list_read(p, key, &((struct reading *)object)->match);
}

static void not_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_match_list_read(p, key, &((struct reading *)object)->not);
}

/* Fields of `group` or `of`. */
struct field_list {
	enum sl_alert_field *fields;
	size_t n;
};

static void field_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct field_list *list = object;
	int field;

	if (!sl_is_text(p, key))
		return;
	field = sl_field_find(p->yaml.scalar, p->yaml.scalar_len);
	for (size_t i = 0; i < list->n && field >= 0; i++) {
		if (list->fields[i] == (enum sl_alert_field)field) {
			sl_error(p->diag, &p->yaml.pos, "\"%s\" stands here twice",
				 sl_field_name(field));
			return;
		}
	}
	if (field < 0)
		sl_error(p->diag, &p->yaml.pos, "\"%.*s\" is no field of a record that a rule can "
			 "name", SL_Q(p->yaml.scalar, p->yaml.scalar_len));
	else if (list->n == SL_ALERT_GROUP_FIELDS)
		sl_wrong_value(p, key);
	else
		list->fields[list->n++] = (enum sl_alert_field)field;
}

static void group_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct field_list list = {.fields = RULE(object)->group};

	sl_each_read(p, key, field_read, &list);
	RULE(object)->n_group = list.n;
}

static void of_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct field_list list = {.fields = RULE(object)->of};

	sl_each_read(p, key, field_read, &list);
	RULE(object)->n_of = list.n;
}

static void window_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_duration_read(p, key, 1, SL_ALERT_SECONDS_MAX, &RULE(object)->window_s);
}

static void count_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_between_read(p, key, 1, 1000000000, &RULE(object)->threshold);
}

static void over_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_quantity_read(p, key, false, &RULE(object)->threshold);
}

static void direction_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static const char *const words[] = {
		[SL_AMOUNT_OUT] = "out", [SL_AMOUNT_IN] = "in", [SL_AMOUNT_BOTH] = "both", NULL,
	};
	int word = sl_word_read(p, key, words);

	if (word >= 0)
		RULE(object)->amount = (enum sl_amount)word;
}

static void period_min_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_duration_read(p, key, 1, SL_ALERT_SECONDS_MAX, &RULE(object)->period_min_s);
}

static void period_max_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_duration_read(p, key, 1, 12 * HOUR, &RULE(object)->period_max_s);
}

static void period_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static sl_value_fn *const values[] = {
		[SL_AKEY_PERIOD_MIN] = period_min_read, [SL_AKEY_PERIOD_MAX] = period_max_read,
	};
	struct sl_map map;

	if (p->yaml.type == SL_YAML_MAP)
		sl_map_read(p, &sl_akeys_period, values, object, &map);
	else
		sl_wrong_value(p, key);
}

static void jitter_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	__u64 percent;

	if (sl_between_read(p, key, 0, 50, &percent))
		RULE(object)->jitter = (unsigned)percent;
}

static void merge_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_duration_read(p, key, 1, SL_ALERT_SECONDS_MAX, &RULE(object)->merge_s);
}

static void learn_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_duration_read(p, key, 1, SL_ALERT_SECONDS_MAX, &RULE(object)->learn_s);
}

static void for_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_duration_read(p, key, 1, SL_ALERT_SECONDS_MAX, &RULE(object)->for_s);
}

static void repeat_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_duration_read(p, key, 60, SL_ALERT_SECONDS_MAX, &RULE(object)->repeat_s);
}

static void summary_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	if (p->yaml.type == SL_YAML_SCALAR && p->yaml.scalar_len > SUMMARY_MAX)
		sl_wrong_value(p, key);
	else
		sl_copy_text(p, key, &RULE(object)->summary);
}

static sl_value_fn *const values[] = {
	[SL_AKEY_NAME] = name_read, [SL_AKEY_TYPE] = type_read,
	[SL_AKEY_SEVERITY] = severity_read, [SL_AKEY_MATCH] = match_read,
	[SL_AKEY_NOT] = not_read, [SL_AKEY_GROUP] = group_read, [SL_AKEY_WINDOW] = window_read,
	[SL_AKEY_COUNT] = count_read, [SL_AKEY_OVER] = over_read,
	[SL_AKEY_DIRECTION] = direction_read, [SL_AKEY_OF] = of_read,
	[SL_AKEY_PERIOD] = period_read, [SL_AKEY_JITTER] = jitter_read,
	[SL_AKEY_MERGE] = merge_read, [SL_AKEY_LEARN] = learn_read, [SL_AKEY_FOR] = for_read,
	[SL_AKEY_REPEAT] = repeat_read, [SL_AKEY_SUMMARY] = summary_read,
};

#define OF_EVERY_TYPE                                                                            \
	(BIT(NAME) | BIT(TYPE) | BIT(SEVERITY) | BIT(MATCH) | BIT(NOT) | BIT(GROUP) | BIT(FOR) | \
	 BIT(REPEAT) | BIT(SUMMARY))

/* Keys of other types would be without effect: refused, each in its line. */
static void check_keys(struct sl_parser *p, const struct sl_map *map, const struct type *type)
{
	for (unsigned i = 0; i < SL_AKEY_RULE_N; i++) {
		struct sl_pos pos = {p->yaml.pos.file, map->lines[i], 0};

		if (map->lines[i] && !((OF_EVERY_TYPE | type->keys) & 1u << i))
			sl_error(p->diag, &pos, "\"%s\" means nothing to a rule of type %s",
				 sl_akeys_rule.keys[i].name, type->word);
	}
}

static int add_defaults(struct reading *r, const struct type *type)
{
	struct sl_alert_rule *rule = r->rule;
	int err = 0;

	rule->measure = type->measure;
	if (!rule->threshold)
		rule->threshold = type->count;
	if (!rule->n_group)
		memcpy(rule->group, type->group, sizeof(type->group));
	rule->n_group = rule->n_group ? rule->n_group : type->n_group;
	if (!rule->n_of)
		memcpy(rule->of, type->of, sizeof(type->of));
	rule->n_of = rule->n_of ? rule->n_of : type->n_of;
	if (!rule->window_s)
		rule->window_s = type->window_s;
	if (rule->measure == SL_MEASURE_BEACON)
		rule->window_s = rule->period_max_s * (__s64)rule->threshold;
	if (!rule->for_s)
		rule->for_s = rule->measure == SL_MEASURE_BEACON ? 2 * rule->period_max_s
								  : rule->window_s;
	if (type->event[0])
		err = sl_match_list_default(&r->match, SL_FIELD_EVENT, type->event);
	if (!err && type->field_words[0])
		err = sl_match_list_default(&r->match, type->field, type->field_words);
	return err;
}

static void check_beacon(struct sl_parser *p, const struct sl_alert_rule *rule)
{
	if (rule->threshold < 4 || rule->threshold > SL_ALERT_MOMENTS_MAX)
		sl_error(p->diag, &rule->pos, "\"count\" of a beacon is a number of moments from 4 "
			 "to %d", SL_ALERT_MOMENTS_MAX);
	if (rule->period_min_s > rule->period_max_s)
		sl_error(p->diag, &rule->pos, "the shortest \"period\" is longer than the longest");
	if (rule->merge_s > rule->period_min_s)
		sl_error(p->diag, &rule->pos, "\"merge\" is longer than the shortest \"period\"");
}

static void check_rule(struct sl_parser *p, const struct reading *r, const struct sl_map *map)
{
	const struct sl_alert_rule *rule = r->rule;

	if (rule->type == SL_ALERT_CUSTOM && !map->lines[SL_AKEY_MATCH])
		sl_error(p->diag, &rule->pos, "a rule of type custom wants a \"match\"");
	if (rule->type == SL_ALERT_BYTES && !map->lines[SL_AKEY_OVER])
		sl_error(p->diag, &rule->pos, "a rule of type bytes wants \"over\", as 100MiB");
	if (rule->measure == SL_MEASURE_DISTINCT && rule->threshold > SL_ALERT_DISTINCT_MAX)
		sl_error(p->diag, &rule->pos, "\"count\" of a scan is at most %d",
			 SL_ALERT_DISTINCT_MAX);
	if (rule->measure == SL_MEASURE_BEACON)
		check_beacon(p, rule);
}

static void finish(struct sl_parser *p, struct reading *r, const struct sl_map *map)
{
	struct sl_alert_rule *rule = r->rule;
	int err = 0;

	if (!map->faulty && !map->lines[SL_AKEY_NAME])
		sl_error(p->diag, &rule->pos, "a rule wants a \"name\"");
	if (!map->faulty && !map->lines[SL_AKEY_TYPE])
		sl_error(p->diag, &rule->pos, "a rule wants a \"type\": %s",
			 sl_akeys_rule.keys[SL_AKEY_TYPE].type);
	if (r->has_type) {
		check_keys(p, map, &types[rule->type]);
		err = add_defaults(r, &types[rule->type]);
		check_rule(p, r, map);
	}
	if (err)
		sl_parser_no_memory(p);
}

void sl_alert_rule_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_alerts_config *config = object;
	struct reading r = {};
	struct sl_map map;

	if (p->yaml.type != SL_YAML_MAP) {
		sl_wrong_value(p, key);
		return;
	}
	r.rule = SL_ADD(config->rules, config->n_rules);
	if (!r.rule) {
		sl_parser_no_memory(p);
		return;
	}
	r.rule->pos = p->yaml.pos;
	r.rule->severity = SL_SEVERITY_WARNING;
	r.rule->repeat_s = 4 * HOUR;
	r.rule->period_min_s = 10;
	r.rule->period_max_s = HOUR;
	r.rule->jitter = 10;
	r.rule->merge_s = 1;
	sl_map_read(p, &sl_akeys_rule, values, &r, &map);
	if (p->yaml.type != SL_YAML_END)
		finish(p, &r, &map);
	r.rule->match = r.match.matches;
	r.rule->n_match = r.match.n;
	r.rule->not = r.not.matches;
	r.rule->n_not = r.not.n;
}

void sl_alert_rule_free(struct sl_alert_rule *rule)
{
	sl_match_list_free(rule->match, rule->n_match);
	sl_match_list_free(rule->not, rule->n_not);
	free(rule->name);
	free(rule->summary);
}
