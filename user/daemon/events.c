// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What the kernel reports, and what becomes of targets: to `monitor` and the sinks. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "audit/json.h"
#include "daemon.h"
#include "first_look.h"
#include "hand.h"
#include "losses.h"
#include "policy/text.h"
#include "server.h"

const char *sl_daemon_time(char buf[40])
{
	struct sl_audit_names names = {}; /* boot epoch 0: the time itself */
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return sl_event_time(&names, ts.tv_sec * 1000000000ull + ts.tv_nsec, buf);
}

void sl_daemon_record(struct sl_daemon *daemon, json_t *record, bool grave)
{
	sl_daemon_record_of(daemon, 0, record, grave);
}

void sl_daemon_record_of(struct sl_daemon *daemon, uid_t owner, json_t *record, bool grave)
{
	char time[40];

	if (!record || !daemon->sinks_open) { /* `start` tells of what was before */
		json_decref(record);
		return;
	}
	json_object_set_new(record, "time", json_string(sl_sinks_time(daemon->sinks, time)));
	json_object_set_new(record, "seq", sl_json_number(sl_sinks_next(daemon->sinks)));
	sl_control_server_publish(daemon->server, owner, record);
	sl_sinks_put(daemon->sinks, record, grave ? SL_LEVEL_WARNING : SL_LEVEL_NOTICE);
}

/* `sluiced: CHANGE NAME`, which stands before, and what there is to know. */
static void say_rest(const char *policy, __u64 generation, const char *why)
{
	if (policy)
		fprintf(stderr, ": policy %s, generation %llu", policy,
			(unsigned long long)generation);
	if (why) {
		fputs(": ", stderr);
		sl_put_text(why, stderr);
	}
	fputc('\n', stderr);
}

/* ---- of devices ---- */

/* `lost` is what somebody else did to what we keep in place: an alert of its own. */
static void tell(void *context, const char *change, const struct sl_watched *w, const char *policy,
		 const char *why)
{
	struct sl_daemon *daemon = context;
	bool lost = !strcmp(change, "lost");
	json_t *target =
		json_pack("{s:s, s:o}", "kind", "device", "name", sl_json_text(w->device.name));

	fprintf(stderr, "sluiced: %s ", change);
	sl_put_text(w->device.name, stderr);
	fprintf(stderr, " (ifindex %u)", w->device.ifindex);
	say_rest(policy, w->generation, why);
	if (w->as.by_hand && !strcmp(change, "gone"))
		sl_hand_forget_device(daemon, w->device.ifindex);
	daemon->foreign_changes += lost;
	sl_daemon_record(daemon,
			 json_pack("{s:s, s:s, s:o, s:i, s:o, s:o, s:o}", "event",
				   lost ? "foreign-change" : "device", "change", change, "target",
				   target, "ifindex", (int)w->device.ifindex, "policy",
				   sl_json_text(policy), "generation",
				   w->generation ? sl_json_number(w->generation) : json_null(),
				   "why", sl_json_text(why)),
			 lost || !strcmp(change, "failed") || !strcmp(change, "isolated"));
}

/* ---- of cgroups ---- */

static void tell_cgroup(void *context, const char *change, const struct sl_watched_cgroup *w,
			const char *policy, const char *why)
{
	struct sl_daemon *daemon = context;
	bool lost = !strcmp(change, "lost");
	char *name;

	if (!strcmp(change, "gone")) {
		sl_first_look_forget(&daemon->cgroups, w->id);
		if (w->as.by_hand)
			sl_hand_forget_cgroup(daemon, w->id);
	}
	if (asprintf(&name, "%s%s", daemon->cgroups.mount, w->path) < 0)
		return;
	fprintf(stderr, "sluiced: %s ", change);
	sl_put_text(w->path, stderr);
	say_rest(policy, w->generation, why);
	daemon->foreign_changes += lost;
	sl_daemon_record(daemon,
			 json_pack("{s:s, s:s, s:{s:s, s:o}, s:o, s:o, s:o, s:o}", "event",
				   lost ? "foreign-change" : "cgroup", "change", change, "target",
				   "kind", "cgroup", "name", sl_json_text(name), "cgroup",
				   sl_json_number(w->id), "policy", sl_json_text(policy),
				   "generation",
				   w->generation ? sl_json_number(w->generation) : json_null(),
				   "why", sl_json_text(why)),
			 lost || !strcmp(change, "failed") || !strcmp(change, "isolated"));
	free(name);
}

