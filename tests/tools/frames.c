// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Frames for the oracle (tests/oracle/frames_differential.py): runs them through the
 * device programs (BPF_PROG_TEST_RUN) and tells what became of each. Binary, numbers in
 * host byte order, one answer a request, each read whole before it is answered:
 *
 *	'A' attach	struct attach_request, texts (u32 length and bytes): the policy's
 *			path, the MAC or nothing, addresses as `attach` takes them
 *	    answer	u32 0, u64 generation, u32 rules, each as u32 length and id;
 *			or u32 length and the error's text
 *	'F' frames	u32 count, each: struct frame_request and its bytes
 *	    answer	each: struct frame_answer, struct event_answer..., the refusal
 *	'C' counters	answer: struct counters_answer, u32 count, struct hit_answer...
 *	'L' learned	answer: u32 count, each: struct lesson_answer, the name; u64: addresses
 *			that had no room
 *
 * An attach with `fresh` makes a new target; without, the target gets a new generation.
 * A refusal is sent on its way to the workload through the other program.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compile/compile.h"
#include "kernel/state.h"
#include "resolve/resolve.h"
#include "target/device.h"

#define LOOPBACK 1		/* the interface of a test run */
#define FRAME_MAX 4096		/* a test run takes less than a page */
#define EVENTS_MAX 4		/* kept for one frame: more than one is a difference */
#define TEXT_MAX 4096
#define REDIRECT 7		/* TC_ACT_REDIRECT: the frame is a refusal now */

struct attach_request {
	__u32 fresh, n_texts;
};

struct frame_request {
	__u8 direction;		/* enum sl_direction */
	__u8 reserved;
	__u16 gso_size, bytes;
};

struct frame_answer {
	__s32 verdict;		/* what the program returned */
	__s32 back;		/* a refusal: what the other program returned for it */
	__u32 n_events, refusal_bytes;
};

struct event_answer {
	__u64 generation;
	__u32 rule, flags;
	__u8 source[16], destination[16];
	__u16 source_port, destination_port;
	__u8 family, protocol, verdict, reason, hook, direction;
	__u8 mac_source[6], mac_destination[6];
	__u16 ethertype;
};

struct counters_answer {
	__u64 decided, allowed, denied, audit_denied, submitted, suppressed, over_budget, lost,
		uncounted;
	__u64 tx_bytes, tx_frames, rx_bytes, rx_frames, tx_denied, rx_denied;
};

struct hit_answer {
	__u64 count;
	__u32 rule, reason, generation, reserved;
};

struct lesson_answer {
	__u64 high, low;
	__u32 family, left_s, bytes;
	__u32 reserved;
};

struct events {
	struct event_answer kept[EVENTS_MAX];
	__u32 n;
};

static struct sl_state *state;
static struct sl_policy *policy;
static struct sl_compiled compiled;
static __u32 slot;
static bool have_slot;

static void die(const char *what, int err)
{
	fprintf(stderr, "frames: %s: %s\n", what, strerror(-err));
	exit(1);
}

static void take(void *buf, size_t bytes)
{
	if (bytes && fread(buf, bytes, 1, stdin) != 1)
		die("the request ends early", -EPIPE);
}

static void give(const void *buf, size_t bytes)
{
	if (bytes && fwrite(buf, bytes, 1, stdout) != 1)
		die("cannot answer", -errno);
}

static void give_text(const char *text)
{
	__u32 bytes = strlen(text);

	give(&bytes, sizeof(bytes));
	give(text, bytes);
}

/* ---- attach ---- */

#define NETWORK_MAX 64

/* What DHCP is told apart by. */
static struct sl_cidr subnet[NETWORK_MAX], host[NETWORK_MAX];
static struct sl_environment network = {.subnet = subnet, .host = host};

static __s64 boot_epoch_ns(void)
{
	struct timespec real, boot;

	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	return (real.tv_sec - boot.tv_sec) * 1000000000ll + real.tv_nsec - boot.tv_nsec;
}

static int put_in_place(bool fresh, struct sl_diag *diag)
{
	if (fresh && have_slot) {
		sl_state_forget(state, slot);
		have_slot = false;
	}
	int err = have_slot ? sl_state_switch(state, slot, &compiled.table, diag) :
			      sl_state_add_unattached(state, LOOPBACK, &compiled.table, &slot, diag);

	have_slot = have_slot || !err;
	return err;
}

static int load(const char *path, bool fresh, struct sl_binding_spec *spec, struct sl_diag *diag)
{
	struct sl_resolve_options resolve = {.trust_clock = true};
	struct sl_binding binding = sl_binding_complete(spec);
	struct sl_compile_options compile = {.binding = &binding,
					     .generation = sl_state_next_generation(state),
					     .boot_epoch_ns = boot_epoch_ns()};
	int err;

	sl_binding_network(&binding, &network);
	sl_compiled_free(&compiled);
	sl_policy_free(policy);
	memset(&compiled, 0, sizeof(compiled));
	policy = NULL;
	err = sl_policy_load(path, &resolve, &policy, diag);
	if (!err)
		err = sl_compile(policy, &compile, &compiled, diag);
	return err ? err : put_in_place(fresh, diag);
}

