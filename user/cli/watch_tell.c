// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What `sluice watch` tells: a line for each change, and the events into the log. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "output.h"
#include "pins.h"
#include "watch.h"

static const char *now_text(char buf[40])
{
	struct sl_audit_names names = {};	/* boot epoch 0: the time itself */
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return sl_event_time(&names, ts.tv_sec * 1000000000ull + ts.tv_nsec, buf);
}

static json_t *line_json(struct sl_watch *watch, const char *change, const struct sl_watched *w,
			 const char *policy, const char *why)
{
	json_t *target = json_pack("{s:s, s:o}", "kind", "device", "name",
				   sl_json_text(w->device.name));
	char time[40];

	return json_pack("{s:s, s:o, s:s, s:s, s:o, s:i, s:o, s:o, s:o}", "time", now_text(time),
			 "seq", sl_json_number(watch->told), "event", "device", "change", change,
			 "target", target, "ifindex", (int)w->device.ifindex, "policy",
			 sl_json_text(policy), "generation",
			 w->generation ? sl_json_number(w->generation) : json_null(), "why",
			 sl_json_text(why));
}

static void line_text(const char *change, const struct sl_watched *w, const char *policy,
		      const char *why)
{
	printf("%s ", change);
	sl_put_text(w->device.name, stdout);
	printf(" (ifindex %u)", w->device.ifindex);
	if (policy)
		printf(": policy %s, generation %llu", policy, (unsigned long long)w->generation);
	if (why) {
		fputs(": ", stdout);
		sl_put_text(why, stdout);
	}
	putchar('\n');
}

static void tell(void *context, const char *change, const struct sl_watched *watched,
		 const char *policy, const char *why)
{
	struct sl_watch *watch = context;

	if (watch->sinks)
		sl_sinks_put(watch->sinks, line_json(watch, change, watched, policy, why),
			     SL_LEVEL_NOTICE);
	if (watch->options->stdout_taken)
		return;
	if (watch->options->json)
		sl_json_print(line_json(watch, change, watched, policy, why));
	else
		line_text(change, watched, policy, why);
	fflush(stdout);
	watch->told++;
}

/* ---- events ---- */

static void write_log(struct sl_watch *watch, const struct sl_audit_names *names,
		      const struct sl_event *event, __u64 count)
{
	json_t *record;

	if (!watch->log)
		return;
	record = sl_event_json(names, event, count, watch->sequence);
	if (!record || json_dumpf(record, watch->log, JSON_COMPACT) ||
	    fputc('\n', watch->log) == EOF || fflush(watch->log))
		watch->log_failed = true;
	json_decref(record);
}

static void write_live(const struct sl_watch *watch, const struct sl_audit_names *names,
		       const struct sl_event *event, __u64 count)
{
	const char *rule = sl_event_rule(names, event);
	char endpoint[SL_ENDPOINT_TEXT];

	if (!watch->options->verbose)
		return;
	fputs("sluice: ", stderr);
	sl_put_text(names->target ? names->target : "?", stderr);
	fprintf(stderr, " %s %s%s  %s", sl_event_word(event),
		event->direction == SL_INGRESS ? "from " : "", sl_event_endpoint(event, endpoint),
		rule ? rule : sl_reason_word(event->reason));
	if (count > 1)
		fprintf(stderr, "  (%llu times)", (unsigned long long)count);
	fputc('\n', stderr);
}

static void on_record(void *context, const struct sl_event *event, __u64 count)
{
	struct sl_watch *watch = context;
	const struct sl_audit_names *names = sl_audit_targets_names(watch->targets, event);

	write_log(watch, names, event, count);
	if (watch->sinks)
		sl_sinks_put_event(watch->sinks, names, event, count);
	write_live(watch, names, event, count);
	watch->sequence++;
}

static void on_event(void *context, const struct sl_event *event)
{
	struct sl_watch *watch = context;

	sl_aggregate_add(watch->aggregate, event);
}

static void drain(void *context)
{
	struct sl_watch *watch = context;

	/* the wall clock may have been set since */
	sl_audit_targets_clock(watch->targets, sl_boot_epoch_ns());
	sl_state_drain(watch->devices.state, on_event, watch);
}

/* Events have one reader: without --log, --sink and -v they are left to `sluice monitor`. */
int sl_watch_open_log(struct sl_watch *watch)
{
	const struct sl_watch_options *o = watch->options;

	if (!o->log && !o->verbose && !o->n_sinks)
		return 0;
	if (sl_pins_claim_events(watch->devices.state))
		return -EBUSY;
	if (o->log) {
		watch->log = fopen(o->log, "ae");
		if (!watch->log) {
			fprintf(stderr, "sluice watch: --log %s: %s\n", o->log, strerror(errno));
			return -EINVAL;
		}
	}
	watch->targets = sl_audit_targets_new(watch->devices.state, sl_boot_epoch_ns());
	watch->aggregate = sl_aggregate_new(on_record, watch);
	if (!watch->targets || !watch->aggregate)
		return -ENOMEM;
	sl_state_on_switched(watch->devices.state, drain, watch);
	return 0;
}

static int reopen(void *context)
{
	struct sl_watch *watch = context;
	struct sl_audit_targets *targets;
	struct sl_state *state;

	sl_watch_drain(watch, true);
	if (sl_pins_open(true, &state))
		return -EINVAL;	/* said */
	if (watch->aggregate && sl_pins_claim_events(state)) {
		sl_state_close(state);
		return -EBUSY;
	}
	targets = sl_audit_targets_new(state, sl_boot_epoch_ns());
	if (!targets) {
		sl_state_close(state);
		return -ENOMEM;
	}
	sl_state_on_switched(watch->devices.state, NULL, NULL);
	sl_audit_targets_free(watch->targets);
	sl_state_close(watch->devices.state);
	watch->targets = targets;
	watch->devices.state = state;
	if (watch->aggregate)
		sl_state_on_switched(state, drain, watch);
	return 0;
}

const struct sl_devices_ops sl_watch_ops = {.tell = tell, .reopen = reopen};

void sl_watch_drain(struct sl_watch *watch, bool last)
{
	if (!watch->aggregate)
		return;
	drain(watch);
	sl_aggregate_flush(watch->aggregate, last ? ~0ull : sl_boot_ns());
}

void sl_watch_close_log(struct sl_watch *watch)
{
	if (watch->log_failed)
		fprintf(stderr, "sluice watch: --log %s: some records could not be written\n",
			watch->options->log);
	if (watch->log)
		fclose(watch->log);
	if (watch->devices.state)
		sl_state_on_switched(watch->devices.state, NULL, NULL);
	sl_aggregate_free(watch->aggregate);
	sl_audit_targets_free(watch->targets);
}
