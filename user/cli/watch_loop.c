// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* `sluice watch` from its start to its end. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "daemon/loop.h"
#include "kernel/expedite.h"
#include "output.h"
#include "pins.h"
#include "watch.h"

#define DRAIN_MS 250
#define CHECK_NS (5 * 1000000000ull)

enum { POLL_SIGNAL, POLL_LINKS, POLL_ADDRESSES, POLL_RESOLVERS, POLL_EVENTS, POLL_METRICS, POLL_N };

/* Half a policy, or one that is wrong, changes nothing. */
static void reload(struct sl_watch *watch)
{
	struct sl_diag diag = {};
	int err;

	if (!strcmp(watch->options->attach.policy, "-")) {
		fputs("sluice watch: SIGHUP: the policy came from standard input and stays\n", stderr);
		return;
	}
	err = sl_given_load(&watch->group->given, &watch->options->attach, &diag);
	if (err && !diag.n_errors)
		sl_error(&diag, NULL, "%s: %s", watch->options->attach.policy, strerror(-err));
	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	if (err)
		fprintf(stderr, "sluice watch: %s is not loaded; the policy before it goes on\n",
			watch->options->attach.policy);
	else
		sl_devices_renew_all(&watch->devices, true);
}

/* False: it is time to end. */
static bool on_signals(struct sl_watch *watch, int fd)
{
	struct signalfd_siginfo info;

	while (read(fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			reload(watch);
		else if (info.ssi_signo != SIGUSR1)
			return false;
		else if (watch->sinks)
			sl_sinks_reopen(watch->sinks);
	}
	return true;
}

static int on_links(struct sl_watch *watch, unsigned long *overruns)
{
	int err = sl_links_read(watch->devices.links);

	if (sl_links_overruns(watch->devices.links) != *overruns)
		fputs("sluice watch: news of devices was lost (--receive-buffer); looking at all of "
		      "them\n", stderr);
	*overruns = sl_links_overruns(watch->devices.links);
	watch->devices.started |= !sl_links_catching_up(watch->devices.links);
	return err;
}

static int on_addresses(struct sl_watch *watch, int fd)
{
	int changed = sl_addresses_read(fd);

	if (changed > 0)
		sl_devices_on_change(&watch->devices);
	return changed < 0 ? changed : 0;
}

static void on_resolvers(struct sl_watch *watch)
{
	if (sl_resolv_conf_changed(&watch->resolv_conf))
		sl_devices_on_change(&watch->devices);
}

/* From here on a device that comes is held at once. */
static void say_ready(struct sl_watch *watch)
{
	fprintf(stderr, "sluice watch: policy %s; %zu device%s found:", watch->group->given.name,
		watch->devices.n_devices, SL_S(watch->devices.n_devices));
	for (size_t i = 0; i < watch->options->n_patterns; i++)
		fprintf(stderr, " %s", watch->options->patterns[i]);
	fputs(" now, others will follow\n", stderr);
}

static int timeout(const struct sl_watch *watch)
{
	int wait = sl_devices_timeout(&watch->devices);

	return watch->aggregate && (wait < 0 || wait > DRAIN_MS) ? DRAIN_MS : wait;
}

static int loop(struct sl_watch *watch, struct pollfd polls[POLL_N])
{
	unsigned long overruns = 0;
	bool was_ready = false;
	int err = 0;

	while (!err) {
		if (watch->aggregate)
			polls[POLL_EVENTS].fd = sl_state_events_fd(watch->devices.state);
		polls[POLL_METRICS].fd = sl_watch_metrics_fd(watch);
		if (poll(polls, POLL_N, timeout(watch)) < 0 && errno != EINTR)
			return -errno;
		if (!on_signals(watch, polls[POLL_SIGNAL].fd))
			return 0;
		if (polls[POLL_LINKS].revents)
			err = on_links(watch, &overruns);
		if (!err && polls[POLL_ADDRESSES].revents)
			err = on_addresses(watch, polls[POLL_ADDRESSES].fd);
		if (polls[POLL_RESOLVERS].revents)
			on_resolvers(watch);
		if (!err)
			sl_devices_work(&watch->devices, ~0ull);
		sl_watch_drain(watch, false);
		sl_watch_answer_metrics(watch);
		if (watch->devices.started && !was_ready)
			say_ready(watch);
		was_ready = watch->devices.started;
	}
	return err;
}

static void say_left(const struct sl_watch *watch)
{
	size_t n = 0;

	for (size_t i = 0; i < watch->devices.n_devices; i++) {
		const struct sl_watched *w = &watch->devices.devices[i];

		if (w->as.state != SL_WATCHED_ATTACHED && w->as.state != SL_WATCHED_ISOLATED)
			continue;
		fprintf(stderr, n++ ? " " : "sluice watch: left attached, enforced: ");
		sl_put_text(w->device.name, stderr);
	}
	if (n)
		fputs(" (`sluice detach --dev NAME` ends it); devices that come now are not "
		      "judged\n", stderr);
}

/* All that match get the one policy. */
static int make_group(struct sl_watch *watch, struct sl_diag *diag)
{
	const struct sl_watch_options *o = watch->options;
	struct sl_target_group **added;
	int err = 0;

	watch->group = sl_target_group_new();
	added = watch->group ? SL_ADD(watch->devices.groups, watch->devices.n_groups) : NULL;
	if (!added)
		return -ENOMEM;
	*added = sl_target_group_get(watch->group);
	for (size_t i = 0; !err && i < o->n_patterns; i++)
		err = sl_target_group_add_pattern(watch->group, o->patterns[i]);
	return err ? err : sl_given_load(&watch->group->given, &o->attach, diag);
}

/* The programs are loaded before the first device is looked for. */
static int start(struct sl_watch *watch, struct sl_diag *diag)
{
	int err = make_group(watch, diag);

	if (err)
		return err;
	/* before the state is mapped: the metrics' child inherits what there is */
	err = sl_watch_open_audit(watch, diag);
	if (err)
		return err;
	err = sl_resolv_conf_open(&watch->resolv_conf);
	if (err) {
		sl_error(diag, NULL, "cannot follow resolv.conf: %s", strerror(-err));
		return err;
	}
	sl_expedite_open(); /* without it takes longer */
	if (sl_pins_open(true, &watch->devices.state))
		return -EINVAL;	/* said */
	sl_state_unlock(watch->devices.state);
	err = sl_watch_open_log(watch);
	if (err)
		return err;
	err = sl_links_open(watch->options->receive_buffer, sl_devices_on_link, &watch->devices,
			    &watch->devices.links);
	if (err)
		sl_error(diag, NULL, "cannot listen to the network devices: %s", strerror(-err));
	return err;
}

static int follow(struct sl_watch *watch, struct sl_diag *diag)
{
	struct pollfd polls[POLL_N] = {
		[POLL_SIGNAL] = {.fd = sl_loop_signals(), .events = POLLIN},
		[POLL_LINKS] = {.fd = sl_links_fd(watch->devices.links), .events = POLLIN},
		[POLL_ADDRESSES] = {.fd = sl_addresses_open(), .events = POLLIN},
		[POLL_RESOLVERS] = {.fd = watch->resolv_conf.fd, .events = POLLIN},
		[POLL_EVENTS] = {.fd = -1, .events = POLLIN},
		[POLL_METRICS] = {.fd = -1, .events = POLLIN},
	};
	int err = polls[POLL_SIGNAL].fd < 0 ? -errno
		  : polls[POLL_ADDRESSES].fd < 0 ? polls[POLL_ADDRESSES].fd : 0;

	if (!err)
		err = loop(watch, polls);
	if (err)
		sl_error(diag, NULL, "sluice watch ends: %s", strerror(-err));
	sl_watch_drain(watch, true);
	say_left(watch);
	for (int i = POLL_SIGNAL; i <= POLL_ADDRESSES; i += POLL_ADDRESSES - POLL_SIGNAL)
		if (polls[i].fd >= 0)
			close(polls[i].fd);
	return err;
}

int sl_watch_run(const struct sl_watch_options *options)
{
	struct sl_watch watch = {.options = options,
				 .resolv_conf = {.fd = -1},
				 .devices = {.program = "sluice watch", .ops = &sl_watch_ops,
					     .isolation = SL_WATCH_ISOLATION,
					     .check_ns = CHECK_NS}};
	struct sl_diag diag = {};
	int err;

	watch.devices.context = &watch;
	err = start(&watch, &diag);

	if (!err) {
		sl_diag_print(&diag, stderr);	/* warnings, at once */
		sl_diag_free(&diag);
		diag = (struct sl_diag){};
		err = follow(&watch, &diag);
	}
	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	sl_links_close(watch.devices.links);
	sl_resolv_conf_close(&watch.resolv_conf);
	sl_watch_close_log(&watch);
	sl_watch_close_audit(&watch);
	sl_state_close(watch.devices.state);
	sl_devices_free(&watch.devices);
	sl_target_group_put(watch.group);
	return err ? SL_EXIT_FAILED : SL_EXIT_OK;
}
