// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Sinks: their queues, and what they have in common. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alert_text.h"
#include "policy/text.h"
#include "sink_internal.h"

const char *sl_sink_name(const struct sl_sink *sink)
{
	switch (sink->config->kind) {
	case SL_SINK_EXEC:
		return sink->config->command[0];
	case SL_SINK_LOG:
		return sink->config->file;
	default:
		return sink->config->url;
	}
}

void sl_sink_trouble(struct sl_sink *sink, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(sink->trouble, sizeof(sink->trouble), fmt, args);
	va_end(args);
	sink->failed++;
	/* the first, the second, the fourth, ... */
	if (sink->failed & (sink->failed - 1))
		return;
	fputs("sluice alerts: ", stderr);
	sl_put_text(sl_sink_name(sink), stderr);
	fputs(": ", stderr);
	sl_put_text(sink->trouble, stderr);
	fprintf(stderr, " (%zu waiting)\n", sink->n);
}

/* ---- queues ---- */

void sl_sink_pop(struct sl_sink *sink, size_t n)
{
	for (size_t i = 0; i < n; i++)
		json_decref(sink->queue[i].json);
	sink->n -= n;
	sink->under_way -= n < sink->under_way ? n : sink->under_way;
	memmove(sink->queue, sink->queue + n, sink->n * sizeof(*sink->queue));
}

static void drop_one(struct sl_sink *sink)
{
	struct sl_message *at = &sink->queue[sink->under_way];

	json_decref(at->json);
	sink->n--;
	memmove(at, at + 1, (sink->n - sink->under_way) * sizeof(*at));
	sink->dropped++;
	if (!(sink->dropped & (sink->dropped - 1)))
		fprintf(stderr, "sluice alerts: %s: the queue is full: %llu alerts dropped\n",
			sl_sink_name(sink), (unsigned long long)sink->dropped);
}

/* An Alertmanager wants the state of an alert, not its history: the later takes the place
 * of the earlier. */
static bool replace(struct sl_sink *sink, const struct sl_message *message)
{
	if (sink->config->kind != SL_SINK_ALERTMANAGER)
		return false;
	for (size_t i = sink->under_way; i < sink->n; i++) {
		if (strcmp(sink->queue[i].fingerprint, message->fingerprint))
			continue;
		json_decref(sink->queue[i].json);
		sink->queue[i] = *message;
		return true;
	}
	return false;
}

static void enqueue(struct sl_sink *sink, struct sl_message message)
{
	json_incref(message.json);
	if (replace(sink, &message))
		return;
	if (sink->n == sink->config->queue && sink->under_way < sink->n)
		drop_one(sink);
	if (sink->n == sink->config->queue) {
		/* all of a queue of one or a few is under way */
		json_decref(message.json);
		sink->dropped++;
		return;
	}
	sink->queue[sink->n++] = message;
}

void sl_sinks_tell(void *context, const struct sl_alert *alert)
{
	struct sl_sinks *s = context;
	struct sl_message message = {.json = sl_alert_json(alert)};

	if (!message.json) {
		fputs("sluice alerts: out of memory: an alert is lost\n", stderr);
		return;
	}
	memcpy(message.fingerprint, alert->fingerprint, sizeof(message.fingerprint));
	for (size_t i = 0; i < s->n; i++) {
		struct sl_sink *sink = &s->sinks[i];

		if (alert->rule->severity < sink->config->severity ||
		    (alert->resent && sink->config->kind != SL_SINK_ALERTMANAGER))
			continue;
		enqueue(sink, message);
		if (sink->config->kind == SL_SINK_LOG) /* however many are told at once */
			sl_log_run(sink, 0);
	}
	json_decref(message.json);
}

/* ---- all of them ---- */