static void give_rules(void)
{
	__u64 generation = compiled.table.words[SL_H_GENERATION];
	__u32 none = 0, n = compiled.n_rules, i;

	give(&none, sizeof(none));
	give(&generation, sizeof(generation));
	give(&n, sizeof(n));
	for (i = 0; i < n; i++)
		give_text(compiled.rules[i].id ? compiled.rules[i].id : "");
}

static const char *take_text(void)
{
	static char text[TEXT_MAX];
	__u32 bytes;

	take(&bytes, sizeof(bytes));
	if (bytes >= sizeof(text))
		die("a text", -E2BIG);
	take(text, bytes);
	text[bytes] = 0;
	return text;
}

static void take_prefix(const char *text, struct sl_cidr *list, size_t *n)
{
	bool masked;

	if (*n == NETWORK_MAX || sl_cidr_parse(text, strlen(text), &list[*n], &masked))
		die(text, -EINVAL);
	(*n)++;
}

/* The MAC, the addresses and the network of a request, which are read in any case. */
static int take_binding(struct sl_binding_spec *spec, __u32 n_texts, struct sl_diag *diag)
{
	const char *mac = take_text();
	int err = *mac ? sl_binding_mac(spec, mac, diag) : 0;

	network.n_subnet = network.n_host = 0;
	for (; n_texts > 2; n_texts--) {
		const char *address = take_text();

		if (!strncmp(address, "net:", 4))
			take_prefix(address + 4, subnet, &network.n_subnet);
		else if (!strncmp(address, "host:", 5))
			take_prefix(address + 5, host, &network.n_host);
		else if (!err)
			err = sl_binding_address(spec, address, diag);
	}
	return err;
}

static void attach(void)
{
	static char path[TEXT_MAX];
	struct sl_binding_spec spec = {};
	struct attach_request request;
	struct sl_diag diag = {};
	int err;

	take(&request, sizeof(request));
	strcpy(path, take_text());
	err = take_binding(&spec, request.n_texts, &diag);
	if (!err)
		err = load(path, request.fresh, &spec, &diag);
	if (err)
		give_text(diag.n ? diag.entries[0].message : strerror(-err));
	else
		give_rules();
	sl_diag_free(&diag);
}

/* ---- frames ---- */

static void keep_event(void *context, const struct sl_event *event)
{
	struct events *events = context;
	struct event_answer *answer = &events->kept[events->n % EVENTS_MAX];

	*answer = (struct event_answer){
		.generation = event->generation, .rule = event->rule, .flags = event->flags,
		.source_port = event->source_port, .destination_port = event->destination_port,
		.family = event->family, .protocol = event->protocol,
		.verdict = event->verdict, .reason = event->reason,
		.hook = event->hook, .direction = event->direction,
		.ethertype = event->ethertype,
	};
	memcpy(answer->source, event->source, sizeof(answer->source));
	memcpy(answer->destination, event->destination, sizeof(answer->destination));
	memcpy(answer->mac_source, event->mac_source, sizeof(answer->mac_source));
	memcpy(answer->mac_destination, event->mac_destination, sizeof(answer->mac_destination));
	events->n++;
}

/* Runs a program over *bytes of data, which then are what it made of them. */
static int run(enum sl_direction direction, __u8 *data, __u32 *bytes, struct __sk_buff *context)
{
	static __u8 made[FRAME_MAX * 2];
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = data, .data_size_in = *bytes,
		    .data_out = made, .data_size_out = sizeof(made), .ctx_in = context,
		    .ctx_size_in = sizeof(*context), .ctx_out = context,
		    .ctx_size_out = sizeof(*context), .repeat = 1);
	int err = bpf_prog_test_run_opts(sl_state_program_fd(state, direction), &options);

	if (err)
		die("a test run", err);
	*bytes = options.data_size_out;
	memcpy(data, made, *bytes);
	return (int)options.retval;
}

/* The refusal comes to the device as the kernel redirects it: what the program left in
 * the packet's mark and scratch is still there. */
static int send_back(const __u8 *refusal, __u32 bytes, const struct __sk_buff *left)
{
	struct __sk_buff context = {.mark = left->mark, .priority = left->priority,
				    .ingress_ifindex = LOOPBACK};
	__u8 copy[FRAME_MAX * 2];

	memcpy(copy, refusal, bytes);
	memcpy(context.cb, left->cb, sizeof(context.cb));
	return run(SL_INGRESS, copy, &bytes, &context);
}

static void judge(const struct frame_request *request, const __u8 *data)
{
	static __u8 frame[FRAME_MAX * 2];
	struct __sk_buff context = {.gso_size = request->gso_size,
				    .gso_segs = request->gso_size ? 2 : 0};
	struct frame_answer answer = {};
	struct events events = {};
	__u32 bytes = request->bytes;

	memcpy(frame, data, bytes);
	answer.verdict = run(request->direction, frame, &bytes, &context);
	if (answer.verdict == REDIRECT) {
		answer.refusal_bytes = bytes;
		answer.back = send_back(frame, bytes, &context);
	}
	if (sl_state_drain(state, keep_event, &events) < 0)
		die("events", -EIO);
	answer.n_events = events.n;
	give(&answer, sizeof(answer));
	give(events.kept, (events.n < EVENTS_MAX ? events.n : EVENTS_MAX) * sizeof(*events.kept));
	give(frame, answer.refusal_bytes);
}

