// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * bench_lookup POLICY DESTINATIONS PORT SLICES [trie]: how long a verdict takes, alone.
 *
 * DESTINATIONS holds a power of two of addresses of one family, one a line. Loads the
 * policy, then runs in turn: no lookup, the policy's table, the first step of its verdict (the
 * address alone), the second (a port alone) and, with `trie`, an LPM_TRIE of
 * the policy's prefixes; a slice of each, SLICES times. Prints one JSON object: times of
 * each stage in ms, bytes of the table and the trie, ns a run of each slice, and how many of
 * the destinations each found (the table and the ports: allowed; the first step: of the class of
 * the first one that is allowed).
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.skel.h"
#include "compile/compile.h"
#include "kernel/kernel.h"
#include "kernel/outer.h"
#include "resolve/resolve.h"

#define RUNS 100000	/* a slice */
#define GENERATION 7ull

struct destination {
	__u64 high, low;
};

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static __attribute__((noreturn)) void die(const char *what)
{
	fprintf(stderr, "bench_lookup: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void report(struct sl_diag *diag, const char *what)
{
	sl_diag_print(diag, stderr);
	die(what);
}

/* The policy, from text to a table in the kernel that the programs obey. */
static void load(struct bench *skel, const char *path, struct sl_policy **policy, json_t *out)
{
	struct sl_resolve_options resolve = {.trust_clock = true};
	struct sl_compile_options options = {.generation = GENERATION};
	struct sl_compiled compiled;
	struct sl_diag diag = {};
	double at = now_ms();
	struct sl_outer_change change = {.outer_fd = bpf_map__fd(skel->maps.sl_tables)};

	if (sl_policy_load(path, &resolve, policy, &diag))
		report(&diag, "load");
	json_object_set_new(out, "text_ms", json_real(now_ms() - at));
	at = now_ms();
	if (sl_compile(*policy, &options, &compiled, &diag))
		report(&diag, "compile");
	json_object_set_new(out, "compile_ms", json_real(now_ms() - at));
	json_object_set_new(out, "table_bytes", json_integer((json_int_t)compiled.table.n_words * 8));
	at = now_ms();
	change.fd = sl_kernel_table_map(&compiled.table, &diag);
	if (change.fd < 0)
		report(&diag, "table");
	json_object_set_new(out, "copy_ms", json_real(now_ms() - at));
	at = now_ms();
	/* as sl_state_switch has it: obeyed before the grace period ends that frees what was there */
	sl_outer_begin(&change, 1);
	if (sl_outer_shown(&change, 1))
		die("sl_tables");
	skel->bss->bench_word = GENERATION << SL_WORD_INDEX_BITS;
	json_object_set_new(out, "switch_ms", json_real(now_ms() - at));
	sl_outer_wait(&change, 1);
	close(change.fd);
	sl_compiled_free(&compiled);
	sl_diag_free(&diag);
}

static unsigned read_destinations(struct bench *skel, const char *path)
{
	FILE *in = fopen(path, "r");
	unsigned char bytes[16];
	char line[128];
	__u32 n = 0;

	if (!in)
		die(path);
	while (fgets(line, sizeof(line), in)) {
		struct destination d = {};

		line[strcspn(line, "\n")] = 0;
		skel->bss->bench_family = strchr(line, ':') ? 6 : 4;
		if (inet_pton(skel->bss->bench_family == 4 ? AF_INET : AF_INET6, line, bytes) != 1)
			die(line);
		for (int i = 0; i < (skel->bss->bench_family == 4 ? 4 : 16); i++) {
			d.high = d.high << 8 | d.low >> 56;
			d.low = d.low << 8 | bytes[i];
		}
		if (bpf_map_update_elem(bpf_map__fd(skel->maps.bench_destinations), &n, &d, 0))
			die("destinations");
		n++;
	}
	fclose(in);
	if (!n || n & (n - 1))
		die("the number of destinations is no power of two");
	skel->bss->bench_mask = n - 1;
	return n;
}

static void add_prefix(int fd, const struct sl_cidr *cidr, unsigned family, size_t *n)
{
	struct {
		__u32 len;
		__u8 address[16];
	} key = {.len = cidr->len};
	__u32 value = 1;

	if (cidr->family != family)
		return;
	memcpy(key.address, cidr->addr, sizeof(key.address));
	if (bpf_map_update_elem(fd, &key, &value, 0))
		die("LPM_TRIE");
	++*n;
}

/*
 * The kernel's own objects, a trie's nodes among them. What it says of a trie itself (memlock) has
 * neither the inner nodes nor what allocation rounds up.
 */
static long long slab_bytes(void)
{
	FILE *in = fopen("/proc/meminfo", "r");
	long long kib = -1;
	char line[128];

	while (in && kib < 0 && fgets(line, sizeof(line), in))
		if (sscanf(line, "SUnreclaim: %lld", &kib) != 1)
			kib = -1;
	if (in)
		fclose(in);
	if (kib < 0)
		die("/proc/meminfo");
	return kib * 1024;
}

static void fill_trie(struct bench *skel, const struct sl_policy *policy, json_t *out)
{
	unsigned family = skel->bss->bench_family;
	int fd = bpf_map__fd(family == 4 ? skel->maps.bench_trie4 : skel->maps.bench_trie6);
	long long before = slab_bytes();
	double at = now_ms();
	size_t n = 0;

	for (size_t i = 0; i < policy->n_sets; i++)
		for (size_t k = 0; k < policy->sets[i]->n_cidrs; k++)
			add_prefix(fd, &policy->sets[i]->cidrs[k], family, &n);
	json_object_set_new(out, "trie_ms", json_real(now_ms() - at));
	json_object_set_new(out, "trie_prefixes", json_integer((json_int_t)n));
	json_object_set_new(out, "trie_bytes", json_integer(slab_bytes() - before));
}

/* ns a run, from destination `first` on. */
static double run(struct bench *skel, struct bpf_program *program, unsigned first, unsigned runs)
{
	LIBBPF_OPTS(bpf_test_run_opts, options);
	char packet[64] = {};

	options.data_in = packet;
	options.data_size_in = sizeof(packet);
	options.repeat = (int)runs;
	skel->bss->bench_next = first;
	if (bpf_prog_test_run_opts(bpf_program__fd(program), &options) || options.retval)
		die("test run");
	return options.duration;	/* ns, the mean of the runs */
}

static double slice(struct bench *skel, struct bpf_program *program, unsigned runs)
{
	return run(skel, program, 0, runs);
}

static __u64 found(struct bench *skel, struct bpf_program *program, unsigned n)
{
	skel->bss->bench_found = 0;
	slice(skel, program, n);
	return skel->bss->bench_found;
}

/* The steps are asked about the first destination that is allowed. */
static void prepare(struct bench *skel, unsigned n)
{
	unsigned i = 0;

	do {
		if (i == n)
			die("no destination is allowed");
		skel->bss->bench_found = 0;
		run(skel, skel->progs.bench_table, i++, 1);
	} while (!skel->bss->bench_found);
	run(skel, skel->progs.bench_prepare, i - 1, 1);
}

int main(int argc, char **argv)
{
	struct bench *skel = argc >= 5 ? bench__open_and_load() : NULL;
	struct {
		const char *name;
		struct bpf_program *program;
	} programs[5];
	size_t n_programs = argc > 5 ? 5 : 4;
	struct sl_policy *policy;
	json_t *out = json_object(), *finds = json_object();
	unsigned n;

	json_object_set_new(out, "found", finds);
	if (!skel)
		die(argc < 5 ? "usage: bench_lookup POLICY DESTINATIONS PORT SLICES [trie]"
			     : "the programs cannot be loaded");
	programs[0].name = "empty", programs[0].program = skel->progs.bench_empty;
	programs[1].name = "table", programs[1].program = skel->progs.bench_table;
	programs[2].name = "lookup", programs[2].program = skel->progs.bench_lookup;
	programs[3].name = "step", programs[3].program = skel->progs.bench_step;
	programs[4].name = "trie", programs[4].program = skel->progs.bench_lpm;
	n = read_destinations(skel, argv[2]);
	skel->bss->bench_key = (__u32)atoi(argv[3]);
	load(skel, argv[1], &policy, out);
	if (argc > 5)
		fill_trie(skel, policy, out);
	sl_policy_free(policy);
	if (atoi(argv[4]))	/* without slices only the load counts */
		prepare(skel, n);
	for (size_t i = 0; i < n_programs; i++) {
		json_object_set_new(out, programs[i].name, json_array());
		json_object_set_new(finds, programs[i].name,
				    json_integer((json_int_t)found(skel, programs[i].program, n)));
	}
	for (int k = 0; k < atoi(argv[4]); k++)
		for (size_t i = 0; i < n_programs; i++)
			json_array_append_new(json_object_get(out, programs[i].name),
					      json_real(slice(skel, programs[i].program, RUNS)));
	json_dumpf(out, stdout, 0);
	putchar('\n');
	json_decref(out);
	bench__destroy(skel);
	return 0;
}
