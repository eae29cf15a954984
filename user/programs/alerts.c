// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * sluice-alerts, which `sluice alerts` becomes: rules over the event stream. A program of its
 * own: what attaches policies must neither load libcurl (it costs 6 ms at each start) nor
 * have it in its address space.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alerts/alert_text.h"
#include "alerts/live.h"
#include "cli/alerts_usage.h"
#include "cli/output.h"

struct request {
	const char *rules, *events, *follow, *socket, *memory;
	bool stdin_too, from_start, check, json;
};

/* ---- a file that is complete ---- */

struct offline {
	struct sl_alert_engine *engine;
	bool json;
};

static void on_alert(void *context, const struct sl_alert *alert)
{
	struct offline *o = context;
	char *line;

	if (!o->json) {
		sl_alert_print(alert, stdout);
		return;
	}
	line = sl_alert_line(alert);
	puts(line ? line : "{}");
	free(line);
}

static void on_record(void *context, struct sl_alert_record *record)
{
	sl_alert_engine_record(((struct offline *)context)->engine, record);
}

static void say_totals(const struct sl_stream *stream, const struct sl_alert_engine *engine)
{
	const struct sl_stream_stats *s = sl_stream_stats(stream);
	struct sl_alert_stats e;

	sl_alert_engine_stats(engine, &e);
	fprintf(stderr, "sluice alerts: %llu alert%s, %zu still open; %llu record%s",
		(unsigned long long)e.fired, SL_S(e.fired), e.open,
		(unsigned long long)s->records, SL_S(s->records));
	if (s->missing)
		fprintf(stderr, ", %llu missing", (unsigned long long)s->missing);
	if (s->repeated)
		fprintf(stderr, ", %llu repeated", (unsigned long long)s->repeated);
	if (e.late)
		fprintf(stderr, ", %llu too late for a rule", (unsigned long long)e.late);
	if (e.evicted)
		fprintf(stderr, ", %llu group%s dropped for room", (unsigned long long)e.evicted,
			SL_S(e.evicted));
	if (s->faulty) {
		fprintf(stderr, ", %llu line%s without a record (line %llu: ",
			(unsigned long long)s->faulty, SL_S(s->faulty), (unsigned long long)s->fault_line);
		sl_put_text(s->fault, stderr);
		putc(')', stderr);
	}
	putc('\n', stderr);
}

static int offline(const struct sl_alerts_config *config, const struct request *r)
{
	struct offline o = {.json = r->json};
	struct sl_alert_memory *memory = sl_alerts_memory(config, r->memory);
	struct sl_stream *stream = sl_stream_new(false, on_record, &o);
	struct sl_alert_stats stats = {};
	int err = -ENOMEM;

	o.engine = memory ? sl_alert_engine_new(config, memory, on_alert, &o) : NULL;
	if (o.engine && stream)
		err = sl_stream_file(stream, r->events);
	if (err)
		fprintf(stderr, "sluice alerts: cannot read %s: %s; give a FILE that `run --log` or a "
			"sink wrote\n", r->events, strerror(-err));
	else
		say_totals(stream, o.engine);
	if (!err && r->memory) {
		err = sl_alert_memory_save(memory, r->memory);
		if (err)
			fprintf(stderr, "sluice alerts: %s: %s\n", r->memory, strerror(-err));
	}
	if (o.engine)
		sl_alert_engine_stats(o.engine, &stats);
	sl_alert_engine_free(o.engine);
	sl_alert_memory_free(memory);
	sl_stream_free(stream);
	return sl_output_done("alerts", err || stats.fired ? SL_EXIT_FAILED : SL_EXIT_OK);
}

/* ---- records as they come ---- */

static int open_source(const struct request *r, struct sl_source **source)
{
	if (r->follow)
		return sl_source_follow(r->follow, r->from_start, source);
	if (r->socket)
		return sl_source_socket(r->socket, source);
	return sl_source_stdin(source);
}

static int live(const struct sl_alerts_config *config, const struct request *r,
		struct sl_diag *diag)
{
	const char *memory = r->memory ? r->memory : config->memory;
	struct sl_source *source;
	int err = open_source(r, &source);

