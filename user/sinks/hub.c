// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The hub: numbers, renders once, and hands on. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "internal.h"

#define FIRST_MS 300		/* for all sinks to be opened the first time */
#define GONE_MS 300		/* for those to flush that are no more */

struct sl_sinks {
	struct sl_clock clock;
	char stream[17];
	struct sl_sink **sinks;		/* owned */
	size_t n;
	__u64 next;
	bool begun;
};

struct sl_sinks *sl_sinks_new(sl_sink_clock clock, void *context)
{
	struct sl_sinks *h = calloc(1, sizeof(*h));
	__u64 id;

	if (!h)
		return NULL;
	h->clock = (struct sl_clock){.now = clock, .context = context};
	/* the numbers begin anew with each process: this tells their streams apart */
	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		id = (__u64)sl_clock_ns(&h->clock);
	snprintf(h->stream, sizeof(h->stream), "%016llx", (unsigned long long)id);
	return h;
}

const char *sl_sinks_time(const struct sl_sinks *h, char buf[40])
{
	return sl_time_text(sl_clock_ns(&h->clock), buf);
}

__u64 sl_sinks_next(const struct sl_sinks *h)
{
	return h->next;
}

size_t sl_sinks_count(const struct sl_sinks *h)
{
	return h->n;
}

void sl_sinks_stats(const struct sl_sinks *h, size_t which, struct sl_sink_stats *out)
{
	struct sl_sink *s = h->sinks[which];

	pthread_mutex_lock(&s->lock);
	*out = s->stats;
	out->queued = sl_queue_records(&s->queue);
	pthread_mutex_unlock(&s->lock);
}

/* ---- records ---- */

/* To all sinks; rendered once for each variant. One that cannot be rendered (no memory,
 * too long) is a gap. */
static void hand_out(struct sl_sinks *h, json_t *record, enum sl_sink_level level)
{
	struct sl_line *lines[SL_VARIANTS] = {}, *gap = NULL;
	__u64 seq = h->next++;

	for (size_t i = 0; i < h->n; i++) {
		struct sl_line **line = &lines[h->sinks[i]->variant];

		if (!*line && record)
			*line = sl_render(h->sinks[i]->variant, record, seq, level);
		if (!*line && !gap)
			gap = sl_line_gap(seq, seq);
		if (*line || gap)
			sl_sink_put(h->sinks[i], *line ? *line : gap);
	}
	for (size_t i = 0; i < SL_VARIANTS; i++)
		sl_line_drop(lines[i]);
	sl_line_drop(gap);
}

void sl_sinks_put(struct sl_sinks *h, json_t *record, enum sl_sink_level level)
{
	if (!json_is_object(record) ||
	    json_object_set_new(record, "seq", json_integer((json_int_t)h->next))) {
		json_decref(record);
		record = NULL;
	}
	hand_out(h, record, level);
	json_decref(record);
}

static enum sl_sink_level level_of(const struct sl_event *event)
{
	switch (event->verdict) {
	case SL_EV_DENY: return SL_LEVEL_WARNING;
	case SL_EV_ALLOW: return SL_LEVEL_INFO;
	}
	return SL_LEVEL_NOTICE;
}

void sl_sinks_put_event(struct sl_sinks *h, const struct sl_audit_names *names,
			const struct sl_event *event, __u64 count)
{
	json_t *record = h->n ? sl_event_json(names, event, count, h->next) : NULL;

	hand_out(h, record, level_of(event));
	json_decref(record);
}

static void put_begin(struct sl_sinks *h)
{
	char now[40];

	sl_sinks_put(h, json_pack("{s:s, s:I, s:s, s:s, s:s}", "time", sl_sinks_time(h, now), "seq",
				  (json_int_t)h->next, "event", "begin", "stream", h->stream,
				  "version", SLUICE_VERSION), SL_LEVEL_NOTICE);
	h->begun = true;
}

static void put_end(struct sl_sinks *h)
{
	char now[40];

	sl_sinks_put(h, json_pack("{s:s, s:I, s:s, s:s}", "time", sl_sinks_time(h, now), "seq",
				  (json_int_t)h->next, "event", "end", "stream", h->stream),
		     SL_LEVEL_NOTICE);
}

