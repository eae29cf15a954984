// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Any bytes as rules of alerts and records: up to the first NUL a file of rules, behind it
 * the records. What is told must be one line of ASCII each, and memory within the bounds.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alerts/alert_text.h"
#include "alerts/engine.h"
#include "alerts/stream.h"

#define SECOND 1000000000ll

static void on_alert(void *context, const struct sl_alert *alert)
{
	char *line = sl_alert_line(alert);
	FILE *null = context;

	for (const char *at = line; at && *at; at++)
		if (*at < 0x20 || *at >= 0x7f)
			abort();
	if (alert->value && alert->end_ns < alert->start_ns)
		abort();
	sl_alert_print(alert, null);
	free(line);
}

static void on_record(void *engine, struct sl_alert_record *record)
{
	sl_alert_engine_record(engine, record);
}

static void run(const struct sl_alerts_config *config, const char *bytes, size_t n)
{
	static FILE *null;
	struct sl_alert_memory *memory = sl_alert_memory_new(
		config->memory_entries, config->groups, config->forget_s * SECOND);
	struct sl_alert_engine *engine;
	struct sl_alert_stats stats;
	struct sl_stream *stream;

	if (!null)
		null = fopen("/dev/null", "w");
	engine = sl_alert_engine_new(config, memory, on_alert, null);
	stream = sl_stream_new(false, on_record, engine);
	sl_stream_bytes(stream, bytes, n);
	sl_stream_cut(stream);
	sl_alert_engine_stats(engine, &stats);
	if (stats.groups > config->groups || stats.open > stats.groups)
		abort();
	sl_stream_free(stream);
	sl_alert_engine_free(engine);
	sl_alert_memory_free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	size_t len = strnlen(text, size);
	struct sl_alerts_config config;
	struct sl_diag diag = {};

	if (!sl_alerts_config_parse(text, len, "fuzz", &config, &diag)) {
		if (len < size)
			run(&config, text + len + 1, size - len - 1);
		sl_alerts_config_free(&config);
	} else if (!diag.n_errors) {
		abort();
	}
	sl_diag_free(&diag);
	return 0;
}