	if (err) {
		fprintf(stderr, "sluice alerts: %s: %s\n",
			r->follow ? r->follow : r->socket ? r->socket : "standard input",
			strerror(-err));
		return SL_EXIT_FAILED;
	}
	if (!config->n_sinks)
		sl_warn(diag, NULL, "there are no sinks: alerts go nowhere");
	sl_diag_print(diag, stderr);
	sl_diag_free(diag);
	err = sl_alerts_live(config, source, memory, diag);
	if (err && !diag->n_errors)
		fprintf(stderr, "sluice alerts: %s\n", strerror(-err));
	return err ? SL_EXIT_FAILED : SL_EXIT_OK;
}

static int alerts(const struct request *r)
{
	struct sl_alerts_config config;
	struct sl_diag diag = {};
	int err = sl_alerts_config_read(r->rules, &config, &diag), status = SL_EXIT_FAILED;

	if (!err && r->check)
		status = printf("%s: ok: %zu rule%s, %zu sink%s\n", r->rules, config.n_rules,
				SL_S(config.n_rules), config.n_sinks, SL_S(config.n_sinks)) < 0 ? SL_EXIT_FAILED : SL_EXIT_OK;
	else if (!err && r->events)
		status = offline(&config, r);
	else if (!err)
		status = live(&config, r, &diag);
	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	if (err == -ENOMEM)
		fputs("sluice alerts: out of memory\n", stderr);
	else if (err && access(r->rules, F_OK))
		fputs("sluice alerts: --rules FILE names the rules; share/sluice/alerts/default.yaml of "
		      "the installation (deploy/alerts/default.yaml of the source) are a beginning\n",
		      stderr);
	if (!err)
		sl_alerts_config_free(&config);
	return status;
}

static const struct option long_options[] = {
	{"rules", required_argument, NULL, 'r'},
	{"events", required_argument, NULL, 'e'},
	{"follow", required_argument, NULL, 'f'},
	{"from-start", no_argument, NULL, 'a'},
	{"socket", required_argument, NULL, 's'},
	{"memory", required_argument, NULL, 'm'},
	{"check", no_argument, NULL, 'c'},
	{"output", required_argument, NULL, 'o'},
	{"help", no_argument, NULL, 'h'},
	{},
};

/* -1: go on, else the exit status. */
static int options(int argc, char **argv, struct request *r)
{
	int c;

	while ((c = getopt_long(argc, argv, ":r:e:f:s:m:co:h", long_options, NULL)) != -1) {
		switch (c) {
		case 'h':
			return sl_help("alerts");
		case 'r':
			r->rules = optarg;
			break;
		case 'e':
			r->events = optarg;
			break;
		case 'f':
			r->follow = optarg;
			break;
		case 'a':
			r->from_start = true;
			break;
		case 's':
			r->socket = optarg;
			break;
		case 'm':
			r->memory = optarg;
			break;
		case 'c':
			r->check = true;
			break;
		case 'o':
			if (!sl_output_option(optarg, &r->json))
				return sl_usage("alerts", "-o is text or json, not '%s'", optarg);
			break;
		default:
			return sl_option_wrong("alerts", c, argv);
		}
	}
	return -1;
}

int cmd_alerts(int argc, char **argv)
{
	struct request r = {.rules = SL_ALERTS_RULES};
	int status;

	opterr = 0;
	signal(SIGPIPE, SIG_IGN);
	status = options(argc, argv, &r);
	if (status >= 0)
		return status;
	if (optind < argc && !strcmp(argv[optind], "-")) {
		r.stdin_too = true;
		optind++;
	}
	if (optind < argc)
		return sl_usage("alerts", "what is '%s'?", argv[optind]);
	if (!!r.events + !!r.follow + !!r.socket + r.stdin_too + r.check != 1)
		return sl_usage("alerts", "one of --events, --follow, --socket, - and --check is "
				"wanted");
	if (r.from_start && !r.follow)
		return sl_usage("alerts", "--from-start belongs to --follow");
	return alerts(&r);
}

const struct sl_command sl_commands[] = {
	{"alerts", SL_ALERTS_SUMMARY, SL_ALERTS_USAGE, cmd_alerts},
	{},
};

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--version")) {
		puts("sluice-alerts " SLUICE_VERSION);
		return SL_EXIT_OK;
	}
	return cmd_alerts(argc, argv);
}
