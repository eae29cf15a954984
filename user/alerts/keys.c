// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "keys.h"

#define KEY(name, type, def) {name, type, def, SL_PART_ALERTS, NULL, NULL}

#define DURATION "a duration, as 30s, 10m, 1h or 7d, at most 30d"
#define FIELDS "one to six fields, one or a list"
#define MATCH "a mapping of fields to a value or a list of values"
#define SEVERITY "info, warning or critical"
#define COUNT "a number from 1 to 1000000000"

static const struct sl_key top[] = {
	[SL_AKEY_ALERTS] = KEY("alerts", "the number 1", "required"),
	[SL_AKEY_LIMITS] = KEY("limits", "a mapping, as {groups: 4096}", "see below"),
	[SL_AKEY_MEMORY] = KEY("memory", "a mapping, as {file: /var/lib/sluice-alerts/memory}",
			       "see below"),
	[SL_AKEY_SINKS] = KEY("sinks", "a list of sinks", "none"),
	[SL_AKEY_RULES] = KEY("rules", "a list of rules", "required"),
};

static const struct sl_key limits[] = {
	[SL_AKEY_GROUPS] = KEY("groups", "a number from 1 to 65536", "4096"),
};

static const struct sl_key memory[] = {
	[SL_AKEY_MEMORY_FILE] = KEY("file", "an absolute path", "none: not kept"),
	[SL_AKEY_MEMORY_ENTRIES] = KEY("entries", "a number from 1 to 1000000", "65536"),
	[SL_AKEY_MEMORY_FORGET] = KEY("forget", DURATION, "30d"),
};

static const struct sl_key rule[] = {
	[SL_AKEY_NAME] = KEY("name", "a name: 1 to 63 of a-z A-Z 0-9 . _ -", "required"),
	[SL_AKEY_TYPE] = KEY("type", "blocked, scan, first-seen, bytes, dns, beacon, loss, detach, "
			     "expired or custom", "required"),
	[SL_AKEY_SEVERITY] = KEY("severity", SEVERITY, "warning"),
	[SL_AKEY_MATCH] = KEY("match", MATCH, "by type"),
	[SL_AKEY_NOT] = KEY("not", MATCH, "none"),
	[SL_AKEY_GROUP] = KEY("group", FIELDS, "by type"),
	[SL_AKEY_WINDOW] = KEY("window", DURATION, "by type"),
	[SL_AKEY_COUNT] = KEY("count", COUNT, "by type"),
	[SL_AKEY_OVER] = KEY("over", "a size, as 100MiB", "required for bytes"),
	[SL_AKEY_DIRECTION] = KEY("direction", "out, in or both", "out"),
	[SL_AKEY_OF] = KEY("of", FIELDS, "by type"),
	[SL_AKEY_PERIOD] = KEY("period", "a mapping, as {min: 10s, max: 1h}", "see below"),
	[SL_AKEY_JITTER] = KEY("jitter", "a percentage without its sign, from 0 to 50", "10"),
	[SL_AKEY_MERGE] = KEY("merge", DURATION, "1s"),
	[SL_AKEY_LEARN] = KEY("learn", DURATION, "none"),
	[SL_AKEY_FOR] = KEY("for", DURATION, "the window; beacon: twice the longest period"),
	[SL_AKEY_REPEAT] = KEY("repeat", "a duration of at least 1m, as 4h, at most 30d", "4h"),
	[SL_AKEY_SUMMARY] = KEY("summary", "a text of at most 200 bytes", "by type"),
};

static const struct sl_key period[] = {
	[SL_AKEY_PERIOD_MIN] = KEY("min", DURATION, "10s"),
	[SL_AKEY_PERIOD_MAX] = KEY("max", "a duration, as 30s, 10m or 1h, at most 12h", "1h"),
};