/* ---- which sinks there are ---- */

static bool same_config(const struct sl_sink_config *a, const struct sl_sink_config *b)
{
	return !strcmp(a->spec, b->spec) && a->kind == b->kind && a->format == b->format &&
	       a->queue == b->queue && a->rotate_bytes == b->rotate_bytes &&
	       a->rotate_s == b->rotate_s && a->keep == b->keep && a->mode == b->mode &&
	       a->group == b->group && a->consumers == b->consumers && a->facility == b->facility;
}

static struct sl_sink *find(struct sl_sinks *h, const struct sl_sink_config *config)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->sinks[i] && same_config(&h->sinks[i]->config, config))
			return h->sinks[i];
	return NULL;
}

static bool holds(struct sl_sink **list, size_t n, const struct sl_sink *sink)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == sink)
			return true;
	return false;
}

/* All those of list that are not in others. */
static __u64 stop_all(struct sl_sink **list, size_t n, struct sl_sink **others, size_t n_others,
		      unsigned wait_ms)
{
	__u64 deadline = sl_monotonic_ms() + wait_ms, left = 0;

	for (size_t i = 0; i < n; i++)
		if (list[i] && !holds(others, n_others, list[i]))
			sl_sink_stop(list[i], deadline);
	for (size_t i = 0; i < n; i++)
		if (list[i] && !holds(others, n_others, list[i]))
			left += sl_sink_join(list[i]);
	return left;
}

/* A reader of one that was not there must learn which stream it reads. */
static bool has_new(struct sl_sink **now, size_t n, struct sl_sink **before, size_t n_before)
{
	for (size_t i = 0; i < n; i++)
		if (!holds(before, n_before, now[i]))
			return true;
	return false;
}

static void tell_of(struct sl_sink **sinks, size_t n, bool strict, struct sl_diag *diag)
{
	__u64 until = sl_monotonic_ms() + FIRST_MS;
	char why[160];

	for (size_t i = 0; i < n; i++) {
		if (!sl_sink_first(sinks[i], until, why))
			continue;
		if (strict)
			sl_error(diag, NULL, "sink %s: %s: make its directory, or start what listens "
				 "there, or leave this sink out", sinks[i]->config.spec, why);
		else
			sl_warn(diag, NULL, "sink %s: %s; its records wait, and it is tried again",
				sinks[i]->config.spec, why);
	}
}

int sl_sinks_set(struct sl_sinks *h, const struct sl_sink_config *configs, size_t n, bool strict,
		 struct sl_diag *diag)
{
	struct sl_sink **now = calloc(n + 1, sizeof(*now)), **before = h->sinks;
	size_t n_before = h->n;
	int err = now ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < n; i++) {
		now[i] = find(h, &configs[i]);
		if (now[i] && holds(now, i, now[i]))
			now[i] = NULL;	/* written twice: two sinks */
		if (!now[i])
			now[i] = sl_sink_start(&configs[i], &h->clock, h->stream, &err);
	}
	if (err) {
		stop_all(now, now ? n : 0, before, n_before, 0);
		free(now);
		sl_error(diag, NULL, "the audit sinks cannot be started: %s", strerror(-err));
		return err;
	}
	h->sinks = now;
	h->n = n;
	if (has_new(now, n, before, n_before))
		put_begin(h);
	stop_all(before, n_before, now, n, GONE_MS);
	free(before);
	tell_of(now, n, strict, diag);
	return 0;
}

void sl_sinks_reopen(struct sl_sinks *h)
{
	for (size_t i = 0; i < h->n; i++) {
		pthread_mutex_lock(&h->sinks[i]->lock);
		h->sinks[i]->reopen = true;
		pthread_mutex_unlock(&h->sinks[i]->lock);
		sl_sink_wake(h->sinks[i]);
	}
}

__u64 sl_sinks_close(struct sl_sinks *h, unsigned wait_ms)
{
	__u64 left;

	if (!h)
		return 0;
	if (h->begun && h->n)
		put_end(h);
	left = stop_all(h->sinks, h->n, NULL, 0, wait_ms);
	free(h->sinks);
	free(h);
	return left;
}
