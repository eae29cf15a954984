// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A snapshot as Prometheus' text format. docs/metrics.md lists the families. */
#include <stdlib.h>
#include <string.h>

#include "audit/record.h"
#include "metrics.h"
#include "series.h"

/* A family has one `other` beside its series: they count too. */
#define FAMILIES_MAX 64

struct sl_metrics {
	struct sl_series *series;
	size_t max;
};

struct sl_metrics *sl_metrics_new(size_t max_series)
{
	struct sl_metrics *m = calloc(1, sizeof(*m));
	size_t max = max_series ? max_series : SL_METRICS_SERIES_MAX;

	if (!m)
		return NULL;
	m->max = max > FAMILIES_MAX ? max : FAMILIES_MAX + 1;
	m->series = sl_series_new(m->max - FAMILIES_MAX);
	if (m->series)
		return m;
	free(m);
	return NULL;
}

void sl_metrics_free(struct sl_metrics *m)
{
	if (m)
		sl_series_free(m->series);
	free(m);
}

/* ---- families without labels ---- */

static const char *const none[] = {NULL};

static void put_one(struct sl_series *s, FILE *out, const char *name, enum sl_series_type type,
		    const char *help, __u64 value)
{
	sl_series_family(s, out, name, type, help, none);
	sl_series_add(s, (const char *const[]){NULL}, value);
	sl_series_print(s, out);
}

/* ---- targets ---- */

static const char *const by_target[] = {"kind", "target", NULL};

struct number {
	const char *name, *help;
	size_t offset;		/* in struct sl_metrics_target, of a __u64 */
	enum sl_series_type type;
	bool metered;		/* only of targets whose bytes are counted */
	bool seed;		/* the name is another program's, for guests */
};

#define STAT(field) offsetof(struct sl_metrics_target, stats.field)
#define METER(field) offsetof(struct sl_metrics_target, meter.field)

static const struct number numbers[] = {
	{"agent_network_connection_attempts_total",
	 "Connections that were tried: new flows, and denied attempts.",
	 STAT(decided), SL_COUNTER, false, false},
	{"agent_network_blocked_connections_total",
	 "Connections that were denied.",
	 STAT(denied), SL_COUNTER, false, false},
	{"sluice_allowed_total",
	 "New flows that were allowed.",
	 STAT(allowed), SL_COUNTER, false, false},
	{"sluice_audit_denied_total",
	 "Attempts that the policy denies and audit mode let pass.",
	 STAT(audit_denied), SL_COUNTER, false, false},
	{"sluice_events_submitted_total",
	 "Decisions that the kernel reported as an event.",
	 STAT(submitted), SL_COUNTER, false, false},
	{"sluice_events_suppressed_total",
	 "Decisions without an event: not to be logged, or over the budget.",
	 STAT(suppressed), SL_COUNTER, false, false},
	{"sluice_events_over_budget_total",
	 "Decisions without an event since the target's event budget was used up.",
	 STAT(over_budget), SL_COUNTER, false, false},
	{"sluice_events_lost_total",
	 "Events that the kernel's ring buffer had no room for.",
	 STAT(lost), SL_COUNTER, false, false},
	{"sluice_close_events_total",
	 "Events of flows that are over.",
	 STAT(closes), SL_COUNTER, false, false},
	{"sluice_close_events_lost_total",
	 "Flows that are over without an event: the kernel's ring buffer had no room.",
	 STAT(closes_lost), SL_COUNTER, false, false},
	{"sluice_decisions_uncounted_total",
	 "Decisions that are missing in sluice_decisions_total.",
	 STAT(uncounted), SL_COUNTER, false, false},
	{"sluice_names_unlearned_total",
	 "Addresses of allowed names that there was no room for.",
	 STAT(unlearned), SL_COUNTER, false, false},
	{"sluice_tx_denied_frames_total",
	 "Frames from the workload that were denied.",
	 METER(tx_denied), SL_COUNTER, true, false},
	{"sluice_rx_denied_frames_total",
	 "Frames to the workload that were denied.",
	 METER(rx_denied), SL_COUNTER, true, false},
	{"sluice_target_generation",
	 "The generation of the policy that is in force; 0: none, all is denied.",
	 offsetof(struct sl_metrics_target, generation), SL_GAUGE, false, false},
	{"agent_vm_network_rx_bytes_total",
	 "Bytes that the workload behind a device received.",
	 METER(rx_bytes), SL_COUNTER, true, true},
	{"agent_vm_network_tx_bytes_total",
	 "Bytes that the workload behind a device sent, denied ones too.",
	 METER(tx_bytes), SL_COUNTER, true, true},
	{"agent_vm_network_rx_packets_total",
	 "Frames that the workload behind a device received.",
	 METER(rx_frames), SL_COUNTER, true, true},
	{"agent_vm_network_tx_packets_total",
	 "Frames that the workload behind a device sent, denied ones too.",
	 METER(tx_frames), SL_COUNTER, true, true},
};