static int open_sink(struct sl_sink *sink, struct sl_diag *diag)
{
	sink->queue = calloc(sink->config->queue, sizeof(*sink->queue));
	if (!sink->queue)
		return -ENOMEM;
	switch (sink->config->kind) {
	case SL_SINK_EXEC:
		sink->run = sl_exec_run;
		return sl_exec_open(sink);
	case SL_SINK_LOG:
		sink->run = sl_log_run;
		return 0;
	default:
		sink->run = sl_alert_http_run;
		return sl_http_open(sink, diag);
	}
}

int sl_sinks_open(const struct sl_alerts_config *config, struct sl_sinks **out,
		  struct sl_diag *diag)
{
	struct sl_sinks *s = calloc(1, sizeof(*s));
	int err = s && !curl_global_init(CURL_GLOBAL_DEFAULT) ? 0 : -ENOMEM;

	if (!err) {
		s->multi = curl_multi_init();
		s->sinks = calloc(config->n_sinks + 1, sizeof(*s->sinks));
		err = s->multi && s->sinks ? 0 : -ENOMEM;
	}
	for (size_t i = 0; !err && i < config->n_sinks; i++) {
		s->sinks[i].config = &config->sinks[i];
		s->sinks[i].multi = s->multi;
		s->n++;
		err = open_sink(&s->sinks[i], diag);
	}
	if (err)
		sl_sinks_free(s);
	else
		*out = s;
	return err;
}

void sl_sinks_free(struct sl_sinks *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++) {
		sl_http_close(&s->sinks[i]);
		sl_exec_close(&s->sinks[i]);
		s->sinks[i].under_way = 0;
		sl_sink_pop(&s->sinks[i], s->sinks[i].n);
		free(s->sinks[i].queue);
	}
	if (s->multi)
		curl_multi_cleanup(s->multi);
	free(s->sinks);
	free(s);
	curl_global_cleanup();
}

static void take_results(struct sl_sinks *s, __s64 now_ms)
{
	struct CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(s->multi, &left))) {
		if (message->msg != CURLMSG_DONE)
			continue;
		for (size_t i = 0; i < s->n; i++) {
			if (s->sinks[i].easy != message->easy_handle)
				continue;
			sl_http_done(&s->sinks[i], message->data.result, now_ms);
			break;
		}
	}
}

void sl_sinks_run(struct sl_sinks *s, __s64 now_ms)
{
	int running;

	for (size_t i = 0; i < s->n; i++)
		s->sinks[i].run(&s->sinks[i], now_ms);
	curl_multi_perform(s->multi, &running);
	take_results(s, now_ms);
}

void sl_sinks_wait(struct sl_sinks *s, const int *fds, size_t n, int timeout_ms)
{
	struct curl_waitfd wait[SL_SINKS_FDS] = {};
	unsigned n_wait = 0;

	for (size_t i = 0; i < n && n_wait < SL_SINKS_FDS; i++)
		if (fds[i] >= 0)
			wait[n_wait++] = (struct curl_waitfd){.fd = fds[i],
							      .events = CURL_WAIT_POLLIN};
	curl_multi_poll(s->multi, wait, n_wait, timeout_ms, NULL);
}

size_t sl_sinks_pending(const struct sl_sinks *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += s->sinks[i].n + sl_exec_running(&s->sinks[i]);
	return n;
}

__s64 sl_sinks_resend_s(const struct sl_sinks *s)
{
	__s64 least = 0;

	for (size_t i = 0; i < s->n; i++) {
		const struct sl_alert_sink_config *config = s->sinks[i].config;

		if (config->kind == SL_SINK_ALERTMANAGER && (!least || config->resend_s < least))
			least = config->resend_s;
	}
	return least;
}

void sl_sinks_print(const struct sl_sinks *s, FILE *out)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct sl_sink *sink = &s->sinks[i];

		fputs("sluice alerts: ", out);
		sl_put_text(sl_sink_name(sink), out);
		fprintf(out, ": %llu sent, %llu failed, %llu dropped, %zu waiting\n",
			(unsigned long long)sink->sent, (unsigned long long)sink->failed,
			(unsigned long long)sink->dropped, sink->n);
	}
}