static const struct sl_key sink[] = {
	[SL_AKEY_ALERTMANAGER] = KEY("alertmanager", "a mapping, as {url: http://127.0.0.1:9093}",
				     "none"),
	[SL_AKEY_WEBHOOK] = KEY("webhook", "a mapping, as {url: https://hooks.example.com/sluice}",
				"none"),
	[SL_AKEY_EXEC] = KEY("exec", "a mapping, as {command: [/usr/local/bin/on-alert]}", "none"),
	[SL_AKEY_LOG] = KEY("log", "a mapping, as {file: /var/log/sluice-alerts/alerts.jsonl}",
			    "none"),
};

#define URL KEY("url", "an http:// or https:// URL", "required")
#define SINK_SEVERITY KEY("severity", SEVERITY, "info")
#define QUEUE(def) KEY("queue", "a number from 1 to 65536", def)
#define CA KEY("ca", "an absolute path", "the system's")
#define TOKEN KEY("token", "an absolute path", "none")
#define TIMEOUT KEY("timeout", "a duration from 1s to 5m", "10s")

static const struct sl_key alertmanager[] = {
	[SL_AKEY_SINK_URL] = URL, [SL_AKEY_SINK_SEVERITY] = SINK_SEVERITY,
	[SL_AKEY_SINK_TIMEOUT] = TIMEOUT, [SL_AKEY_SINK_QUEUE] = QUEUE("4096"),
	[SL_AKEY_SINK_CA] = CA, [SL_AKEY_SINK_TOKEN] = TOKEN,
	[SL_AKEY_AM_LABELS] = KEY("labels", "a mapping of names to texts", "none"),
	[SL_AKEY_AM_GENERATOR] = KEY("generator", "an http:// or https:// URL", "none"),
	[SL_AKEY_AM_RESEND] = KEY("resend", "a duration from 1s to 1h", "1m"),
};

static const struct sl_key webhook[] = {
	[SL_AKEY_SINK_URL] = URL, [SL_AKEY_SINK_SEVERITY] = SINK_SEVERITY,
	[SL_AKEY_SINK_TIMEOUT] = TIMEOUT, [SL_AKEY_SINK_QUEUE] = QUEUE("1024"),
	[SL_AKEY_SINK_CA] = CA, [SL_AKEY_SINK_TOKEN] = TOKEN,
	[SL_AKEY_WEBHOOK_SECRET] = KEY("secret", "an absolute path", "none"),
};

static const struct sl_key exec[] = {
	[SL_AKEY_EXEC_COMMAND] = KEY("command", "a list of texts, the first an absolute path",
				     "required"),
	[SL_AKEY_EXEC_SEVERITY] = SINK_SEVERITY,
	[SL_AKEY_EXEC_TIMEOUT] = TIMEOUT, [SL_AKEY_EXEC_QUEUE] = QUEUE("256"),
	[SL_AKEY_EXEC_PARALLEL] = KEY("parallel", "a number from 1 to 64", "4"),
};

static const struct sl_key logs[] = {
	[SL_AKEY_LOG_FILE] = KEY("file", "an absolute path, or - for standard output", "required"),
	[SL_AKEY_LOG_SEVERITY] = SINK_SEVERITY,
};

#define TABLE(id, keys, what, heading) \
	const struct sl_key_table sl_akeys_##id = {what, heading, keys, \
						   sizeof(keys) / sizeof((keys)[0])}

TABLE(top, top, "a file of rules", "Top level");
TABLE(limits, limits, "limits", "`limits`");
TABLE(memory, memory, "memory", "`memory`");
TABLE(rule, rule, "a rule", "A rule");
TABLE(period, period, "period", "`period`");
TABLE(sink, sink, "a sink", "A sink");
TABLE(alertmanager, alertmanager, "alertmanager", "`alertmanager`");
TABLE(webhook, webhook, "webhook", "`webhook`");
TABLE(exec, exec, "exec", "`exec`");
TABLE(log, logs, "log", "`log`");

const struct sl_key_table *const sl_akey_tables[] = {
	&sl_akeys_top, &sl_akeys_limits, &sl_akeys_memory, &sl_akeys_rule, &sl_akeys_period,
	&sl_akeys_sink, &sl_akeys_alertmanager, &sl_akeys_webhook, &sl_akeys_exec, &sl_akeys_log,
	NULL,
};
