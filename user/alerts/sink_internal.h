/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the files of the sinks share; nothing else includes it. */
#ifndef SLUICE_ALERTS_SINK_INTERNAL_H
#define SLUICE_ALERTS_SINK_INTERNAL_H

#include <curl/curl.h>
#include <jansson.h>

#include "sink.h"

struct sl_message {
	json_t *json;		/* owned: the alert (docs/alerts.md) */
	char fingerprint[SL_FINGERPRINT_TEXT];
};

/* A child of an exec sink. */
struct sl_child {
	pid_t pid;		/* 0: none */
	__s64 until_ms;
	bool killed;
};

struct sl_sink {
	const struct sl_alert_sink_config *config;
	void (*run)(struct sl_sink *sink, __s64 now_ms);
	/* The oldest first; those under way stand before all others. */
	struct sl_message *queue;
	size_t n, under_way;
	__u64 sent, failed, dropped;
	char trouble[256];	/* the last */
	__u64 dropped_said;

	/* HTTP: */
	CURLM *multi;		/* borrowed */
	CURL *easy;
	struct curl_slist *headers, *lasting;
	char *body, *secret, *bearer;
	size_t received;
	bool active;
	unsigned tries;
	__s64 again_ms;

	struct sl_child *children;	/* EXEC: config->parallel of them */
};

struct sl_sinks {
	CURLM *multi;
	struct sl_sink *sinks;
	size_t n;
};

/* sink.c: the first n messages are done with. */
void sl_sink_pop(struct sl_sink *sink, size_t n);
/* Says on stderr what is wrong, at the first time and then ever more seldom. */
void sl_sink_trouble(struct sl_sink *sink, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
const char *sl_sink_name(const struct sl_sink *sink);

/* sink_http.c */
int sl_http_open(struct sl_sink *sink, struct sl_diag *diag);
void sl_http_close(struct sl_sink *sink);
void sl_alert_http_run(struct sl_sink *sink, __s64 now_ms);
/* The transfer of the sink is over. */
void sl_http_done(struct sl_sink *sink, CURLcode code, __s64 now_ms);

/* sink_payload.c: the body of a request, owned, NULL when out of memory. */
char *sl_alertmanager_body(const struct sl_sink *sink, size_t n);

/* sink_exec.c */
int sl_exec_open(struct sl_sink *sink);
void sl_exec_close(struct sl_sink *sink);
void sl_exec_run(struct sl_sink *sink, __s64 now_ms);
size_t sl_exec_running(const struct sl_sink *sink);

/* sink_log.c */
void sl_log_run(struct sl_sink *sink, __s64 now_ms);

#endif
