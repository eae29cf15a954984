// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice monitor: the events of what is attached, as they come. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "audit/aggregate.h"
#include "audit/targets.h"
#include "control.h"
#include "daemon/filter.h"
#include "output.h"
#include "pins.h"
#include "record_line.h"

#define DRAIN_MS 250

struct monitor {
	struct sl_filter filter;
	bool json, failed;
	/* without sluiced */
	struct sl_state *state;
	struct sl_audit_targets *targets;
	struct sl_aggregate *aggregate;
	__u64 sequence;
};

/* Takes the reference. */
static void show(struct monitor *m, json_t *record)
{
	if (m->json)
		sl_json_print(record);
	else
		sl_record_line(record);
	if (!m->json)
		json_decref(record);
	if (fflush(stdout))
		m->failed = true;
}

static int ending_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

/* ---- from the ring itself: it has one reader ---- */

static void on_record(void *context, const struct sl_event *event, __u64 count)
{
	struct monitor *m = context;
	json_t *record = sl_event_json(sl_audit_targets_names(m->targets, event), event, count,
				       m->sequence++);

	if (sl_filter_wants(&m->filter, record))
		show(m, record);
	else
		json_decref(record);
}

static void on_event(void *context, const struct sl_event *event)
{
	struct monitor *m = context;

	sl_aggregate_add(m->aggregate, event);
}

static void drain(struct monitor *m)
{
	sl_state_drain(m->state, on_event, m);
	sl_aggregate_flush(m->aggregate, sl_boot_ns());
}

static int follow(struct monitor *m)
{
	struct pollfd polls[2] = {{.fd = ending_signals(), .events = POLLIN},
				  {.fd = sl_state_events_fd(m->state), .events = POLLIN}};

	if (polls[0].fd < 0 || polls[1].fd < 0)
		return SL_EXIT_FAILED;
	while (!m->failed && !(polls[0].revents & POLLIN)) {
		if (poll(polls, 2, DRAIN_MS) < 0 && errno != EINTR)
			return SL_EXIT_FAILED;
		drain(m);
	}
	sl_aggregate_flush(m->aggregate, ~0ull);
	close(polls[0].fd);
	return m->failed ? SL_EXIT_FAILED : SL_EXIT_OK;
}

/* The state is made if there is none: what is attached later is seen too. */
static int monitor_pins(struct monitor *m)
{
	int status = sl_pins_open(true, &m->state);

	if (status)
		return status;
	sl_state_unlock(m->state);
	if (sl_pins_claim_events(m->state)) {
		sl_state_close(m->state);
		return SL_EXIT_FAILED;
	}
	m->targets = sl_audit_targets_new(m->state, sl_boot_epoch_ns());
	m->aggregate = sl_aggregate_new(on_record, m);
	status = m->targets && m->aggregate ? follow(m) : SL_EXIT_FAILED;
	sl_aggregate_free(m->aggregate);
	sl_audit_targets_free(m->targets);
	sl_state_close(m->state);
	return status;
}

/* ---- through sluiced ---- */

static json_t *list_or_empty(json_t *list)
{
	return list ? json_incref(list) : json_array();
}

static int receive(struct monitor *m, struct sl_control *control)
{
	json_t *record;
	int got;

	while ((got = sl_control_next(control, &record)) > 0)
		show(m, record);
	if (got < 0)
		fprintf(stderr, "sluice monitor: sluiced %s\n",
			got == -EPIPE ? "has ended; the kernel goes on enforcing" : strerror(-got));
	return got;
}

static int stream(struct monitor *m, struct sl_control *control)
{
	const struct sl_filter *f = &m->filter;
	struct pollfd polls[2] = {{.fd = ending_signals(), .events = POLLIN},
				  {.fd = sl_control_fd(control), .events = POLLIN}};
	json_t *answer = sl_control_get(control, "monitor",
					json_pack("{s:o, s:o, s:o, s:o}", "targets",
						  list_or_empty(f->targets), "verdicts",
						  list_or_empty(f->verdicts), "rules",
						  list_or_empty(f->rules), "names",
						  list_or_empty(f->names)));

	json_decref(answer);
	if (!answer || polls[0].fd < 0)
		return SL_EXIT_FAILED;
	while (!m->failed && !(polls[0].revents & POLLIN)) {
		if (receive(m, control) < 0)
			return SL_EXIT_FAILED;
		if (!m->failed && poll(polls, 2, -1) < 0 && errno != EINTR)
			return SL_EXIT_FAILED;
	}
	close(polls[0].fd);
	return m->failed ? SL_EXIT_FAILED : SL_EXIT_OK;
}

static int monitor(struct monitor *m)
{
	struct sl_control *control;
	int found = sl_control_find(false, &control);

	if (found == -ENOENT)
		return monitor_pins(m);
	if (found)
		return found;
	found = stream(m, control);
	sl_control_close(control);
	return found;
}

/* ---- options ---- */

enum { OPT_DEV = 256, OPT_VERDICT, OPT_RULE, OPT_NAME };

static const struct option long_options[] = {
	{"target", required_argument, NULL, OPT_DEV},
	{"dev", required_argument, NULL, OPT_DEV},
	{"verdict", required_argument, NULL, OPT_VERDICT},
	{"rule", required_argument, NULL, OPT_RULE},
	{"name", required_argument, NULL, OPT_NAME},
	{"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},
	{},
};

static int add(json_t **list, const char *option, const char *pattern)
{
	if (!*list)
		*list = json_array();
	if (json_array_size(*list) == SL_FILTER_MAX)
		return sl_usage("monitor", "more than %d times %s", SL_FILTER_MAX, option);
	if (json_array_append_new(*list, json_string(pattern)))
		return sl_usage("monitor", "%s: not UTF-8", option);
	return 0;
}

/* 0, or the exit status. */
static int set_option(struct monitor *m, int c, char **argv)
{
	switch (c) {
	case OPT_DEV:
		return add(&m->filter.targets, "--dev", optarg);
	case OPT_VERDICT:
		if (strcmp(optarg, "allow") && strcmp(optarg, "deny") && strcmp(optarg, "audit-deny"))
			return sl_usage("monitor", "--verdict is allow, deny or audit-deny, not '%s'",
					optarg);
		return add(&m->filter.verdicts, "--verdict", optarg);
	case OPT_RULE:
		return add(&m->filter.rules, "--rule", optarg);
	case OPT_NAME:
		return add(&m->filter.names, "--name", optarg);
	case 'o':
		if (sl_output_option(optarg, &m->json))
			return 0;
		return sl_usage("monitor", "-o is text or json, not '%s'", optarg);
	}
	return sl_option_wrong("monitor", c, argv);
}

int cmd_monitor(int argc, char **argv)
{
	struct monitor m = {};
	int c, status = 0;

	opterr = 0;
	signal(SIGPIPE, SIG_IGN);
	while (!status && (c = getopt_long(argc, argv, ":o:h", long_options, NULL)) != -1) {
		if (c == 'h')
			return sl_help("monitor");
		status = set_option(&m, c, argv);
	}
	if (!status && optind < argc)
		status = sl_usage("monitor", "what is '%s'?", argv[optind]);
	if (!status)
		status = monitor(&m);
	sl_filter_free(&m.filter);
	return status;
}
