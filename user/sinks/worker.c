// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The thread of a sink: takes lines from its queue, writes, and tries again. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "internal.h"

#define TICK_MS 1000
#define BACKOFF_MS 100		/* doubled up to: */
#define BACKOFF_MAX_MS 2000

__s64 sl_clock_ns(const struct sl_clock *clock)
{
	struct timespec ts;

	if (clock->now)
		return clock->now(clock->context);
	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

__u64 sl_monotonic_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (__u64)ts.tv_sec * 1000 + (__u64)ts.tv_nsec / 1000000;
}

const char *sl_time_text(__s64 unix_ns, char buf[40])
{
	struct sl_audit_names names = {};	/* boot epoch 0: the time itself */

	return sl_event_time(&names, (__u64)unix_ns, buf);
}

static const struct sl_sink_ops *ops_of(enum sl_sink_kind kind)
{
	switch (kind) {
	case SL_SINK_FILE: return &sl_file_ops;
	case SL_SINK_STDOUT: return &sl_stdout_ops;
	case SL_SINK_JOURNALD: return &sl_journald_ops;
	case SL_SINK_SYSLOG: return &sl_syslog_ops;
	case SL_SINK_UNIX: return &sl_unix_ops;
	}
	return NULL;
}

/* ---- stats ---- */

/* A run of failures of the same cause is one state, since its first. */
static void set_state(struct sl_sink *s, bool failing)
{
	if (s->stats.failing != failing || !s->stats.since_s)
		s->stats.since_s = sl_clock_ns(&s->clock) / 1000000000;
	s->stats.failing = failing;
}

void sl_sink_failed(struct sl_sink *s, const char *what, int err)
{
	char text[64];

	pthread_mutex_lock(&s->lock);
	s->stats.errors++;
	snprintf(s->stats.error, sizeof(s->stats.error), "%s%s%s", what ? what : "",
		 what ? ": " : "", strerror_r(err < 0 ? -err : err, text, sizeof(text)));
	set_state(s, true);
	pthread_mutex_unlock(&s->lock);
}

void sl_sink_count(struct sl_sink *s, const struct sl_line *line)
{
	pthread_mutex_lock(&s->lock);
	s->stats.written += !line->gap;
	s->stats.bytes += line->len;
	pthread_mutex_unlock(&s->lock);
}

/* ---- the caller's side ---- */

void sl_sink_wake(struct sl_sink *s)
{
	__u64 one = 1;

	/* full: it is awake anyway */
	if (write(s->wake, &one, sizeof(one)) < 0)
		return;
}

void sl_sink_put(struct sl_sink *s, struct sl_line *line)
{
	bool wake;

	pthread_mutex_lock(&s->lock);
	wake = !s->queue.n;
	s->stats.lost += sl_queue_push(&s->queue, line);
	pthread_mutex_unlock(&s->lock);
	if (wake)
		sl_sink_wake(s);
}

static void release(struct sl_sink *s)
{
	if (atomic_fetch_sub(&s->users, 1) != 1)
		return;
	sl_queue_free(&s->queue);
	sl_sink_config_free(&s->config);
	pthread_mutex_destroy(&s->lock);
	close(s->wake);
	free(s);
}

int sl_sink_first(struct sl_sink *s, __u64 until_ms, char buf[160])
{
	const struct timespec pause = {.tv_nsec = 2000000};
	bool tried = false;
	int err = 0;

	while (!tried) {
		pthread_mutex_lock(&s->lock);
		tried = s->tried;
		if (tried && s->stats.failing) {
			memcpy(buf, s->stats.error, sizeof(s->stats.error));
			err = -EIO;
		}
		pthread_mutex_unlock(&s->lock);
		if (!tried && sl_monotonic_ms() >= until_ms) {
			strcpy(buf, "it could not be opened in time");
			return -ETIMEDOUT;
		}
		if (!tried)
			nanosleep(&pause, NULL);
	}
	return err;
}

void sl_sink_stop(struct sl_sink *s, __u64 deadline_ms)
{
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	s->deadline_ms = deadline_ms;
	pthread_mutex_unlock(&s->lock);
	sl_sink_wake(s);
}

