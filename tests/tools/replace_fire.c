// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * replace_fire SWAPS POLICY POLICY ALLOWED DENIED: two large policies of a device take turns, each
 * from its text to the switch, while its program (BPF_PROG_TEST_RUN) judges datagrams without
 * rest: to the addresses of the file ALLOWED, which both allow, and of DENIED, which both deny
 * (with on_deny: drop, since refusals have a rate). Prints one JSON object: swaps, probes, wrong
 * verdicts, ms of each swap; exit 1 if one is wrong.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compile/compile.h"
#include "kernel/state.h"
#include "resolve/resolve.h"
#include "target/device.h"

#define LOOPBACK 1 /* the interface of a test run */
#define MOST 4096  /* addresses: each allowed one is a flow */
#define FRAME (14 + 40 + 8)

struct probes {
	__u8 frames[MOST][FRAME];
	size_t n, bytes;
	int verdict; /* what is right */
};

static struct sl_state *state;
static struct probes allowed, denied;
static unsigned long long probed, wrong;
static _Atomic bool over;
static __u32 slot;

static __attribute__((noreturn)) void die(const char *what, struct sl_diag *diag)
{
	fprintf(stderr, "replace_fire: %s: %s\n", what, strerror(errno));
	if (diag)
		sl_diag_print(diag, stderr);
	exit(1);
}

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* ---- the datagrams ---- */

/* From any address, to port 9, with no checksum of its own (IPv6: with any). */
static size_t make_frame(__u8 *f, const char *to)
{
	static const __u8 udp[] = {0x0f, 0xa0, 0, 9, 0, 8, 0, 0};
	bool v6 = strchr(to, ':');
	__u8 *ip = f + 14;

	memset(f, 0x02, 12); /* no group's MAC */
	f[12] = v6 ? 0x86 : 0x08;
	f[13] = v6 ? 0xdd : 0x00;
	ip[0] = v6 ? 0x60 : 0x45;
	ip[v6 ? 5 : 3] = v6 ? 8 : 28;
	ip[v6 ? 6 : 9] = 17;
	ip[v6 ? 7 : 8] = 64;
	inet_pton(v6 ? AF_INET6 : AF_INET, v6 ? "fd77::2" : "10.77.0.2", ip + (v6 ? 8 : 12));
	if (inet_pton(v6 ? AF_INET6 : AF_INET, to, ip + (v6 ? 24 : 16)) != 1)
		die(to, NULL);
	memcpy(ip + (v6 ? 40 : 20), udp, sizeof(udp));
	return 14 + (v6 ? 40 : 20) + sizeof(udp);
}

static void read_probes(struct probes *p, const char *path)
{
	FILE *in = fopen(path, "r");
	char line[128];

	while (in && p->n < MOST && fgets(line, sizeof(line), in)) {
		line[strcspn(line, "\n")] = 0;
		p->bytes = make_frame(p->frames[p->n++], line);
	}
	if (!in || !p->n)
		die(path, NULL);
	fclose(in);
}

static int judge(struct probes *p, size_t i)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = p->frames[i],
		    .data_size_in = (__u32)p->bytes, .repeat = 1);

	if (bpf_prog_test_run_opts(sl_state_program_fd(state, SL_EGRESS), &options))
		die("test run", NULL);
	return (int)options.retval;
}

static void judge_all(struct probes *p)
{
	for (size_t i = 0; i < p->n; i++) {
		int verdict = judge(p, i);

		probed++;
		if (verdict == p->verdict)
			continue;
		if (!wrong++)
			fprintf(stderr, "replace_fire: frame %zu of the %s: verdict %d, not %d\n",
				i, p == &allowed ? "allowed" : "denied", verdict, p->verdict);
	}
}

static void *fire(void *context)
{
	while (!atomic_load(&over)) {
		judge_all(&allowed);
		judge_all(&denied);
	}
	return NULL;
}

/* ---- the policies ---- */

static double put(const char *path, bool first)
{
	struct sl_resolve_options resolve = {.trust_clock = true};
	struct sl_binding_spec spec = {};
	struct sl_binding binding = sl_binding_complete(&spec);
	struct sl_compile_options options = {.binding = &binding};
	struct sl_policy *policy = NULL;
	struct sl_compiled compiled = {};
	struct sl_diag diag = {};
	double at = now_ms();
	int err;

	options.generation = sl_state_next_generation(state);
	err = sl_policy_load(path, &resolve, &policy, &diag);
	if (!err)
		err = sl_compile(policy, &options, &compiled, &diag);
	if (!err)
		err = first ? sl_state_add_unattached(state, LOOPBACK, &compiled.table, &slot,
						      &diag)
			    : sl_state_switch(state, slot, &compiled.table, &diag);
	if (err)
		die(path, &diag);
	at = now_ms() - at;
	sl_compiled_free(&compiled);
	sl_policy_free(policy);
	sl_diag_free(&diag);
	return at;
}

int main(int argc, char **argv)
{
	struct sl_state_options options = {.create = true};
	json_t *out = json_object(), *times = json_array();
	struct sl_diag diag = {};
	pthread_t thread;
	int swaps;

	if (argc != 6) {
		fputs("usage: replace_fire SWAPS POLICY POLICY ALLOWED DENIED\n", stderr);
		return 2;
	}
	swaps = atoi(argv[1]);
	read_probes(&allowed, argv[4]);
	read_probes(&denied, argv[5]);
	if (sl_state_open(&options, &state, &diag))
		die("state", &diag);
	put(argv[2], true);
	allowed.verdict = judge(&allowed, 0);
	denied.verdict = judge(&denied, 0);
	if (allowed.verdict == denied.verdict)
		die("what is allowed and what is denied have one verdict", NULL);
	if (pthread_create(&thread, NULL, fire, NULL))
		die("thread", NULL);
	for (int i = 1; i <= swaps; i++)
		json_array_append_new(times, json_real(put(argv[2 + i % 2], false)));
	atomic_store(&over, true);
	pthread_join(thread, NULL);
	json_object_set_new(out, "swaps", json_integer(swaps));
	json_object_set_new(out, "probes", json_integer((json_int_t)probed));
	json_object_set_new(out, "wrong", json_integer((json_int_t)wrong));
	json_object_set_new(out, "swap_ms", times);
	json_dumpf(out, stdout, 0);
	putchar('\n');
	json_decref(out);
	sl_state_close(state);
	return wrong != 0;
}
