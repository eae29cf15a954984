// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A sink: where alerts go. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_internal.h"

#define COMMAND_MAX 64
#define LABELS_MAX 16

#define SINK(object) ((struct sl_alert_sink_config *)(object))

/* The length of an http or https scheme with its slashes, 0: another. */
static size_t scheme(const char *text, size_t len)
{
	if (len > 7 && !memcmp(text, "http://", 7))
		return 7;
	return len > 8 && !memcmp(text, "https://", 8) ? 8 : 0;
}

static bool is_url(const char *text, size_t len)
{
	size_t at = scheme(text, len);

	if (!at || text[at] == '/' || len > 1000)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] <= 0x20 || (unsigned char)text[i] >= 0x7f)
			return false;
	return true;
}

static void url_read(struct sl_parser *p, const struct sl_key *key, char **out)
{
	const char *text = p->yaml.scalar, *slash, *at;
	size_t len = p->yaml.scalar_len, start;

	if (!sl_is_text(p, key))
		return;
	if (!is_url(text, len)) {
		sl_wrong_value(p, key);
		return;
	}
	start = scheme(text, len);
	slash = memchr(text + start, '/', len - start);
	at = memchr(text + start, '@', (slash ? (size_t)(slash - text) : len) - start);
	if (at)
		sl_error(p->diag, &p->yaml.pos, "no credentials in a URL: it is shown in messages. "
			 "Put them into the file of \"token\"");
	else
		sl_copy_text(p, key, out);
}

static void sink_url_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	url_read(p, key, &SINK(object)->url);
}

static void generator_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	url_read(p, key, &SINK(object)->generator);
}

static void severity_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_severity_read(p, key, &SINK(object)->severity);
}

static void timeout_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_duration_read(p, key, 1, 300, &SINK(object)->timeout_s);
}

static void resend_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_duration_read(p, key, 1, 3600, &SINK(object)->resend_s);
}

static void queue_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_between_read(p, key, 1, 65536, &SINK(object)->queue);
}

static void parallel_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_between_read(p, key, 1, 64, &SINK(object)->parallel);
}

static void ca_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_path_read(p, key, &SINK(object)->ca);
}

static void token_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_path_read(p, key, &SINK(object)->token);
}

static void secret_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_path_read(p, key, &SINK(object)->secret);
}

/* [a-zA-Z_][a-zA-Z0-9_]*, and not one of those that an alert has by itself. */
static bool is_label(const char *text, size_t len)
{
	static const char *const ours[] = {"alertname", "severity", "fingerprint", NULL};

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
		      (i && c >= '0' && c <= '9')))
			return false;
	}
	for (const char *const *word = ours; *word; word++)
		if (sl_text_is(text, len, *word))
			return false;
	return len && len <= 64;
}

static void label_read(struct sl_parser *p, const struct sl_key *key, struct sl_alert_sink_config *sink)
{
	struct sl_alert_label *label;

	if (p->yaml.type != SL_YAML_SCALAR || !is_label(p->yaml.scalar, p->yaml.scalar_len) ||
	    sink->n_labels == LABELS_MAX) {
		sl_error(p->diag, &p->yaml.pos, "a label is a name of letters, digits and _ that "
			 "begins with no digit, other than alertname, severity and fingerprint; at "
			 "most %d", LABELS_MAX);
		sl_yaml_skip(&p->yaml);
		sl_yaml_next(&p->yaml);
		sl_yaml_skip(&p->yaml);
		return;
	}
	label = SL_ADD(sink->labels, sink->n_labels);
	if (!label) {
		sl_parser_no_memory(p);
		return;
	}
	sl_copy_text(p, key, &label->name);
	sl_yaml_next(&p->yaml);
	sl_copy_text(p, key, &label->value);
}

static void labels_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	if (p->yaml.type != SL_YAML_MAP) {
		sl_wrong_value(p, key);
		return;
	}
	for (sl_yaml_next(&p->yaml);
	     p->yaml.type != SL_YAML_MAP_END && p->yaml.type != SL_YAML_END;
	     sl_yaml_next(&p->yaml))
		label_read(p, key, SINK(object));
}

static void word_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_alert_sink_config *sink = SINK(object);
	char *word = NULL, **grown;

	if (sink->n_command == COMMAND_MAX || (!sink->n_command &&
	    (p->yaml.type != SL_YAML_SCALAR || p->yaml.scalar[0] != '/'))) {
		sl_wrong_value(p, key);
		return;
	}
	if (!sl_copy_text(p, key, &word))
		return;
	grown = reallocarray(sink->command, sink->n_command + 2, sizeof(*grown));
	if (!grown) {
		free(word);
		sl_parser_no_memory(p);
		return;
	}
	sink->command = grown;
	grown[sink->n_command++] = word;
	grown[sink->n_command] = NULL;
}

static void command_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	sl_list_read(p, key, word_read, object, false);
}

static void file_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	if (!sl_is_text(p, key))
		return;
	if (sl_text_is(p->yaml.scalar, p->yaml.scalar_len, "-"))
		sl_copy_text(p, key, &SINK(object)->file);
	else
		sl_path_read(p, key, &SINK(object)->file);
}