/* A thread that a device or a pipe holds is left to itself, and frees what it has when
 * it comes back. */
__u64 sl_sink_join(struct sl_sink *s)
{
	__u64 until = s->deadline_ms + 100, left;
	struct timespec ts = {.tv_sec = (time_t)(until / 1000),
			      .tv_nsec = (long)(until % 1000) * 1000000};

	if (pthread_clockjoin_np(s->thread, NULL, CLOCK_MONOTONIC, &ts))
		pthread_detach(s->thread);
	pthread_mutex_lock(&s->lock);
	left = sl_queue_records(&s->queue);
	pthread_mutex_unlock(&s->lock);
	release(s);
	return left;
}

/* ---- the thread's side ---- */

/* A gap says why when it is told, with the sink's last error. */
static struct sl_line *render_gap(struct sl_sink *s, const struct sl_line *gap)
{
	struct sl_line *line;
	char now[40];
	json_t *j;

	j = json_pack("{s:s, s:I, s:s, s:I, s:I, s:s, s:s, s:s}", "time",
		      sl_time_text(sl_clock_ns(&s->clock), now), "seq", (json_int_t)gap->seq,
		      "event", "lost", "first", (json_int_t)gap->first, "count",
		      (json_int_t)(gap->seq - gap->first + 1), "sink", s->stats.spec, "why",
		      *s->stats.error ? s->stats.error : "the queue was full", "stream", s->stream);
	line = j ? sl_render(s->variant, j, gap->seq, SL_LEVEL_ERROR) : NULL;
	json_decref(j);
	if (line) {
		line->gap = true;
		line->first = gap->first;
	}
	return line;
}

/* Holds up to SL_BATCH lines of the front, which stay in the queue until they are out. */
static unsigned take(struct sl_sink *s, struct sl_line *batch[SL_BATCH])
{
	struct sl_line **at, *rendered;
	unsigned n;

	pthread_mutex_lock(&s->lock);
	if (!s->stats.failing)
		sl_queue_settle(&s->queue);
	for (n = 0; n < s->queue.n && n < SL_BATCH; n++) {
		at = sl_queue_at(&s->queue, n);
		if ((*at)->gap && !(*at)->len) {
			rendered = render_gap(s, *at);
			if (!rendered)
				break;
			sl_line_drop(*at);
			*at = rendered;
		}
		batch[n] = sl_line_hold(*at);
	}
	pthread_mutex_unlock(&s->lock);
	return n;
}

static void finish(struct sl_sink *s, struct sl_line *batch[SL_BATCH], unsigned n, unsigned done,
		   int err)
{
	unsigned i;

	pthread_mutex_lock(&s->lock);
	for (i = 0; i < done && s->ops != &sl_unix_ops; i++) {
		s->stats.written += !batch[i]->gap;
		s->stats.bytes += batch[i]->len;
	}
	sl_queue_pop(&s->queue, done);
	if (!err)
		set_state(s, false);
	pthread_mutex_unlock(&s->lock);
	for (i = 0; i < n; i++)
		sl_line_drop(batch[i]);
}

static void retry_later(struct sl_sink *s)
{
	s->backoff_ms = s->backoff_ms ? 2 * s->backoff_ms : BACKOFF_MS;
	if (s->backoff_ms > BACKOFF_MAX_MS)
		s->backoff_ms = BACKOFF_MAX_MS;
	s->retry_ms = sl_monotonic_ms() + s->backoff_ms;
}

/* True if it is ready to write. */
static bool ensure_open(struct sl_sink *s)
{
	int err;

	if (s->opened)
		return true;
	err = s->ops->open(s);
	s->opened = !err;
	if (err) {
		sl_sink_failed(s, s->config.path ? s->config.path : s->config.host, err);
		retry_later(s);
	}
	pthread_mutex_lock(&s->lock);
	if (!err)
		set_state(s, false);
	s->tried = true;
	pthread_mutex_unlock(&s->lock);
	return !err;
}

