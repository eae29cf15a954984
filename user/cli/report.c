// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What a run reports: records to a file and to stderr, and a summary. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/text.h"
#include "run.h"

#define SUMMARY_LINES 20

static void write_log(struct sl_report *r, const struct sl_event *event, __u64 count)
{
	json_t *record;

	if (!r->log)
		return;
	record = sl_event_json(&r->names, event, count, r->sequence);
	if (!record || json_dumpf(record, r->log, JSON_COMPACT) || fputc('\n', r->log) == EOF ||
	    fflush(r->log))
		r->log_failed = true;
	json_decref(record);
}

/* comm is what the workload calls itself: it must not steer the terminal. */
static void write_live(const struct sl_report *r, const struct sl_event *event, __u64 count)
{
	const char *rule = sl_event_rule(&r->names, event);
	char endpoint[SL_ENDPOINT_TEXT], process[SL_PROCESS_TEXT];

	if (!r->options->verbose)
		return;
	fprintf(stderr, "sluice: %s %s%s  %s  %s", sl_event_word(event),
		event->direction == SL_INGRESS ? "from " : "", sl_event_endpoint(event, endpoint),
		rule ? rule : sl_reason_word(event->reason), sl_event_process(event, process));
	if (count > 1)
		fprintf(stderr, "  (%llu times)", (unsigned long long)count);
	fputc('\n', stderr);
}

static void on_record(void *context, const struct sl_event *event, __u64 count)
{
	struct sl_report *r = context;

	write_log(r, event, count);
	write_live(r, event, count);
	r->sequence++;
}

static void on_event(void *context, const struct sl_event *event)
{
	struct sl_report *r = context;

	r->received += !(event->flags & SL_EVENT_CLOSE);	/* as `submitted` */
	sl_abort_connection(&r->abort, event);
	if (event->verdict != SL_EV_ALLOW)
		sl_summary_add(r->summary, event);
	sl_aggregate_add(r->aggregate, event);
}

static bool is_of_command(void *context, const struct sl_event *event, __u64 cgroup_id)
{
	const struct sl_report *r = context;

	(void)event;
	return cgroup_id == r->cgroup_id;
}

int sl_report_open(struct sl_report *r, const struct sl_run_options *options,
		   const struct sl_policy *policy, const struct sl_compiled *compiled,
		   const struct sl_cgroup *target)
{
	memset(r, 0, sizeof(*r));
	r->options = options;
	r->names = (struct sl_audit_names){.policy = policy->name, .target_kind = "cgroup",
					   .target = target->path, .compiled = compiled,
					   .boot_epoch_ns = sl_boot_epoch_ns()};
	r->cgroup_id = target->id;
	sl_abort_open(&r->abort, is_of_command, r);
	r->default_allows = policy->default_action == SL_ALLOW;
	r->aggregate = sl_aggregate_new(on_record, r);
	r->summary = sl_summary_new();
	if (!r->aggregate || !r->summary)
		return -ENOMEM;
	if (!options->log)
		return 0;
	r->log = fopen(options->log, "ae");
	if (r->log)
		return 0;
	fprintf(stderr, "sluice run: --log ");
	sl_put_text(options->log, stderr);
	fprintf(stderr, ": %s: %s\n", strerror(errno), errno == ENOENT || errno == ENOTDIR ?
		"make its directory first" : "name a file that can be appended to");
	return -EINVAL;	/* said */
}

void sl_report_drain(struct sl_report *r, struct sl_kernel *kernel)
{
	sl_kernel_tell_ends(kernel, false);
	sl_kernel_drain(kernel, on_event, r);
	sl_aggregate_flush(r->aggregate, sl_boot_ns());
}

static void print_counts(const struct sl_report *r, const struct sl_stats *s)
{
	bool audit = s->audit_denied > 0;

	fprintf(stderr, "sluice: %llu blocked", (unsigned long long)s->denied);
	if (audit)
		fprintf(stderr, ", %llu would be blocked (audit mode)",
			(unsigned long long)s->audit_denied);
	fprintf(stderr, ", %llu allowed (policy %s)\n", (unsigned long long)s->allowed,
		r->names.policy);
}

static void print_hit(void *context, const struct sl_hit_key *key, const struct sl_hit *hit)
{
	const struct sl_report *r = context;
	const struct sl_compiled *compiled = r->names.compiled;
	bool known = key->rule < compiled->n_rules;

	if (known ? compiled->rules[key->rule].action == SL_ALLOW :
		    key->reason == SL_REASON_INBOUND ||
		    (key->reason == SL_REASON_DEFAULT && r->default_allows))
		return;
	fprintf(stderr, "sluice: %7llu  %s\n", (unsigned long long)hit->count,
		known ? compiled->rules[key->rule].id : sl_reason_word(key->reason));
}

/* What the record cannot show: said, with the exact counts by rule. */
static void print_gaps(const struct sl_report *r, struct sl_kernel *kernel,
		       const struct sl_stats *s)
{
	if (s->over_budget || s->lost) {
		fprintf(stderr, "sluice: denials that are counted only: %llu over the event budget, "
			"%llu that found the ring buffer full; in all, by rule or reason:\n",
			(unsigned long long)s->over_budget, (unsigned long long)s->lost);
		sl_kernel_hits(kernel, print_hit, (void *)r);
	}
	if (s->unlearned)
		fprintf(stderr, "sluice: addresses of allowed names are not learned (%llu): an answer "
			"had too many of them, or an address too many names (docs/names.md, "
			"\"Answers\")\n", (unsigned long long)s->unlearned);
	if (s->decided != s->submitted + s->suppressed + s->lost || r->received != s->submitted)
		fprintf(stderr, "sluice: the record does not add up: %llu decided, %llu submitted, "
			"%llu suppressed, %llu lost, %llu received\n",
			(unsigned long long)s->decided, (unsigned long long)s->submitted,
			(unsigned long long)s->suppressed, (unsigned long long)s->lost,
			(unsigned long long)r->received);
	if (r->log_failed)
		fprintf(stderr, "sluice: --log %s: some records could not be written\n",
			r->options->log);
}

static void print_next_step(const struct sl_report *r, const struct sl_stats *s)
{
	if (!r->log || !(s->denied + s->audit_denied))
		return;
	fputs("sluice: rules of what was denied, to be read: `sluice convert --from records ", stderr);
	sl_put_text(r->options->log, stderr);
	fputs("`\n", stderr);
}

void sl_report_end(struct sl_report *r, struct sl_kernel *kernel)
{
	struct sl_stats stats = {};

	/* the command shares it and may have made it non-blocking, and full */
	fcntl(STDERR_FILENO, F_SETFL, fcntl(STDERR_FILENO, F_GETFL) & ~O_NONBLOCK);
	sl_report_drain(r, kernel);
	sl_aggregate_flush(r->aggregate, ~0ull);
	if (sl_kernel_stats(kernel, &stats))
		return;
	if (!r->options->quiet) {
		print_counts(r, &stats);
		sl_summary_print(r->summary, &r->names, SUMMARY_LINES, stderr);
		print_next_step(r, &stats);
	}
	print_gaps(r, kernel, &stats);
}

void sl_report_close(struct sl_report *r)
{
	if (r->log)
		fclose(r->log);
	sl_abort_close(&r->abort);
	sl_aggregate_free(r->aggregate);
	sl_summary_free(r->summary);
}