#define HTTP_VALUES                                                                              \
	[SL_AKEY_SINK_URL] = sink_url_read, [SL_AKEY_SINK_SEVERITY] = severity_read,             \
	[SL_AKEY_SINK_TIMEOUT] = timeout_read, [SL_AKEY_SINK_QUEUE] = queue_read,                \
	[SL_AKEY_SINK_CA] = ca_read, [SL_AKEY_SINK_TOKEN] = token_read

static sl_value_fn *const alertmanager_values[] = {
	HTTP_VALUES, [SL_AKEY_AM_LABELS] = labels_read, [SL_AKEY_AM_GENERATOR] = generator_read,
	[SL_AKEY_AM_RESEND] = resend_read,
};

static sl_value_fn *const webhook_values[] = {
	HTTP_VALUES, [SL_AKEY_WEBHOOK_SECRET] = secret_read,
};

static sl_value_fn *const exec_values[] = {
	[SL_AKEY_EXEC_COMMAND] = command_read, [SL_AKEY_EXEC_SEVERITY] = severity_read,
	[SL_AKEY_EXEC_TIMEOUT] = timeout_read, [SL_AKEY_EXEC_QUEUE] = queue_read,
	[SL_AKEY_EXEC_PARALLEL] = parallel_read,
};

static sl_value_fn *const log_values[] = {
	[SL_AKEY_LOG_FILE] = file_read, [SL_AKEY_LOG_SEVERITY] = severity_read,
};

static const struct {
	const struct sl_key_table *table;
	sl_value_fn *const *values;
	unsigned required;
	__u64 queue;
} kinds[] = {
	[SL_SINK_ALERTMANAGER] = {&sl_akeys_alertmanager, alertmanager_values, SL_AKEY_SINK_URL,
				  4096},
	[SL_SINK_WEBHOOK] = {&sl_akeys_webhook, webhook_values, SL_AKEY_SINK_URL, 1024},
	[SL_SINK_EXEC] = {&sl_akeys_exec, exec_values, SL_AKEY_EXEC_COMMAND, 256},
	[SL_SINK_LOG] = {&sl_akeys_log, log_values, SL_AKEY_LOG_FILE, 4096},
};

/* A sink's mapping is that of its one key. */
static void kind_read(struct sl_parser *p, const struct sl_key *key, void *object,
		      enum sl_sink_kind kind)
{
	struct sl_alerts_config *config = object;
	struct sl_pos pos = p->yaml.pos;
	struct sl_alert_sink_config *sink;
	struct sl_map map;

	if (p->yaml.type != SL_YAML_MAP) {
		sl_wrong_value(p, key);
		return;
	}
	sink = SL_ADD(config->sinks, config->n_sinks);
	if (!sink) {
		sl_parser_no_memory(p);
		return;
	}
	*sink = (struct sl_alert_sink_config){.kind = kind, .pos = pos, .timeout_s = 10, .parallel = 4,
					.queue = kinds[kind].queue, .resend_s = 60};
	sl_map_read(p, kinds[kind].table, kinds[kind].values, sink, &map);
	if (p->yaml.type != SL_YAML_END && !map.faulty && !map.lines[kinds[kind].required])
		sl_error(p->diag, &pos, "%s wants \"%s\"", kinds[kind].table->what,
			 kinds[kind].table->keys[kinds[kind].required].name);
}

static void alertmanager_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	kind_read(p, key, object, SL_SINK_ALERTMANAGER);
}

static void webhook_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	kind_read(p, key, object, SL_SINK_WEBHOOK);
}

static void exec_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	kind_read(p, key, object, SL_SINK_EXEC);
}

static void log_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	kind_read(p, key, object, SL_SINK_LOG);
}

static sl_value_fn *const sink_values[] = {
	[SL_AKEY_ALERTMANAGER] = alertmanager_read, [SL_AKEY_WEBHOOK] = webhook_read,
	[SL_AKEY_EXEC] = exec_read, [SL_AKEY_LOG] = log_read,
};

void sl_sink_read(struct sl_parser *p, const struct sl_key *key, void *object)
{
	struct sl_pos pos = p->yaml.pos;
	unsigned kinds_written = 0;
	struct sl_map map;

	if (p->yaml.type != SL_YAML_MAP) {
		sl_wrong_value(p, key);
		return;
	}
	sl_map_read(p, &sl_akeys_sink, sink_values, object, &map);
	if (p->yaml.type == SL_YAML_END)
		return;
	for (unsigned i = 0; i < SL_AKEY_SINK_N; i++)
		kinds_written += map.lines[i] != 0;
	if (kinds_written != 1 && !map.faulty)
		sl_error(p->diag, &pos, "a sink is one of alertmanager, webhook, exec and log; put "
			 "each into an element of its own");
}

void sl_alert_sink_config_free(struct sl_alert_sink_config *sink)
{
	for (size_t i = 0; i < sink->n_labels; i++) {
		free(sink->labels[i].name);
		free(sink->labels[i].value);
	}
	for (size_t i = 0; i < sink->n_command; i++)
		free(sink->command[i]);
	free(sink->labels);
	free(sink->command);
	free(sink->url);
	free(sink->ca);
	free(sink->token);
	free(sink->secret);
	free(sink->generator);
	free(sink->file);
}
