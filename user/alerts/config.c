// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A file of rules: its top level, and the kinds of values that it has. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_internal.h"
#include "resolve/resolve.h"

#define RULES_BYTES_MAX (1u << 20)

bool sl_duration_read(struct sl_parser *p, const struct sl_key *key, __s64 least, __s64 most,
		      __s64 *out)
{
	__s64 seconds;

	if (!sl_is_text(p, key))
		return false;
	if (!sl_duration_parse(p->yaml.scalar, p->yaml.scalar_len, &seconds) || seconds < least ||
	    seconds > most) {
		sl_wrong_value(p, key);
		return false;
	}
	*out = seconds;
	return true;
}

bool sl_between_read(struct sl_parser *p, const struct sl_key *key, __u64 least, __u64 most,
		     __u64 *out)
{
	__u64 number;

	if (p->yaml.type != SL_YAML_SCALAR ||
	    !sl_text_number(p->yaml.scalar, p->yaml.scalar_len, most, &number) || number < least) {
		sl_wrong_value(p, key);
		return false;
	}
	*out = number;
	return true;
}

bool sl_severity_read(struct sl_parser *p, const struct sl_key *key, enum sl_severity_level *out)
{
	static const char *const words[] = {"info", "warning", "critical", NULL};
	int word = sl_word_read(p, key, words);

	if (word >= 0)
		*out = (enum sl_severity_level)word;
	return word >= 0;
}

bool sl_path_read(struct sl_parser *p, const struct sl_key *key, char **out)
{
	if (!sl_is_text(p, key))
		return false;
	if (p->yaml.scalar[0] != '/') {
		sl_wrong_value(p, key);
		return false;
	}
	return sl_copy_text(p, key, out);
}

static void version_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	__u64 version;

	sl_between_read(p, key, 1, 1, &version);
}

static void groups_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_between_read(p, key, 1, 65536, &((struct sl_alerts_config *)object)->groups);
}

static void limits_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static sl_value_fn *const values[] = {[SL_AKEY_GROUPS] = groups_read};
	struct sl_map map;

	if (p->yaml.type == SL_YAML_MAP)
		sl_map_read(p, &sl_akeys_limits, values, object, &map);
	else
		sl_wrong_value(p, key);
}

static void memory_file_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_path_read(p, key, &((struct sl_alerts_config *)object)->memory);
}

static void entries_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_between_read(p, key, 1, 1000000, &((struct sl_alerts_config *)object)->memory_entries);
}

static void forget_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_duration_read(p, key, 1, SL_ALERT_SECONDS_MAX,
			 &((struct sl_alerts_config *)object)->forget_s);
}

static void memory_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	static sl_value_fn *const values[] = {
		[SL_AKEY_MEMORY_FILE] = memory_file_read,
		[SL_AKEY_MEMORY_ENTRIES] = entries_read,
		[SL_AKEY_MEMORY_FORGET] = forget_read,
	};
	struct sl_map map;

	if (p->yaml.type == SL_YAML_MAP)
		sl_map_read(p, &sl_akeys_memory, values, object, &map);
	else
		sl_wrong_value(p, key);
}

static void sinks_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_list_read(p, key, sl_sink_read, object, true);
}

static void rules_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_list_read(p, key, sl_alert_rule_read, object, false);
}

static sl_value_fn *const top_values[] = {
	[SL_AKEY_ALERTS] = version_read, [SL_AKEY_LIMITS] = limits_read,
	[SL_AKEY_MEMORY] = memory_read,	 [SL_AKEY_SINKS] = sinks_read,
	[SL_AKEY_RULES] = rules_read,
};

static void document_read(struct sl_parser *p, struct sl_alerts_config *config)
{
	char buf[SL_QUOTE_MAX + 32];
	struct sl_pos pos;
	struct sl_map map;

	sl_yaml_next(&p->yaml);
	if (p->yaml.error)
		return;
	pos = p->yaml.pos;
	if (p->yaml.type != SL_YAML_MAP) {
		sl_error(p->diag, &pos, "a file of rules is a mapping that begins with "
			 "`alerts: 1`; found %s", sl_yaml_describe(&p->yaml, buf, sizeof(buf)));
		return;
	}
	sl_map_read(p, &sl_akeys_top, top_values, config, &map);
	if (p->yaml.type == SL_YAML_END)
		return;
	if (!map.lines[SL_AKEY_ALERTS])
		sl_error(p->diag, &pos, "`alerts: 1` is missing: a file of rules begins with it");
	if (!map.lines[SL_AKEY_RULES] && !map.faulty)
		sl_error(p->diag, &pos, "there is no \"rules\": without one nothing is looked for");
	/* To the end of the text: what follows the mapping must be nothing. */
	sl_yaml_next(&p->yaml);
}

int sl_alerts_config_parse(const char *text, size_t len, const char *file,
			   struct sl_alerts_config *out, struct sl_diag *diag)
{
	struct sl_alerts_config config = {.groups = 4096, .memory_entries = 65536,
					  .forget_s = SL_ALERT_SECONDS_MAX};
	struct sl_parser p = {.diag = diag};
	size_t errors = diag->n_errors;
	int result;

	sl_yaml_open(&p.yaml, text, len, file ? sl_diag_intern(diag, file) : NULL, diag);
	document_read(&p, &config);
	result = p.yaml.error ? p.yaml.error : diag->n_errors > errors ? -EINVAL : 0;
	sl_yaml_close(&p.yaml);
	sl_names_free(&p.ids);
	if (result)
		sl_alerts_config_free(&config);
	else
		*out = config;
	return result;
}

int sl_alerts_config_read(const char *path, struct sl_alerts_config *out, struct sl_diag *diag)
{
	char *text;
	size_t len;
	int err = sl_file_read(path, RULES_BYTES_MAX, NULL, &text, &len, diag);

	if (err)
		return err;
	err = sl_alerts_config_parse(text, len, path, out, diag);
	free(text);
	return err;
}

void sl_alerts_config_free(struct sl_alerts_config *config)
{
	for (size_t i = 0; i < config->n_rules; i++)
		sl_alert_rule_free(&config->rules[i]);
	for (size_t i = 0; i < config->n_sinks; i++)
		sl_alert_sink_config_free(&config->sinks[i]);
	free(config->rules);
	free(config->sinks);
	free(config->memory);
	*config = (struct sl_alerts_config){};
}