/* ---- of the kernel ---- */

static void on_record(void *context, const struct sl_event *event, __u64 count)
{
	struct sl_daemon *daemon = context;
	struct sl_audit_names names = *sl_audit_targets_names(daemon->targets, event);

	names.whose = sl_daemon_whose(daemon, names.cgroup_id, names.ifindex);
	if (sl_control_server_readers(daemon->server))
		sl_control_server_publish_event(daemon->server, sl_runs_owner(daemon, event), &names,
						event, count,
						sl_sinks_next(daemon->sinks));
	sl_sinks_put_event(daemon->sinks, &names, event, count);
	json_decref(names.whose);
}

/* Of a cgroup below the target it would take a privilege to know whose it is. */
static bool is_of_target(void *context, const struct sl_event *event, __u64 cgroup_id)
{
	struct sl_daemon *daemon = context;
	const struct sl_watched_cgroup *w = sl_cgroups_find(&daemon->cgroups, cgroup_id);

	return w && w->slot == event->slot;
}

static void on_event(void *context, const struct sl_event *event)
{
	struct sl_daemon *daemon = context;

	daemon->received++;
	sl_abort_connection(&daemon->abort, event);
	sl_aggregate_add(daemon->aggregate, event);
}

/* While it is known who decided them. */
static void drain(void *context)
{
	struct sl_daemon *daemon = context;

	/* the wall clock may have been set since */
	sl_audit_targets_clock(daemon->targets, sl_boot_epoch_ns());
	if (daemon->ring.fd >= 0)
		sl_state_drain(daemon->devices.state, on_event, daemon);
}

void sl_daemon_drain(struct sl_daemon *daemon, bool last)
{
	drain(daemon);
	sl_aggregate_flush(daemon->aggregate, last ? ~0ull : sl_boot_ns());
}

static void on_ring(void *context, __u32 events)
{
	(void)events;
	sl_daemon_drain(context, false);
}

/* Events have one reader. If that is another process now (`sluice monitor` from before), we
 * become it when that ends. */
static int watch_ring(struct sl_daemon *daemon)
{
	int fd = sl_state_events_fd(daemon->devices.state);

	if (fd == -EBUSY)
		return 0;
	if (fd < 0)
		return fd;
	daemon->ring = (struct sl_loop_source){.fd = fd, .ready = on_ring, .context = daemon};
	return sl_loop_add(daemon->loop, &daemon->ring, EPOLLIN);
}

/* One that has another socket: each would put its own configuration in the place of the other's. */
static int refuse_another(const struct sl_daemon *daemon, struct sl_diag *diag)
{
	int pid = sl_state_events_reader(daemon->devices.state);
	char path[40], comm[20] = "";
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	in = pid && pid != getpid() ? fopen(path, "re") : NULL;
	if (in && !fgets(comm, sizeof(comm), in))
		comm[0] = 0;
	if (in)
		fclose(in);
	if (strcmp(comm, "sluiced\n"))
		return 0;
	return sl_error(diag, NULL,
			"%s: process %d is a sluiced that keeps these pins, with another control "
			"socket: end it, or give this one its own SLUICE_STATE",
			daemon->options->state, pid);
}

void sl_daemon_claim_events(struct sl_daemon *daemon)
{
	if (daemon->ring.fd < 0)
		watch_ring(daemon);
}

static void on_ledger(void *context, json_t *record)
{
	sl_daemon_record(context, record, false);
}

