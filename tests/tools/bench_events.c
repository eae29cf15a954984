// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * bench_events SECONDS SLICES: one CPU makes events as fast as it can (tests/bench/events.bpf.c),
 * one consumer drains them: in turn counting alone (what a ring can give), and as `monitor` does,
 * bursts as one record, each record as a line of JSON. And a ring that is full, which nobody adds
 * to meanwhile. Prints one JSON object: million events for each second of the consumer's CPU time,
 * by the clock (of what was full by the clock alone), and how many decisions are neither drained,
 * suppressed nor lost, which is never any.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "audit/aggregate.h"
#include "audit/record.h"
#include "bench/events.skel.h"

#define SLOTS 4096
#define RING_BYTES (4u << 20) /* as sluiced's */
#define PERIOD_US 2000	      /* between two drains */
#define RUNS 2000	      /* events of a test run */
#define WAIT_S 60	      /* for the ring to be empty at last */

struct bench {
	struct events *skel;
	struct ring_buffer *ring;
	struct sl_aggregate *aggregate; /* NULL: events are only counted */
	unsigned long long drained, records;
	struct sl_event last;
	double end; /* of the slice */
	_Atomic bool stop;
};

static __attribute__((noreturn)) void die(const char *what)
{
	fprintf(stderr, "bench_events: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double seconds(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void *produce(void *context)
{
	struct bench *b = context;
	LIBBPF_OPTS(bpf_test_run_opts, options);
	char packet[64] = {};

	options.data_in = packet;
	options.data_size_in = sizeof(packet);
	options.repeat = RUNS;
	while (!atomic_load(&b->stop))
		if (bpf_prog_test_run_opts(bpf_program__fd(b->skel->progs.events_record), &options))
			die("test run");
	return NULL;
}

static void on_record(void *context, const struct sl_event *event, __u64 count)
{
	static const struct sl_audit_names names = {
		.policy = "bench", .target_kind = "cgroup", .target = "bench"};
	struct bench *b = context;
	json_t *record = sl_event_json(&names, event, count, b->records++);
	char *line = record ? json_dumps(record, JSON_COMPACT) : NULL;

	if (!line)
		die("record");
	free(line);
	json_decref(record);
}

static int on_event(void *context, void *data, size_t size)
{
	struct bench *b = context;

	memcpy(&b->last, data, sizeof(b->last)); /* the least that a reader does */
	b->drained++;
	if (b->aggregate)
		sl_aggregate_add(b->aggregate, data);
	/* a drain ends when the ring is empty, which a fast producer never lets it be */
	return b->drained % 4096 || seconds(CLOCK_MONOTONIC) < b->end ? 0 : -1;
}

static void open_bench(struct bench *b)
{
	b->skel = events__open();
	if (!b->skel || bpf_map__set_max_entries(b->skel->maps.sl_events, RING_BYTES) ||
	    bpf_map__set_max_entries(b->skel->maps.sl_stats, SLOTS) ||
	    bpf_map__set_max_entries(b->skel->maps.sl_budgets, SLOTS) || events__load(b->skel))
		die("the programs cannot be loaded");
	b->skel->bss->events_slots = SLOTS;
	b->ring = ring_buffer__new(bpf_map__fd(b->skel->maps.sl_events), on_event, b, NULL);
	if (!b->ring)
		die("ring buffer");
}

/* Decisions that nobody can account for. */
static long long unaccounted(const struct bench *b)
{
	unsigned long long decided = 0, accounted = b->drained;
	struct sl_stats s;
	__u32 slot;

	for (slot = 0; slot < SLOTS; slot++) {
		if (bpf_map_lookup_elem(bpf_map__fd(b->skel->maps.sl_stats), &slot, &s))
			die("sl_stats");
		decided += s.decided;
		accounted += s.suppressed + s.lost;
	}
	if (!decided)
		die("nothing was decided");
	return (long long)(decided - accounted);
}

static void slice(double length, bool records, json_t *cpu, json_t *clock, json_t *left)
{
	struct bench b = {.aggregate = NULL};
	double began, busy, took;
	pthread_t producer;

	open_bench(&b);
	b.aggregate = records ? sl_aggregate_new(on_record, &b) : NULL;
	if (pthread_create(&producer, NULL, produce, &b))
		die("thread");
	began = seconds(CLOCK_MONOTONIC);
	busy = seconds(CLOCK_THREAD_CPUTIME_ID);
	b.end = began + length;
	while (seconds(CLOCK_MONOTONIC) < b.end) {
		ring_buffer__consume(b.ring);
		usleep(PERIOD_US);
	}
	busy = seconds(CLOCK_THREAD_CPUTIME_ID) - busy;
	took = seconds(CLOCK_MONOTONIC) - began;
	json_array_append_new(cpu, json_real((double)b.drained / busy / 1e6));
	json_array_append_new(clock, json_real((double)b.drained / took / 1e6));
	atomic_store(&b.stop, true);
	pthread_join(producer, NULL);
	b.end += WAIT_S;
	if (ring_buffer__consume(b.ring) < 0)
		die("the ring does not become empty");
	json_array_append_new(left, json_integer(unaccounted(&b)));
	if (b.aggregate)
		sl_aggregate_flush(b.aggregate, ~0ull);
	sl_aggregate_free(b.aggregate);
	ring_buffer__free(b.ring);
	events__destroy(b.skel);
}

/* What one consumer can drain, whatever the producer can make. */
static void full(json_t *clock, json_t *left)
{
	LIBBPF_OPTS(bpf_test_run_opts, options);
	struct bench b = {.end = 1e300};
	char packet[64] = {};
	double began;

	open_bench(&b);
	options.data_in = packet;
	options.data_size_in = sizeof(packet);
	options.repeat = RING_BYTES / sizeof(struct sl_event);
	if (bpf_prog_test_run_opts(bpf_program__fd(b.skel->progs.events_record), &options))
		die("test run");
	began = seconds(CLOCK_MONOTONIC);
	if (ring_buffer__consume(b.ring) < 0)
		die("the ring does not become empty");
	json_array_append_new(clock, json_real((double)b.drained /
					       (seconds(CLOCK_MONOTONIC) - began) / 1e6));
	json_array_append_new(left, json_integer(unaccounted(&b)));
	ring_buffer__free(b.ring);
	events__destroy(b.skel);
}

static json_t *list(json_t *in, const char *name)
{
	json_t *made = json_array();

	json_object_set_new(in, name, made);
	return made;
}

int main(int argc, char **argv)
{
	json_t *out = json_object(), *left = list(out, "unaccounted");
	json_t *cpu[] = {list(out, "counted"), list(out, "records")};
	json_t *clock[] = {list(out, "counted_by_clock"), list(out, "records_by_clock")};
	json_t *full_by_clock = list(out, "full_by_clock");

	if (argc != 3) {
		fputs("usage: bench_events SECONDS SLICES\n", stderr);
		return 2;
	}
	for (int i = 0; i < atoi(argv[2]); i++) {
		full(full_by_clock, left);
		for (int records = 0; records < 2; records++)
			slice(atof(argv[1]), records, cpu[records], clock[records], left);
	}
	json_dumpf(out, stdout, 0);
	putchar('\n');
	json_decref(out);
	return 0;
}
