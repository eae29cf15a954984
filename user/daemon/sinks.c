// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Audit sinks and metrics of sluiced. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "apiserver/api.h"
#include "audit/json.h"
#include "daemon.h"
#include "policy/text.h"

#define FLUSH_MS 2000 /* at the end */

/* ---- sinks ---- */

void sl_daemon_set_sinks(struct sl_daemon *daemon)
{
	struct sl_diag diag = {};
	int err;

	if (!daemon->sinks_open || !daemon->config)
		return;
	err = sl_sinks_set(daemon->sinks, daemon->config->sinks, daemon->config->n_sinks, false,
			   &diag);
	if (err)
		fprintf(stderr, "sluiced: the audit sinks are not changed: %s\n", strerror(-err));
	sl_diag_print(&diag, stderr); /* what cannot write now is tried again for ever */
	sl_diag_free(&diag);
}

static json_t *sink_json(const struct sl_sink_stats *s)
{
	char since[40];

	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:b, s:o, s:s}", "sink",
			 s->spec, "kind", s->kind, "written", sl_json_number(s->written), "bytes",
			 sl_json_number(s->bytes), "lost", sl_json_number(s->lost), "errors",
			 sl_json_number(s->errors), "queued", sl_json_number(s->queued),
			 "rotations", sl_json_number(s->rotations), "consumers", (int)s->consumers,
			 "failing", s->failing, "error",
			 s->error[0] ? sl_json_text(s->error) : json_null(), "since",
			 sl_view_time(s->since_s, since));
}

static void warn_of_metrics(const struct sl_daemon *daemon, json_t *warnings)
{
	if (daemon->metrics_targets && !daemon->metrics_server)
		json_array_append_new(warnings, json_string("metrics: their server is gone; "
							    "sluiced must be restarted"));
	if (daemon->config && daemon->config->has_metrics && !daemon->metrics_targets)
		json_array_append_new(warnings, json_string("metrics: served when sluiced is "
							    "restarted"));
}

json_t *sl_daemon_sinks_json(struct sl_daemon *daemon, json_t *warnings)
{
	size_t n = sl_sinks_count(daemon->sinks);
	json_t *list = json_array();
	struct sl_sink_stats stats;

	for (size_t i = 0; i < n; i++) {
		sl_sinks_stats(daemon->sinks, i, &stats);
		json_array_append_new(list, sink_json(&stats));
		if (stats.failing)
			json_array_append_new(warnings, json_sprintf("sink %s cannot write: %s",
								     stats.spec, stats.error));
		if (stats.lost)
			json_array_append_new(
				warnings,
				json_sprintf(
					"sink %s lost %llu record%s, and its stream says which",
					stats.spec, (unsigned long long)stats.lost,
					SL_S(stats.lost)));
	}
	warn_of_metrics(daemon, warnings);
	return list;
}

/* ---- metrics ---- */

static void read_pods(struct sl_daemon *daemon, struct sl_metrics_pods *out)
{
	const struct sl_pods *p = &daemon->pods;
	size_t counts[SL_POD_STATES];

	if (!p->on)
		return;
	sl_pods_count(daemon, counts);
	*out = (struct sl_metrics_pods){
		.known = true, .judged = counts[SL_POD_JUDGED],
		.unknown = counts[SL_POD_UNKNOWN], .refused = counts[SL_POD_REFUSED],
		.exempt = counts[SL_POD_EXEMPT], .ending = counts[SL_POD_ENDED],
		.left = sl_pods_left(daemon), .ended = p->ended,
		.drift = p->drift + (p->source ? p->source->drift : 0),
		.stale = sl_pods_stale(p),
	};
}

static void read_kubernetes(struct sl_daemon *daemon, struct sl_api_numbers *kinds,
			    struct sl_metrics_kubernetes *out)
{
	const struct sl_kube_source *source = daemon->pods.source;

	if (!source || !daemon->config || !daemon->config->kubernetes.api.present)
		return;
	*out = (struct sl_metrics_kubernetes){
		.known = true, .complete = source->version, .stale_since_s = source->stale_since_s,
		.kinds = kinds, .n_kinds = sl_api_numbers(source, kinds),
		.reasons = sl_api_trouble_words,
	};
}

