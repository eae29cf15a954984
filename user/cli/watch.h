/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * `sluice watch`: its options (watch.c), its loop (watch_loop.c), what it tells
 * (watch_tell.c), its sinks and metrics (watch_audit.c). Its devices are
 * user/daemon/devices.h.
 */
#ifndef SLUICE_CLI_WATCH_H
#define SLUICE_CLI_WATCH_H

#include <stdio.h>

#include "audit/aggregate.h"
#include "audit/targets.h"
#include "cli.h"
#include "daemon/devices.h"
#include "daemon/resolv_conf.h"
#include "metrics/metrics.h"
#include "sinks/sink.h"

struct sl_watch_options {
	const char **patterns;		/* owned; the texts are argv's */
	size_t n_patterns;
	const char *log;
	unsigned receive_buffer;	/* bytes, of netlink; 0: the default */
	bool json, verbose;
	struct sl_attach_options attach;
	struct sl_sink_config *sinks;	/* owned */
	size_t n_sinks;
	struct sl_metrics_listen *metrics; /* owned; NULL: none are served */
	bool stdout_taken;		/* by a sink: what became of devices is among its records */
};

struct sl_watch {
	const struct sl_watch_options *options;
	struct sl_devices devices;
	struct sl_resolv_conf resolv_conf;
	struct sl_target_group *group;	/* owned: all devices are of it */
	/* what is told and recorded */
	struct sl_audit_targets *targets;
	struct sl_aggregate *aggregate;	/* NULL: events are not read */
	FILE *log;
	bool log_failed;
	struct sl_sinks *sinks;		/* NULL: none */
	struct sl_metrics_server *server; /* NULL: none */
	struct sl_metrics *metrics;
	struct sl_metrics_targets *metrics_targets;
	__u64 sequence, told;		/* of the next record, and line */
};

/* What a device has whose policy cannot be resolved. */
#define SL_WATCH_ISOLATION "watch-isolated"

/* ---- watch_tell.c ---- */

/* tell: one line on stdout, text or JSON. context: struct sl_watch. */
extern const struct sl_devices_ops sl_watch_ops;

int sl_watch_open_log(struct sl_watch *watch);
void sl_watch_drain(struct sl_watch *watch, bool last);
void sl_watch_close_log(struct sl_watch *watch);

/* ---- watch_audit.c ---- */

/* --sink and --metrics: 0, or the exit status, with the reason in diag. */
int sl_watch_add_sink(struct sl_watch_options *options, const char *spec, struct sl_diag *diag);
int sl_watch_set_metrics(struct sl_watch_options *options, const char *spec, struct sl_diag *diag);
void sl_watch_free_audit_options(struct sl_watch_options *options);

/* 0, or -errno with the reason in diag. */
int sl_watch_open_audit(struct sl_watch *watch, struct sl_diag *diag);
int sl_watch_metrics_fd(const struct sl_watch *watch);	/* -1: none; may change */
void sl_watch_answer_metrics(struct sl_watch *watch);
void sl_watch_close_audit(struct sl_watch *watch);

/* ---- watch_loop.c ---- */

/* The whole of it, to the exit status. */
int sl_watch_run(const struct sl_watch_options *options);

#endif
