// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluiced from its start to its end. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "audit/json.h"
#include "daemon.h"
#include "first_look.h"
#include "hand.h"
#include "kernel/expedite.h"
#include "notify.h"
#include "policy/text.h"
#include "server.h"

#define SECOND 1000000000ull
#define TICK_MS 250		    /* the ring is drained at least this often */
#define CHECK_NS (300 * 1000000ull) /* is all still in place? */
#define RECONCILE_NS (60 * SECOND)
#define TURN_NS (250 * 1000000ull) /* of devices, and of cgroups, at a stretch */

/* ---- what is polled ---- */

static void on_signals(void *context, __u32 events)
{
	struct sl_daemon *daemon = context;
	struct signalfd_siginfo info;

	(void)events;
	while (read(daemon->signals.fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			daemon->reload_at_ns = sl_now_ns();
		else if (info.ssi_signo == SIGUSR1)
			sl_sinks_reopen(daemon->sinks);
		else
			daemon->ending = true;
	}
}

static void on_links(void *context, __u32 events)
{
	struct sl_daemon *daemon = context;
	struct sl_links *links = daemon->devices.links;

	(void)events;
	if (sl_links_read(links)) {
		fputs("sluiced: news of network devices cannot be read any more\n", stderr);
		daemon->ending = true; /* and is started again, with a socket that can */
	}
	if (sl_links_overruns(links) != daemon->overruns)
		fputs("sluiced: news of devices was lost; looking at all of them\n", stderr);
	daemon->overruns = sl_links_overruns(links);
	daemon->devices.started |= !sl_links_catching_up(links);
	sl_veths_on_links(daemon);
}

static void on_addresses(void *context, __u32 events)
{
	struct sl_daemon *daemon = context;

	(void)events;
	if (!sl_addresses_read(daemon->addresses.fd))
		return;
	sl_devices_on_change(&daemon->devices);
	sl_cgroups_on_change(&daemon->cgroups);
}

static void on_resolvers(void *context, __u32 events)
{
	struct sl_daemon *daemon = context;

	(void)events;
	if (!sl_resolv_conf_changed(&daemon->resolv_conf))
		return;
	sl_devices_on_change(&daemon->devices);
	sl_cgroups_on_change(&daemon->cgroups);
}

static int add(struct sl_daemon *daemon, struct sl_loop_source *source, int fd,
	       void (*ready)(void *, __u32))
{
	*source = (struct sl_loop_source){.fd = fd, .ready = ready, .context = daemon};
	return fd < 0 ? (fd == -1 ? -errno : fd) : sl_loop_add(daemon->loop, source, EPOLLIN);
}

/* ---- start ---- */

static int open_state(struct sl_daemon *daemon, struct sl_diag *diag)
{
	struct sl_state_options options = {
		.path = daemon->options->state, .create = true, .upgrade = true, .no_wait = true};
	int err = sl_state_open(&options, &daemon->devices.state, diag);

	if (err)
		return err;
	sl_state_unlock(daemon->devices.state);
	sl_veths_find_held(daemon);
	if (sl_state_taken_over(daemon->devices.state, &daemon->from_abi, &daemon->unread))
		fprintf(stderr,
			"sluiced: took %s over from another version (ABI %u; this one's is %u); "
			"unread events of it: %llu\n",
			daemon->options->state, daemon->from_abi, sl_state_abi(),
			(unsigned long long)daemon->unread);
	return 0;
}

static int open_network(struct sl_daemon *daemon)
{
	int err = sl_links_open(0, sl_devices_on_link, &daemon->devices, &daemon->devices.links);

	if (!err)
		err = add(daemon, &daemon->links, sl_links_fd(daemon->devices.links), on_links);
	if (!err)
		err = add(daemon, &daemon->addresses, sl_addresses_open(), on_addresses);
	if (!err)
		err = sl_resolv_conf_open(&daemon->resolv_conf);
	return err ? err : add(daemon, &daemon->resolvers, daemon->resolv_conf.fd, on_resolvers);
}

/* That none can be made is no reason not to enforce. */
static void open_forwarders(struct sl_daemon *daemon)
{
	int err = sl_forwarders_open(&daemon->forwarders, daemon->loop);

	if (err)
		fprintf(stderr, "sluiced: forwarders (dns: {mode: forward}) cannot be started: %s\n",
			strerror(-err));
}

/* Without one sluiced looks itself, which without privileges it may not: then nothing is
 * taken for what it is not. */
static void open_lookout(struct sl_daemon *daemon)
{
	int err = sl_daemon_lookout_open(&daemon->lookout);

	if (err)
		fprintf(stderr, "sluiced: no process of a cgroup can be looked at: %s\n",
			strerror(-err));
	else
		daemon->cgroups.lookout = &daemon->lookout.ops;
}

/* Where it cannot be written all that waits for the kernel takes longer. */
static void open_expedite(void)
{
	int err = sl_expedite_open();

	if (err)
		fprintf(stderr, "sluiced: starts and attachments wait for whole grace periods: "
			SL_EXPEDITE_KNOB ": %s\n", strerror(-err));
}

/* A host without cgroup2 still has devices. */
static void open_cgroups(struct sl_daemon *daemon)
{
	struct sl_diag diag = {};

	if (sl_cgroups_open(&daemon->cgroups, daemon->loop, &diag)) {
		sl_diag_print(&diag, stderr);
		fputs("sluiced: no cgroup is followed\n", stderr);
	}
	sl_diag_free(&diag);
}

/* A descriptor for each client, and no fewer than the administrator allows. */
static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* A configuration that cannot be loaded is no reason to end: what is pinned goes on, the
 * socket says what is wrong, and the file is read again when it changes. */
static int start(struct sl_daemon *daemon, struct sl_diag *diag)
{
	int err;

	daemon->loop = sl_loop_open();
	if (daemon->loop < 0)
		return daemon->loop;
	raise_limits();
	daemon->sinks = sl_sinks_new(NULL, NULL);
	err = daemon->sinks ? sl_control_server_open(daemon, diag) : -ENOMEM;
	if (!err)
		err = add(daemon, &daemon->signals, sl_loop_signals(), on_signals);
	if (!err)
		err = sl_files_open(daemon);
	if (err)
		return err;
	sl_daemon_reload(daemon);
	/* What is forked inherits what there is: little. */
	open_lookout(daemon);
	open_forwarders(daemon);
	err = sl_daemon_serve_metrics(daemon, diag);
	open_expedite();
	if (!err)
		err = open_state(daemon, diag);
	if (!err)
		err = sl_daemon_open_events(daemon, diag);
	if (!err)
		err = sl_control_server_listen(daemon, diag);
	if (!err)
		err = open_network(daemon);
	if (!err)
		open_cgroups(daemon);
	if (!err) {
		sl_pods_make_place(daemon);
		sl_first_look_open(daemon);
		sl_hand_open(daemon);
		sl_hand_restore(daemon);
		sl_runs_open(daemon);
	}
	if (!err && !daemon->options->unconfined)
		err = sl_daemon_harden(diag);
	if (!err) { /* its threads have what is left */
		daemon->sinks_open = true;
		sl_daemon_set_sinks(daemon);
		sl_daemon_record(daemon,
				 json_pack("{s:s, s:s, s:b, s:o, s:o}", "event", "start", "version",
					   SLUICE_VERSION, "ok", daemon->reload.ok, "from_abi",
					   daemon->from_abi ? json_integer(daemon->from_abi)
							    : json_null(),
					   "unread", sl_json_number(daemon->unread)),
				 false);
	}
	return err;
}

/* ---- and on ---- */

static int timeout(const struct sl_daemon *daemon)
{
	int wait = sl_devices_timeout(&daemon->devices);
	int cgroups = sl_cgroups_timeout(&daemon->cgroups), pods = sl_pods_timeout(daemon);
	int veths = sl_veths_timeout(daemon), engines = sl_engines_timeout(daemon);
	__u64 now = sl_now_ns(), left;

	if (wait < 0 || wait > TICK_MS)
		wait = TICK_MS;
	if (engines >= 0 && engines < wait)
		wait = engines;
	if (cgroups >= 0 && cgroups < wait)
		wait = cgroups;
	if (pods >= 0 && pods < wait)
		wait = pods;
	if (veths >= 0 && veths < wait)
		wait = veths;
	if (sl_runs_want_work(daemon) && wait > SL_RUNS_WORK_MS)
		wait = SL_RUNS_WORK_MS;
	if (!daemon->reload_at_ns || daemon->loading)
		return wait;
	left = daemon->reload_at_ns > now ? (daemon->reload_at_ns - now) / 1000000 + 1 : 0;
	return left < (__u64)wait ? (int)left : wait;
}

static void say_ready(struct sl_daemon *daemon)
{
	size_t targets = daemon->config ? daemon->config->n_targets : 0;

	fprintf(stderr, "sluiced: ready; %zu target%s configured, %zu device%s found\n", targets,
		SL_S(targets), daemon->devices.n_devices, SL_S(daemon->devices.n_devices));
	sl_notify("READY=1\nSTATUS=enforcing");
	daemon->ready = true;
}

/* True: there is more to do at once. */
static bool work(struct sl_daemon *daemon)
{
	__u64 now = sl_now_ns(), turn_ns;
	bool more;

	sl_daemon_loading_work(daemon);
	if (now >= daemon->reconcile_at_ns) {
		if (daemon->reconcile_at_ns) {
			if (!daemon->reload.ok)
				sl_daemon_retry(daemon);
			sl_devices_renew_all(&daemon->devices, false);
			sl_cgroups_renew_all(&daemon->cgroups);
			sl_pods_reconcile(daemon);
			sl_engines_reconcile(daemon);
			sl_veths_reconcile(daemon);
		}
		daemon->reconcile_at_ns = now + RECONCILE_NS;
	}
	/* ready: all that was there when we came has its policy */
	turn_ns = daemon->ready ? TURN_NS : ~0ull;
	sl_devices_work(&daemon->devices, turn_ns); /* first: a new one sends */
	sl_pods_work(daemon);
	sl_engines_work(daemon);
	sl_cgroups_work(&daemon->cgroups, daemon->devices.state, turn_ns);
	sl_veths_work(daemon);
	sl_devices_work(&daemon->devices, turn_ns);
	sl_daemon_claim_events(daemon);
	sl_daemon_drain(daemon, false);
	sl_daemon_look(daemon, false);
	more = sl_control_server_work(daemon);
	sl_runs_work(daemon);
	if (daemon->devices.started && !daemon->ready)
		say_ready(daemon);
	return more;
}

static void stop(struct sl_daemon *daemon)
{
	sl_daemon_loading_close(daemon);
	sl_daemon_close_events(daemon);
	sl_daemon_close_sinks(daemon);
	sl_control_server_close(daemon);
	sl_files_close(daemon);
	sl_links_close(daemon->devices.links);
	sl_forwarders_close(&daemon->forwarders);
	sl_daemon_lookout_close(&daemon->lookout);
	sl_runs_close(daemon);
	sl_pods_close(daemon);
	sl_engines_close(daemon);
	free(daemon->held);
	free(daemon->policies);
	sl_cgroups_close(&daemon->cgroups, daemon->loop);
	sl_devices_free(&daemon->devices);
	sl_state_close(daemon->devices.state);
	sl_expedite_close();
	sl_config_free(daemon->config);
	json_decref(daemon->reload.errors);
	if (daemon->addresses.fd >= 0)
		close(daemon->addresses.fd);
	sl_resolv_conf_close(&daemon->resolv_conf);
	if (daemon->signals.fd >= 0)
		close(daemon->signals.fd);
	if (daemon->loop >= 0)
		close(daemon->loop);
}

int sl_daemon_run(const struct sl_daemon_options *options)
{
	struct sl_daemon daemon = {
		.options = options,
		.loop = -1,
		.started_s = time(NULL),
		.signals = {.fd = -1},
		.addresses = {.fd = -1},
		.resolvers = {.fd = -1},
		.resolv_conf = {.fd = -1},
		.ring = {.fd = -1},
		.metrics_wanted = {.fd = -1},
		.forwarders = {.loop = -1, .keeper_fd = -1},
		.lookout = {.fd = -1},
		.devices = {.program = "sluiced",
			    .isolation = SL_DAEMON_ISOLATION,
			    .ops = &sl_daemon_device_ops,
			    .managed = true,
			    .check_ns = CHECK_NS},
		.cgroups = {.isolation = SL_DAEMON_ISOLATION,
			    .ops = &sl_daemon_cgroup_ops,
			    .forwarders = &daemon.forwarders,
			    .source = {.fd = -1}},
		.pods = {.cri_news = {.fd = -1}, .source_news = {.fd = -1}},
	};
	struct sl_diag diag = {};
	int err;

	daemon.devices.context = daemon.cgroups.context = &daemon;
	err = start(&daemon, &diag);
	sl_diag_print(&diag, stderr);
	if (err && !diag.n_errors)
		fprintf(stderr, "sluiced: cannot start: %s\n", strerror(-err));
	sl_diag_free(&diag);
	while (!err && !daemon.ending) {
		bool more = work(&daemon);

		err = sl_loop_turn(daemon.loop, more ? 0 : timeout(&daemon));
	}
	if (!err)
		fputs("sluiced: ends; what is attached stays enforced (`sluice detach` opens)\n",
		      stderr);
	stop(&daemon);
	return err ? 1 : 0;
}

int sl_daemon_check(const struct sl_daemon_options *options)
{
	struct sl_config *config = NULL;
	struct sl_diag diag = {};
	int err = sl_config_load(options->config, options->trust_clock, NULL, NULL, NULL, &config,
				 &diag);

	if (err && !diag.n_errors)
		sl_error(&diag, NULL, "%s: %s", options->config, strerror(-err));
	sl_diag_print(&diag, stderr);
	if (!err)
		printf("%s: ok: %zu target%s, policies from %s\n", options->config,
		       config->n_targets, SL_S(config->n_targets), config->policies);
	sl_config_free(config);
	sl_diag_free(&diag);
	return err ? 1 : 0;
}
