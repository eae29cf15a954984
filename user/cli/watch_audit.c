// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Audit sinks and metrics of `sluice watch`. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "watch.h"

#define FLUSH_MS 2000	/* at the end */

int sl_watch_add_sink(struct sl_watch_options *o, const char *spec, struct sl_diag *diag)
{
	struct sl_sink_config config, *added;

	if (sl_sink_parse(spec, NULL, &config, diag))
		return SL_EXIT_USAGE;
	if (config.kind == SL_SINK_STDOUT)
		o->stdout_taken = true;
	added = SL_ADD(o->sinks, o->n_sinks);
	if (!added) {
		sl_sink_config_free(&config);
		return SL_EXIT_FAILED;
	}
	*added = config;
	return 0;
}

int sl_watch_set_metrics(struct sl_watch_options *o, const char *spec, struct sl_diag *diag)
{
	if (o->metrics)
		return sl_usage("watch", "--metrics stands twice");
	o->metrics = calloc(1, sizeof(*o->metrics));
	if (!o->metrics)
		return SL_EXIT_FAILED;
	if (!sl_metrics_parse(spec, NULL, o->metrics, diag))
		return 0;
	free(o->metrics);
	o->metrics = NULL;
	return SL_EXIT_USAGE;
}

void sl_watch_free_audit_options(struct sl_watch_options *o)
{
	while (o->n_sinks)
		sl_sink_config_free(&o->sinks[--o->n_sinks]);
	free(o->sinks);
	if (o->metrics)
		sl_metrics_listen_free(o->metrics);
	free(o->metrics);
}

/* A sink that is wrong at the start is a slip of the one who started us; later it is
 * the machine's matter, and is waited for. */
static int open_sinks(struct sl_watch *watch, struct sl_diag *diag)
{
	size_t errors = diag->n_errors;
	int err;

	watch->sinks = sl_sinks_new(NULL, NULL);
	if (!watch->sinks)
		return -ENOMEM;
	err = sl_sinks_set(watch->sinks, watch->options->sinks, watch->options->n_sinks, true,
			   diag);
	if (!err && diag->n_errors != errors)
		err = -EINVAL;
	return err;
}

int sl_watch_open_audit(struct sl_watch *watch, struct sl_diag *diag)
{
	int err = 0;

	/* the child before there are threads */
	if (watch->options->metrics) {
		watch->metrics = sl_metrics_new(0);
		watch->metrics_targets = sl_metrics_targets_new(NULL, NULL);
		if (!watch->metrics || !watch->metrics_targets)
			return -ENOMEM;
		err = sl_metrics_serve(watch->options->metrics, &watch->server, diag);
	}
	if (!err && watch->options->n_sinks)
		err = open_sinks(watch, diag);
	return err;
}

int sl_watch_metrics_fd(const struct sl_watch *watch)
{
	return watch->server ? sl_metrics_fd(watch->server) : -1;
}

static int make_text(struct sl_watch *watch, struct sl_sink_stats *stats, char **text, size_t *len)
{
	struct sl_metrics_snapshot shot = {.version = SLUICE_VERSION, .sinks = stats};
	int err = sl_metrics_collect(watch->metrics_targets, watch->devices.state, &shot);

	if (err)
		return err;
	if (watch->sinks) {
		shot.n_sinks = sl_sinks_count(watch->sinks);
		shot.records = sl_sinks_next(watch->sinks);
	}
	for (size_t i = 0; i < shot.n_sinks; i++)
		sl_sinks_stats(watch->sinks, i, &stats[i]);
	*text = sl_metrics_text(watch->metrics, &shot, len);
	return *text ? 0 : -ENOMEM;
}

/* One that cannot be answered gets a 503 from the child. */
void sl_watch_answer_metrics(struct sl_watch *watch)
{
	struct sl_sink_stats *stats;
	char *text = NULL;
	size_t len;
	int err;

	err = watch->server ? sl_metrics_wanted(watch->server) : 0;
	if (err < 0) {
		fputs("sluice watch: the metrics' server is gone; nobody is served any more\n",
		      stderr);
		sl_metrics_end(watch->server);
		watch->server = NULL;
	}
	if (err <= 0)
		return;
	stats = calloc(watch->options->n_sinks + 1, sizeof(*stats));
	err = stats ? make_text(watch, stats, &text, &len) : -ENOMEM;
	if (!err)
		err = sl_metrics_answer(watch->server, text, len);
	if (err)
		fprintf(stderr, "sluice watch: metrics: %s\n", strerror(-err));
	free(text);
	free(stats);
}

void sl_watch_close_audit(struct sl_watch *watch)
{
	__u64 left = sl_sinks_close(watch->sinks, FLUSH_MS);

	if (left)
		fprintf(stderr, "sluice watch: %llu record%s could not be written to the sinks\n",
			(unsigned long long)left, SL_S(left));
	sl_metrics_end(watch->server);
	sl_metrics_targets_free(watch->metrics_targets);
	sl_metrics_free(watch->metrics);
}
