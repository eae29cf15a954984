// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Audit sinks, as a test drives them. sinks_feed SPEC...: opens them, then obeys lines of
 * standard input and answers each with a line of JSON on standard error:
 *
 *   put N [NAME]    N denied connections to 192.0.2.1:443 (NAME: a question's name, hex)
 *   raw JSON        this record
 *   set SPEC...     these sinks from now on
 *   clock SECONDS   the wall clock is off by so much
 *   files N         no more than N descriptors may be open (RLIMIT_NOFILE)
 *   reopen, stats
 *   close           flush and end; so does the end of the input
 */
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include "sinks/sink.h"

static _Atomic long long clock_off_s;

static __s64 now(void *context)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (ts.tv_sec + clock_off_s) * 1000000000ll + ts.tv_nsec;
}

static void answer(json_t *j)
{
	json_dumpf(j, stderr, JSON_COMPACT);
	fputc('\n', stderr);
	json_decref(j);
}

static int set(struct sl_sinks *sinks, char **specs, int n)
{
	struct sl_sink_config *configs = calloc((size_t)n + 1, sizeof(*configs));
	struct sl_diag diag = {};
	int err = configs ? 0 : -1, i, parsed = 0;

	for (i = 0; !err && i < n; i++, parsed += !err)
		err = sl_sink_parse(specs[i], NULL, &configs[i], &diag);
	if (!err)
		err = sl_sinks_set(sinks, configs, (size_t)n, false, &diag);
	answer(json_pack("{s:s, s:i, s:s?}", "done", "set", "error", err, "said",
			 diag.n ? diag.entries[0].message : NULL));
	while (parsed)
		sl_sink_config_free(&configs[--parsed]);
	free(configs);
	sl_diag_free(&diag);
	return err;
}

static void set_words(struct sl_sinks *sinks, char *line)
{
	char *words[64], *word;
	int n = 0;

	while ((word = strsep(&line, " ")) && n < 64)
		if (*word)
			words[n++] = word;
	set(sinks, words, n);
}

static void put(struct sl_sinks *sinks, const char *line)
{
	struct sl_audit_names names = {
		.policy = "feed", .target_kind = "device", .target = "vnet0"};
	struct sl_named_event e = {
		.event = {.destination = {192, 0, 2, 1},
			  .destination_port = 443,
			  .family = 4,
			  .protocol = 6,
			  .verdict = SL_DENY,
			  .reason = SL_REASON_DEFAULT,
			  .hook = 0,
			  .rule = SL_NONE,
			  .direction = SL_EGRESS,
			  .pid = 42,
			  .flags = SL_EVENT_PARSED | SL_EVENT_PORTS | SL_EVENT_PROCESS,
			  .comm = "cu\nrl\"\x1b"}};
	unsigned long n = 0, at;
	unsigned byte;
	char hex[520] = "";

	sscanf(line, "%lu %519s", &n, hex);
	for (at = 0; sscanf(hex + 2 * at, "%2x", &byte) == 1 && at < SL_PATTERN_BYTES; at++)
		e.name[at] = (__u8)byte;	/* reversed, as the kernel writes it */
	if (at) {
		e.characters = (__u16)at;
		e.type = 16;
		e.event.flags |= SL_EVENT_NAMED;
		e.event.reason = SL_REASON_DNS_NAME;
	}
	names.boot_epoch_ns = now(NULL);
	for (at = 0; at < n; at++)
		sl_sinks_put_event(sinks, &names, &e.event, 1);
	answer(json_pack("{s:s, s:I}", "done", "put", "next", (json_int_t)sl_sinks_next(sinks)));
}

static void stats(struct sl_sinks *sinks)
{
	json_t *list = json_array();
	struct sl_sink_stats s;

	for (size_t i = 0; i < sl_sinks_count(sinks); i++) {
		sl_sinks_stats(sinks, i, &s);
		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:s, s:b, s:I}",
				  "spec", s.spec, "kind", s.kind, "written", (json_int_t)s.written,
				  "bytes", (json_int_t)s.bytes, "lost", (json_int_t)s.lost,
				  "errors", (json_int_t)s.errors, "queued", (json_int_t)s.queued,
				  "rotations", (json_int_t)s.rotations, "consumers",
				  (int)s.consumers, "error", s.error, "failing", s.failing, "since",
				  (json_int_t)s.since_s));
	}
	answer(json_pack("{s:s, s:I, s:o}", "done", "stats", "next",
			 (json_int_t)sl_sinks_next(sinks), "sinks", list));
}

static void limit_files(unsigned long n)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = n;
	answer(json_pack("{s:s, s:i}", "done", "files", "error", setrlimit(RLIMIT_NOFILE, &limit)));
}

/* False: to be ended. */
static bool obey(struct sl_sinks *sinks, char *line)
{
	json_t *record;

	line[strcspn(line, "\n")] = 0;
	if (!strncmp(line, "put ", 4)) {
		put(sinks, line + 4);
	} else if (!strncmp(line, "raw ", 4)) {
		record = json_loads(line + 4, 0, NULL);
		sl_sinks_put(sinks, record, SL_LEVEL_NOTICE);
		answer(json_pack("{s:s}", "done", "raw"));
	} else if (!strncmp(line, "set", 3)) {
		set_words(sinks, line + 3);
	} else if (!strncmp(line, "clock ", 6)) {
		clock_off_s = atoll(line + 6);
		answer(json_pack("{s:s}", "done", "clock"));
	} else if (!strncmp(line, "files ", 6)) {
		limit_files(strtoul(line + 6, NULL, 10));
	} else if (!strcmp(line, "reopen")) {
		sl_sinks_reopen(sinks);
		answer(json_pack("{s:s}", "done", "reopen"));
	} else if (!strcmp(line, "stats")) {
		stats(sinks);
	} else {
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct sl_sinks *sinks = sl_sinks_new(now, NULL);
	char *line = NULL;
	size_t size = 0;
	int err;

	signal(SIGPIPE, SIG_IGN);
	err = sinks ? set(sinks, argv + 1, argc - 1) : -1;
	while (!err && getline(&line, &size, stdin) > 0 && obey(sinks, line))
		;
	answer(json_pack("{s:s, s:I}", "done", "close", "left",
			 (json_int_t)sl_sinks_close(sinks, 5000)));
	free(line);
	return err ? 1 : 0;
}