void sl_daemon_look(struct sl_daemon *daemon, bool last)
{
	__s64 meter_s = daemon->config ? daemon->config->meter_s : SL_CONFIG_METER_S;

	if (daemon->ledger)
		sl_ledger_look(daemon->ledger, daemon->devices.state, meter_s, last);
}

static void on_end(void *context, const struct sl_state *state, __u32 slot)
{
	struct sl_daemon *daemon = context;

	drain(daemon);
	sl_pods_end(daemon, state, slot);
	sl_ledger_end(daemon->ledger, state, slot);
}

/* The last moments of a target, and of a generation. */
static void hear(struct sl_daemon *daemon, struct sl_state *state)
{
	sl_state_on_end(state, on_end, daemon);
	sl_state_on_switched(state, drain, daemon);
}

int sl_daemon_open_events(struct sl_daemon *daemon, struct sl_diag *diag)
{
	int err = refuse_another(daemon, diag);

	if (err)
		return err;
	sl_abort_open(&daemon->abort, is_of_target, daemon);
	daemon->losses = sl_losses_path(daemon->options->socket);
	daemon->ledger = daemon->losses ? sl_ledger_new(daemon->losses, on_ledger, daemon) : NULL;
	if (!daemon->ledger)
		return -ENOMEM;
	daemon->targets = sl_audit_targets_new(daemon->devices.state, sl_boot_epoch_ns());
	daemon->aggregate = sl_aggregate_new(on_record, daemon);
	if (!daemon->targets || !daemon->aggregate)
		return -ENOMEM;
	hear(daemon, daemon->devices.state);
	return watch_ring(daemon);
}

void sl_daemon_close_events(struct sl_daemon *daemon)
{
	if (daemon->aggregate)
		sl_daemon_drain(daemon, true);
	sl_daemon_look(daemon, true);
	if (daemon->devices.state) {
		sl_state_on_end(daemon->devices.state, NULL, NULL);
		sl_state_on_switched(daemon->devices.state, NULL, NULL);
	}
	sl_abort_close(&daemon->abort);
	sl_ledger_free(daemon->ledger);
	free(daemon->losses);
	sl_aggregate_free(daemon->aggregate);
	sl_audit_targets_free(daemon->targets);
}

/* Somebody removed the pins: what they held goes on until then, and then nothing judges. A
 * new state is made and every device gets its policy anew. */
static int reopen(void *context)
{
	struct sl_daemon *daemon = context;
	struct sl_state_options options = {
		.path = daemon->options->state, .create = true, .no_wait = true};
	struct sl_audit_targets *targets;
	struct sl_diag diag = {};
	struct sl_state *state;
	int err = sl_state_open(&options, &state, &diag);

	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	if (err)
		return err;
	targets = sl_audit_targets_new(state, sl_boot_epoch_ns());
	if (!targets) {
		sl_state_close(state);
		return -ENOMEM;
	}
	sl_daemon_drain(daemon, true);
	sl_loop_drop(daemon->loop, &daemon->ring);
	daemon->ring.fd = -1;
	sl_state_on_end(daemon->devices.state, NULL, NULL);
	sl_state_on_switched(daemon->devices.state, NULL, NULL);
	sl_audit_targets_free(daemon->targets);
	sl_state_close(daemon->devices.state);
	daemon->targets = targets;
	daemon->devices.state = state;
	hear(daemon, state);
	return watch_ring(daemon);
}

const struct sl_devices_ops sl_daemon_device_ops = {.tell = tell, .reopen = reopen};

static int lock(void *context, struct sl_state **state)
{
	struct sl_daemon *daemon = context;
	struct sl_diag diag = {};
	int err = sl_state_relock(daemon->devices.state, &diag);

	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	if (err == -ESTALE)
		err = reopen(daemon);
	*state = daemon->devices.state;
	return err;
}

const struct sl_cgroups_ops sl_daemon_cgroup_ops = {.tell = tell_cgroup, .lock = lock};