static void put_number(struct sl_series *s, FILE *out, const struct number *n,
		       const struct sl_metrics_snapshot *shot)
{
	sl_series_family(s, out, n->name, n->type, n->help, by_target);
	for (size_t i = 0; i < shot->n_targets; i++) {
		const struct sl_metrics_target *t = &shot->targets[i];
		__u64 value;

		if ((n->metered && !t->has_meter) || (n->seed && strcmp(t->kind, "device")))
			continue;
		memcpy(&value, (const char *)t + n->offset, sizeof(value));
		sl_series_add(s, (const char *const[]){t->kind, t->name}, value);
	}
	sl_series_print(s, out);
}

static void put_info(struct sl_series *s, FILE *out, const struct sl_metrics_snapshot *shot)
{
	static const char *const info[] = {"kind", "target", "policy", "mode", NULL};
	const struct sl_metrics_target *t;

	sl_series_family(s, out, "sluice_target_info", SL_GAUGE,
			 "1 for each target: its policy and mode.", info);
	for (size_t i = 0; i < shot->n_targets; i++) {
		t = &shot->targets[i];
		sl_series_add(s, (const char *const[]){t->kind, t->name, t->policy,
						       t->audit ? "audit" : "enforce"}, 1);
	}
	sl_series_print(s, out);
	sl_series_family(s, out, "sluice_target_attached", SL_GAUGE,
			 "1: the target's programs are where they should be.", by_target);
	for (size_t i = 0; i < shot->n_targets; i++) {
		t = &shot->targets[i];
		sl_series_add(s, (const char *const[]){t->kind, t->name}, t->attached);
	}
	sl_series_print(s, out);
}

static void put_hits(struct sl_series *s, FILE *out, const struct sl_metrics_snapshot *shot)
{
	static const char *const labels[] = {"kind", "target", "policy", "rule", "reason", NULL};

	sl_series_family(s, out, "sluice_decisions_total", SL_COUNTER,
			 "Decisions by rule and reason; without a rule none decided.", labels);
	for (size_t i = 0; i < shot->n_targets; i++) {
		const struct sl_metrics_target *t = &shot->targets[i];

		for (size_t k = 0; k < t->n_hits; k++)
			sl_series_add(s, (const char *const[]){t->kind, t->name, t->policy,
				      t->hits[k].rule, sl_reason_word(t->hits[k].reason)},
				      t->hits[k].count);
	}
	sl_series_print(s, out);
}

/* ---- sinks ---- */

struct sink_number {
	const char *name;
	enum sl_series_type type;
	const char *help;
	__u64 (*value)(const struct sl_sink_stats *stats);
	const char *kind;	/* that alone has it; NULL: all */
};

#define VALUE(field) \
	static __u64 sink_##field(const struct sl_sink_stats *s) { return s->field; }
VALUE(written)
VALUE(bytes)
VALUE(lost)
VALUE(errors)
VALUE(queued)
VALUE(rotations)
VALUE(consumers)
VALUE(failing)

static const struct sink_number sink_numbers[] = {
	{"sluice_sink_records_total", SL_COUNTER, "Records that a sink has written.", sink_written,
	 NULL},
	{"sluice_sink_bytes_total", SL_COUNTER, "Bytes that a sink has written.", sink_bytes, NULL},
	{"sluice_sink_lost_total", SL_COUNTER,
	 "Records that a sink, or a reader of it, did not get.", sink_lost, NULL},
	{"sluice_sink_errors_total", SL_COUNTER, "Attempts of a sink that failed.", sink_errors,
	 NULL},
	{"sluice_sink_rotations_total", SL_COUNTER, "Files that a sink has begun anew.",
	 sink_rotations, "file"},
	{"sluice_sink_queued", SL_GAUGE, "Records that wait for a sink.", sink_queued, NULL},
	{"sluice_sink_consumers", SL_GAUGE, "Readers of a unix socket.", sink_consumers, "unix"},
	{"sluice_sink_failing", SL_GAUGE, "1: the sink cannot write now.", sink_failing, NULL},
};

static void put_sinks(struct sl_series *s, FILE *out, const struct sl_metrics_snapshot *shot)
{
	static const char *const labels[] = {"sink", "kind", NULL};
	const struct sink_number *n;

	for (n = sink_numbers; n < sink_numbers + sizeof(sink_numbers) / sizeof(*n); n++) {
		sl_series_family(s, out, n->name, n->type, n->help, labels);
		for (size_t i = 0; i < shot->n_sinks; i++)
			if (!n->kind || !strcmp(n->kind, shot->sinks[i].kind))
				sl_series_add(s, (const char *const[]){shot->sinks[i].spec,
					      shot->sinks[i].kind}, n->value(&shot->sinks[i]));
		sl_series_print(s, out);
	}
}