static void frames(void)
{
	static __u8 *data;
	struct frame_request *requests;
	__u32 count, i;

	take(&count, sizeof(count));
	requests = calloc(count, sizeof(*requests));
	data = realloc(data, (size_t)count * FRAME_MAX);
	if (count && (!requests || !data))
		die("frames", -ENOMEM);
	for (i = 0; i < count; i++) {
		take(&requests[i], sizeof(*requests));
		if (requests[i].bytes > FRAME_MAX)
			die("a frame", -E2BIG);
		take(data + (size_t)i * FRAME_MAX, requests[i].bytes);
	}
	for (i = 0; i < count; i++)
		judge(&requests[i], data + (size_t)i * FRAME_MAX);
	free(requests);
}

/* ---- counters ---- */

struct hits {
	struct hit_answer kept[8192];
	__u32 n;
};

static void keep_hit(void *context, const struct sl_hit_key *key, const struct sl_hit *hit)
{
	struct hits *hits = context;

	if (hits->n == sizeof(hits->kept) / sizeof(*hits->kept))
		die("hits", -E2BIG);
	hits->kept[hits->n++] = (struct hit_answer){.count = hit->count, .rule = key->rule,
						    .reason = key->reason,
						    .generation = key->generation};
}

static void keep_view(void *context, const struct sl_target_view *view)
{
	struct counters_answer *answer = context;
	const struct sl_stats *s = &view->stats;
	const struct sl_meter *m = &view->meter;

	if (view->slot != slot)
		return;
	*answer = (struct counters_answer){
		.decided = s->decided, .allowed = s->allowed, .denied = s->denied,
		.audit_denied = s->audit_denied, .submitted = s->submitted,
		.suppressed = s->suppressed, .over_budget = s->over_budget, .lost = s->lost,
		.uncounted = s->uncounted,
		.tx_bytes = m->tx_bytes, .tx_frames = m->tx_frames, .rx_bytes = m->rx_bytes,
		.rx_frames = m->rx_frames, .tx_denied = m->tx_denied, .rx_denied = m->rx_denied,
	};
}

static void counters(void)
{
	static struct hits hits;
	struct counters_answer answer = {};
	int err;

	hits.n = 0;
	err = sl_state_targets(state, keep_view, &answer);
	if (err >= 0)
		err = sl_state_hits(state, slot, keep_hit, &hits);
	if (err < 0)
		die("counters", err);
	give(&answer, sizeof(answer));
	give(&hits.n, sizeof(hits.n));
	give(hits.kept, hits.n * sizeof(*hits.kept));
}

/* ---- learned ---- */

struct lessons {
	struct sl_lesson kept[SL_LEARNED_BUCKETS * SL_LEARNED_WAYS * SL_OWNERS];
	__u32 n;
};

static void keep_lesson(void *context, const struct sl_lesson *lesson)
{
	struct lessons *lessons = context;

	lessons->kept[lessons->n++] = *lesson;
}

static void keep_unlearned(void *context, const struct sl_target_view *view)
{
	if (view->slot == slot)
		*(__u64 *)context = view->stats.unlearned;
}

static void learned(void)
{
	static struct lessons lessons;
	__u64 unlearned = 0;
	__u32 i;

	lessons.n = 0;
	if (sl_state_learned(state, slot, keep_lesson, &lessons) ||
	    sl_state_targets(state, keep_unlearned, &unlearned))
		die("what was learned", -EIO);
	give(&lessons.n, sizeof(lessons.n));
	for (i = 0; i < lessons.n; i++) {
		const struct sl_lesson *lesson = &lessons.kept[i];
		struct lesson_answer answer = {.high = lesson->high, .low = lesson->low,
					       .family = lesson->family, .left_s = lesson->left_s,
					       .bytes = strlen(lesson->name)};

		give(&answer, sizeof(answer));
		give(lesson->name, answer.bytes);
	}
	give(&unlearned, sizeof(unlearned));
}

int main(void)
{
	static char in[1 << 18], out[1 << 18];
	struct sl_diag diag = {};
	int err, what;

	setvbuf(stdin, in, _IOFBF, sizeof(in));
	setvbuf(stdout, out, _IOFBF, sizeof(out));
	err = sl_state_open(&(struct sl_state_options){.create = true}, &state, &diag);
	if (err)
		die(diag.n ? diag.entries[0].message : "the state cannot be made", err);
	while ((what = getchar()) != EOF) {
		if (what == 'A')
			attach();
		else if (what == 'F')
			frames();
		else if (what == 'C')
			counters();
		else if (what == 'L')
			learned();
		else
			die("an unknown request", -EINVAL);
		fflush(stdout);
	}
	sl_compiled_free(&compiled);
	sl_policy_free(policy);
	sl_state_close(state);
	return 0;
}