static int make_text(struct sl_daemon *daemon, struct sl_sink_stats *stats, char **text,
		     size_t *len)
{
	struct sl_metrics_snapshot shot = {
		.version = SLUICE_VERSION,
		.sinks = stats,
		.n_sinks = sl_sinks_count(daemon->sinks),
		.records = sl_sinks_next(daemon->sinks),
		.foreign_detaches = daemon->foreign_changes,
		.containers_announced = daemon->cgroups.announced,
		.containers_unannounced = sl_cgroups_unannounced(&daemon->cgroups),
		.containers_missed = sl_engines_missed(daemon),
		.config = {.known = true,
			   .ok = daemon->reload.ok,
			   .reloads = daemon->reload.reloads,
			   .failed = daemon->reload.failed,
			   .loaded_s = (double)daemon->reload.loaded_s},
	};
	struct sl_api_numbers kinds[SL_API_NUMBERS];
	int err;

	read_pods(daemon, &shot.pods);
	read_kubernetes(daemon, kinds, &shot.kubernetes);
	err = sl_metrics_collect(daemon->metrics_targets, daemon->devices.state, &shot);

	if (err)
		return err;
	for (size_t i = 0; i < shot.n_sinks; i++)
		sl_sinks_stats(daemon->sinks, i, &stats[i]);
	*text = sl_metrics_text(daemon->metrics, &shot, len);
	return *text ? 0 : -ENOMEM;
}

/* One that cannot be answered gets a 503 from the child. */
static void answer(struct sl_daemon *daemon)
{
	struct sl_sink_stats *stats = calloc(sl_sinks_count(daemon->sinks) + 1, sizeof(*stats));
	char *text = NULL;
	size_t len;
	int err = stats ? make_text(daemon, stats, &text, &len) : -ENOMEM;

	if (!err)
		err = sl_metrics_answer(daemon->metrics_server, text, len);
	if (err)
		fprintf(stderr, "sluiced: metrics: %s\n", strerror(-err));
	free(text);
	free(stats);
}

static void on_wanted(void *context, __u32 events)
{
	struct sl_daemon *daemon = context;
	int wanted = sl_metrics_wanted(daemon->metrics_server);

	(void)events;
	if (wanted > 0)
		answer(daemon);
	if (wanted >= 0)
		return;
	fputs("sluiced: the metrics' server is gone; nobody is served any more\n", stderr);
	sl_loop_drop(daemon->loop, &daemon->metrics_wanted);
	sl_metrics_end(daemon->metrics_server);
	daemon->metrics_server = NULL;
}

/* That they cannot be served is no reason not to enforce. */
int sl_daemon_serve_metrics(struct sl_daemon *daemon, struct sl_diag *diag)
{
	if (!daemon->config || !daemon->config->has_metrics)
		return 0;
	daemon->metrics = sl_metrics_new(0);
	daemon->metrics_targets = sl_metrics_targets_new(NULL, NULL);
	if (!daemon->metrics || !daemon->metrics_targets)
		return -ENOMEM;
	if (sl_metrics_serve(&daemon->config->metrics, &daemon->metrics_server, diag)) {
		sl_diag_print(diag, stderr);
		sl_diag_free(diag);
		*diag = (struct sl_diag){};
		return 0;
	}
	daemon->metrics_wanted = (struct sl_loop_source){
		.fd = sl_metrics_fd(daemon->metrics_server), .ready = on_wanted, .context = daemon};
	return sl_loop_add(daemon->loop, &daemon->metrics_wanted, EPOLLIN);
}

void sl_daemon_close_sinks(struct sl_daemon *daemon)
{
	__u64 left = sl_sinks_close(daemon->sinks, FLUSH_MS);

	if (left)
		fprintf(stderr, "sluiced: %llu record%s could not be written to the sinks\n",
			(unsigned long long)left, SL_S(left));
	daemon->sinks = NULL;
	sl_metrics_end(daemon->metrics_server);
	sl_metrics_targets_free(daemon->metrics_targets);
	sl_metrics_free(daemon->metrics);
}