/* What is there, until nothing is or it fails. */
static void work(struct sl_sink *s)
{
	struct sl_line *batch[SL_BATCH];
	unsigned n, done;
	int err = 0;

	while (!err && ensure_open(s)) {
		n = take(s, batch);
		if (!n)
			return;
		done = 0;
		err = s->ops->write(s, batch, n, &done);
		finish(s, batch, n, done, err);
		if (err) {
			sl_sink_failed(s, s->config.path ? s->config.path : s->config.host, err);
			retry_later(s);
		} else {
			s->backoff_ms = 0;
		}
		if (s->ops->wait && !err)
			s->ops->wait(s, 0);	/* its readers get theirs meanwhile */
	}
}

static void tick(struct sl_sink *s, __u64 now)
{
	int err;

	if (!s->opened || !s->ops->tick || now < s->tick_ms)
		return;
	s->tick_ms = now + TICK_MS;
	err = s->ops->tick(s);
	if (err)
		sl_sink_failed(s, s->config.path, err);
}

static bool is_over(struct sl_sink *s, __u64 now)
{
	bool over;

	pthread_mutex_lock(&s->lock);
	over = s->stopping && (now >= s->deadline_ms || (!s->queue.n && !s->queue.losing));
	pthread_mutex_unlock(&s->lock);
	if (over && now < s->deadline_ms && s->ops->busy && s->ops->busy(s))
		over = false;
	return over;
}

static void wait_for_work(struct sl_sink *s, __u64 now)
{
	struct pollfd p = {.fd = s->wake, .events = POLLIN};
	int timeout = TICK_MS;
	__u64 count;

	if (s->retry_ms > now)
		timeout = (int)(s->retry_ms - now);
	if (timeout > TICK_MS)
		timeout = TICK_MS;
	pthread_mutex_lock(&s->lock);
	if (s->stopping && timeout > 20)
		timeout = 20;
	pthread_mutex_unlock(&s->lock);
	if (s->ops->wait)
		s->ops->wait(s, timeout);
	else
		poll(&p, 1, timeout);
	if (read(s->wake, &count, sizeof(count)) < 0)
		return;	/* nobody woke us */
}

static void *run(void *context)
{
	struct sl_sink *s = context;
	__u64 now = sl_monotonic_ms();
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	while (!is_over(s, now)) {
		if (now >= s->retry_ms)
			work(s);
		tick(s, now);
		now = sl_monotonic_ms();
		if (!is_over(s, now))
			wait_for_work(s, now);
		now = sl_monotonic_ms();
	}
	s->ops->close(s);
	release(s);
	return NULL;
}

static int copy_config(struct sl_sink_config *to, const struct sl_sink_config *from)
{
	*to = *from;
	to->spec = strdup(from->spec);
	to->path = from->path ? strdup(from->path) : NULL;
	to->host = from->host ? strdup(from->host) : NULL;
	if (to->spec && !to->path == !from->path && !to->host == !from->host)
		return 0;
	sl_sink_config_free(to);
	return -ENOMEM;
}

struct sl_sink *sl_sink_start(const struct sl_sink_config *config, const struct sl_clock *clock,
			      const char stream[17], int *err)
{
	struct sl_sink *s = calloc(1, sizeof(*s));
	sigset_t all, before;

	*err = s ? copy_config(&s->config, config) : -ENOMEM;
	if (*err) {
		free(s);
		return NULL;
	}
	s->ops = ops_of(config->kind);
	s->clock = *clock;
	strcpy(s->stream, stream);
	s->variant = sl_variant(s->ops->shape, config->format);
	s->users = 2;
	s->stats.kind = s->ops->kind;
	snprintf(s->stats.spec, sizeof(s->stats.spec), "%s", config->spec);
	pthread_mutex_init(&s->lock, NULL);
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	*err = s->wake < 0 ? -errno : sl_queue_init(&s->queue, config->queue);
	if (!*err) {
		/* signals are the host's */
		sigfillset(&all);
		pthread_sigmask(SIG_BLOCK, &all, &before);
		*err = -pthread_create(&s->thread, NULL, run, s);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	if (*err) {
		s->users = 1;
		release(s);
		return NULL;
	}
	return s;
}
