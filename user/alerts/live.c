// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "live.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "confine.h"
#include "engine.h"
#include "policy/text.h"
#include "sink.h"

#define TICK_MS 1000
#define SAVE_MS 60000
#define LEAVE_MS 5000

struct live {
	const struct sl_alerts_config *config;
	struct sl_source *source;
	struct sl_stream *stream;
	struct sl_alert_engine *engine;
	struct sl_alert_memory *memory;
	struct sl_sinks *sinks;
	const char *memory_path;
	int signals;
	__s64 tick_ms, save_ms, resend_ms, leave_ms;	/* when each is due */
	__u64 faulty_said, evicted_said, missing_said, save_failures;
	char trouble_said[256];
};

static __s64 clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static __s64 now_ms(void)
{
	return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

static void on_record(void *context, struct sl_alert_record *record)
{
	sl_alert_engine_record(((struct live *)context)->engine, record);
}

struct sl_alert_memory *sl_alerts_memory(const struct sl_alerts_config *config, const char *path)
{
	struct sl_alert_memory *memory;
	char bad[PATH_MAX];
	int err;

	memory = sl_alert_memory_new(config->memory_entries, config->groups,
				     config->forget_s * 1000000000ll);
	err = memory && path ? sl_alert_memory_load(memory, path) : 0;
	if (!err)
		return memory;
	snprintf(bad, sizeof(bad), "%s.bad", path);
	fprintf(stderr, "sluice alerts: %s: %s; beginning with nothing remembered%s\n", path,
		err == -EINVAL ? "not a memory of this program, or half of one" : strerror(-err),
		err == -EINVAL && !rename(path, bad) ? ", it is FILE.bad now" : "");
	return memory;
}

/* ---- once a second ---- */

static void say(struct live *l)
{
	const struct sl_stream_stats *stream = sl_stream_stats(l->stream);
	const struct sl_source_stats *source = sl_source_stats(l->source);
	struct sl_alert_stats engine;

	sl_alert_engine_stats(l->engine, &engine);
	if (stream->faulty >= 2 * l->faulty_said + 1) {
		fprintf(stderr, "sluice alerts: %llu line%s without a record; line %llu: ",
			(unsigned long long)stream->faulty, SL_S(stream->faulty),
			(unsigned long long)stream->fault_line);
		sl_put_text(stream->fault, stderr);
		putc('\n', stderr);
		l->faulty_said = stream->faulty;
	}
	if (stream->missing >= 2 * l->missing_said + 1) {
		fprintf(stderr, "sluice alerts: %llu record%s missing in the stream\n",
			(unsigned long long)stream->missing, SL_S(stream->missing));
		l->missing_said = stream->missing;
	}
	if (engine.evicted >= 2 * l->evicted_said + 1) {
		fprintf(stderr, "sluice alerts: more groups than limits: groups (%llu): %llu were "
			"dropped\n", (unsigned long long)l->config->groups,
			(unsigned long long)engine.evicted);
		l->evicted_said = engine.evicted;
	}
	if (strcmp(source->trouble, l->trouble_said)) {
		snprintf(l->trouble_said, sizeof(l->trouble_said), "%s", source->trouble);
		fprintf(stderr, "sluice alerts: %s\n",
			source->trouble[0] ? source->trouble : "connected");
	}
}

static void save(struct live *l)
{
	int err = l->memory_path ? sl_alert_memory_save(l->memory, l->memory_path) : 0;

	if (err && !(l->save_failures & (l->save_failures + 1)))
		fprintf(stderr, "sluice alerts: cannot save %s: %s\n", l->memory_path,
			strerror(-err));
	l->save_failures = err ? l->save_failures + 1 : 0;
}

static void tick(struct live *l, __s64 now)
{
	__s64 resend = sl_sinks_resend_s(l->sinks) * 1000;

	if (now < l->tick_ms)
		return;
	l->tick_ms = now + TICK_MS;
	sl_alert_engine_tick(l->engine, clock_ns(CLOCK_REALTIME));
	if (resend && now >= l->resend_ms) {
		sl_alert_engine_open(l->engine, sl_sinks_tell, l->sinks);
		l->resend_ms = now + resend;
	}
	if (now >= l->save_ms) {
		save(l);
		l->save_ms = now + SAVE_MS;
	}
	say(l);
}

/* ---- the loop ---- */

static int block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGCHLD);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* True if we are asked to go. A child that ended has woken us, that is all. */
static bool is_told_to_end(const struct live *l)
{
	struct signalfd_siginfo info;
	bool end = false;

	while (read(l->signals, &info, sizeof(info)) == sizeof(info))
		end |= info.ssi_signo != SIGCHLD;
	return end;
}

static int loop(struct live *l)
{
	bool leaving = false;
	int more = 0;

	for (;;) {
		__s64 now = now_ms();

		if (!leaving)
			more = sl_source_read(l->source, l->stream, now);
		if (more < 0 && more != -EPIPE)
			return more;
		tick(l, now);
		sl_sinks_run(l->sinks, now);
		if (!leaving && (more == -EPIPE || is_told_to_end(l))) {
			leaving = true;
			l->leave_ms = now + LEAVE_MS;
		}
		if (leaving && (!sl_sinks_pending(l->sinks) || now >= l->leave_ms))
			return 0;
		sl_sinks_wait(l->sinks,
			      (int[]){l->signals, leaving ? -1 : sl_source_fd(l->source)}, 2,
			      more > 0 ? 0 : leaving ? 50 : 250);
		if (leaving)
			is_told_to_end(l);	/* empties it: children */
	}
}

static int start(struct live *l, struct sl_diag *diag)
{
	bool may_exec = false;
	int err;

	for (size_t i = 0; i < l->config->n_sinks; i++)
		may_exec |= l->config->sinks[i].kind == SL_SINK_EXEC;
	err = sl_sinks_open(l->config, &l->sinks, diag);
	if (err)
		return err;
	l->memory = sl_alerts_memory(l->config, l->memory_path);
	l->engine = l->memory ? sl_alert_engine_new(l->config, l->memory, sl_sinks_tell, l->sinks)
			      : NULL;
	l->stream = sl_stream_new(true, on_record, l);
	if (!l->engine || !l->stream)
		return -ENOMEM;
	l->signals = block_signals();
	if (l->signals < 0)
		return -errno;
	err = sl_alerts_confine(may_exec);
	if (err)
		sl_error(diag, NULL, "cannot give up privileges: %s", strerror(-err));
	return err;
}

int sl_alerts_live(const struct sl_alerts_config *config, struct sl_source *source,
		   const char *memory_path, struct sl_diag *diag)
{
	struct live l = {.config = config, .source = source, .memory_path = memory_path,
			 .signals = -1};
	int err = start(&l, diag);

	if (!err) {
		l.save_ms = now_ms() + SAVE_MS;
		fputs("sluice alerts: ready\n", stderr);
		err = loop(&l);
		say(&l);
		save(&l);
		sl_sinks_print(l.sinks, stderr);
	}
	sl_source_free(source);
	sl_alert_engine_free(l.engine);
	sl_alert_memory_free(l.memory);
	sl_stream_free(l.stream);
	sl_sinks_free(l.sinks);
	if (l.signals >= 0)
		close(l.signals);
	return err;
}
