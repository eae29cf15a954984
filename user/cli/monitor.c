// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice monitor: the events of what is attached, as they come. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "audit/aggregate.h"
#include "audit/targets.h"
#include "output.h"
#include "pins.h"

#define DRAIN_MS 250

struct monitor {
	struct sl_state *state;
	struct sl_audit_targets *targets;
	struct sl_aggregate *aggregate;
	__u64 sequence;
	bool json, failed;
};

static void print_text(const struct sl_audit_names *names, const struct sl_event *event,
		       __u64 count)
{
	const char *rule = sl_event_rule(names, event);
	char endpoint[SL_ENDPOINT_TEXT], when[40];

	char *target = sl_escaped(names->target ? names->target : "?");

	printf("%s  %-12s %-10s %s%s  %s", sl_event_time(names, event->time_ns, when),
	       target ? target : "?", sl_verdict_word(event->verdict),
	       event->direction == SL_INGRESS ? "from " : "", sl_event_endpoint(event, endpoint),
	       rule ? rule : sl_reason_word(event->reason));
	if (count > 1)
		printf("  (%llu times)", (unsigned long long)count);
	putchar('\n');
	free(target);
}

static void on_record(void *context, const struct sl_event *event, __u64 count)
{
	struct monitor *m = context;
	const struct sl_audit_names *names = sl_audit_targets_names(m->targets, event);

	if (m->json)
		sl_json_print(sl_event_json(names, event, count, m->sequence));
	else
		print_text(names, event, count);
	m->sequence++;
	if (fflush(stdout))
		m->failed = true;
}

static void on_event(void *context, const struct sl_event *event)
{
	struct monitor *m = context;

	sl_aggregate_add(m->aggregate, event);
}

static void drain(struct monitor *m)
{
	struct timespec ts;

	sl_state_drain(m->state, on_event, m);
	clock_gettime(CLOCK_BOOTTIME, &ts);
	sl_aggregate_flush(m->aggregate, ts.tv_sec * 1000000000ull + ts.tv_nsec);
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
static int monitor(bool json)
{
	struct monitor m = {.json = json};
	int status = sl_pins_open(true, &m.state);

	if (status)
		return status;
	sl_state_unlock(m.state);
	if (sl_pins_claim_events(m.state)) {
		sl_state_close(m.state);
		return SL_EXIT_FAILED;
	}
	m.targets = sl_audit_targets_new(m.state, sl_boot_epoch_ns());
	m.aggregate = sl_aggregate_new(on_record, &m);
	status = m.targets && m.aggregate ? follow(&m) : SL_EXIT_FAILED;
	sl_aggregate_free(m.aggregate);
	sl_audit_targets_free(m.targets);
	sl_state_close(m.state);
	return status;
}

static const struct option long_options[] = {
	{"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},
	{},
};

int cmd_monitor(int argc, char **argv)
{
	bool json = false;
	int c;

	opterr = 0;
	signal(SIGPIPE, SIG_IGN);
	while ((c = getopt_long(argc, argv, ":o:h", long_options, NULL)) != -1) {
		if (c == 'h')
			return sl_help("monitor");
		if (c != 'o')
			return sl_option_wrong("monitor", c, argv);
		if (!sl_output_option(optarg, &json))
			return sl_usage("monitor", "-o is text or json, not '%s'", optarg);
	}
	if (optind < argc)
		return sl_usage("monitor", "what is '%s'?", argv[optind]);
	return monitor(json);
}