/* ---- the host ---- */

static void put_pods(struct sl_series *s, FILE *out, const struct sl_metrics_pods *p)
{
	const struct {
		const char *state;
		__u64 n;
	} states[] = {{"judged", p->judged}, {"unknown", p->unknown}, {"refused", p->refused},
		      {"exempt", p->exempt}, {"ending", p->ending}};

	if (!p->known)
		return;
	sl_series_family(s, out, "sluice_pods", SL_GAUGE, "Pods of this node.",
			 (const char *const[]){"state", NULL});
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
		sl_series_add(s, (const char *const[]){states[i].state, NULL}, states[i].n);
	sl_series_print(s, out);
	put_one(s, out, "sluice_pods_ended_total", SL_COUNTER, "Pods whose cgroup was removed.",
		p->ended);
	put_one(s, out, "sluice_pods_drift_total", SL_COUNTER,
		"Differences that the clock found, and that no news had told of.", p->drift);
	put_one(s, out, "sluice_pods_stale", SL_GAUGE,
		"1: what the objects or the runtime say may be out of date.", p->stale);
	put_one(s, out, "sluice_targets_left", SL_GAUGE,
		"Targets of cgroups that nobody follows any more: 0 at rest.", p->left);
}

static void put_config(struct sl_series *s, FILE *out, const struct sl_metrics_config_state *c)
{
	if (!c->known)
		return;
	put_one(s, out, "sluice_config_ok", SL_GAUGE,
		"1: the configuration on disk is the one in force; 0: it is wrong, the one before "
		"goes on.", c->ok);
	put_one(s, out, "sluice_config_reloads_total", SL_COUNTER,
		"Times the configuration was read.", c->reloads);
	put_one(s, out, "sluice_config_reload_failures_total", SL_COUNTER,
		"Times it was wrong.", c->failed);
	put_one(s, out, "sluice_config_loaded_timestamp_seconds", SL_GAUGE,
		"When it was last put in force.", (__u64)c->loaded_s);
}

static void put_all(struct sl_metrics *m, FILE *out, const struct sl_metrics_snapshot *shot)
{
	static const char *const version[] = {"version", NULL};
	struct sl_series *s = m->series;

	sl_series_family(s, out, "sluice_build_info", SL_GAUGE, "1: which version this is.",
			 version);
	sl_series_add(s, &shot->version, 1);
	sl_series_print(s, out);
	put_one(s, out, "sluice_targets", SL_GAUGE, "Targets that are attached.", shot->n_targets);
	put_one(s, out, "sluice_containers_announced_total", SL_COUNTER,
		"Containers that a hook held until they were judged.", shot->containers_announced);
	put_one(s, out, "sluice_containers_unannounced", SL_GAUGE,
		"Targets' containers that run and that no hook announced.",
		shot->containers_unannounced);
	put_one(s, out, "sluice_containers_missed", SL_GAUGE,
		"Targets' containers that run, as their engine says, and whose cgroups were not found.",
		shot->containers_missed);
	put_one(s, out, "sluice_foreign_detaches_total", SL_COUNTER,
		"Programs that somebody took off, and that were put back.", shot->foreign_detaches);
	put_one(s, out, "sluice_records_total", SL_COUNTER, "Audit records that were made.",
		shot->records);
	put_config(s, out, &shot->config);
	put_pods(s, out, &shot->pods);
	sl_metrics_put_kubernetes(s, out, &shot->kubernetes);
	put_sinks(s, out, shot);
	put_info(s, out, shot);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		put_number(s, out, &numbers[i], shot);
	put_hits(s, out, shot);
}

/* Not through the table: they tell about it. */
static void put_self(const struct sl_metrics *m, FILE *out)
{
	fprintf(out, "# HELP sluice_metrics_series Lines of this text, but for the last three.\n"
		"# TYPE sluice_metrics_series gauge\nsluice_metrics_series %zu\n"
		"# HELP sluice_metrics_series_folded Series that are in `other`, or left out.\n"
		"# TYPE sluice_metrics_series_folded gauge\nsluice_metrics_series_folded %zu\n"
		"# HELP sluice_metrics_series_limit More series than this are folded.\n"
		"# TYPE sluice_metrics_series_limit gauge\nsluice_metrics_series_limit %zu\n",
		sl_series_shown(m->series), sl_series_folded(m->series), m->max);
}

char *sl_metrics_text(struct sl_metrics *m, const struct sl_metrics_snapshot *snapshot, size_t *len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, len);
	bool failed;

	if (!out)
		return NULL;
	sl_series_begin(m->series);
	put_all(m, out, snapshot);
	sl_series_end(m->series);
	put_self(m, out);
	failed = fclose(out) || sl_series_failed(m->series);
	if (!failed)
		return text;
	free(text);
	return NULL;
}
