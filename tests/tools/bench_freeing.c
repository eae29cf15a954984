// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * bench_freeing POLICY SLICES: what CPU time the kernel takes to free a generation's table, and
 * an LPM_TRIE of the same prefixes, in turn. Each is made and closed; what the kernel's threads
 * that free maps (workers, RCU, soft interrupts) ran until they are quiet again is summed, less
 * what they run in as long a time without. Prints one JSON object: ms of each slice.
 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "compile/compile.h"
#include "kernel/kernel.h"
#include "resolve/resolve.h"

#define QUIET_US 20000	/* nothing runs for so long: it is over */
#define QUIET_NS 100000 /* nearly nothing */
#define WAIT_S 20	/* on a busy machine it never is */

static __attribute__((noreturn)) void die(const char *what, struct sl_diag *diag)
{
	fprintf(stderr, "bench_freeing: %s: %s\n", what, strerror(errno));
	if (diag)
		sl_diag_print(diag, stderr);
	exit(1);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ns that a thread of the kernel that may free maps has run; 0: another one. */
static unsigned long long ran(const char *pid)
{
	static const char *const names[] = {"kworker/", "rcu", "ksoftirqd/"};
	unsigned long long ns = 0;
	char path[300], name[64] = "";
	bool ours = false;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	in = fopen(path, "r");
	if (in && fgets(name, sizeof(name), in))
		for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
			ours = ours || !strncmp(name, names[i], strlen(names[i]));
	if (in)
		fclose(in);
	snprintf(path, sizeof(path), "/proc/%s/schedstat", pid);
	in = ours ? fopen(path, "r") : NULL;
	if (in && fscanf(in, "%llu", &ns) != 1)
		ns = 0;
	if (in)
		fclose(in);
	return ns;
}

static unsigned long long kernel_ran(void)
{
	unsigned long long sum = 0;
	const struct dirent *e;
	DIR *dir = opendir("/proc");

	if (!dir)
		die("/proc", NULL);
	while ((e = readdir(dir)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
			sum += ran(e->d_name);
	closedir(dir);
	return sum;
}

/* Until the kernel's threads are quiet; ns that they have run since. */
static unsigned long long until_quiet(unsigned long long since)
{
	unsigned long long last, at = kernel_ran();
	double end = now() + WAIT_S;

	do {
		last = at;
		usleep(QUIET_US);
		at = kernel_ran();
	} while (at - last > QUIET_NS && now() < end);
	return at - since;
}

/* ms of CPU to free the map, which nobody else holds. */
static double freed(int fd)
{
	unsigned long long before, idle;
	double began = now(), took;

	until_quiet(0);
	before = kernel_ran();
	close(fd);
	usleep(QUIET_US); /* a grace period may come first */
	before = until_quiet(before);
	took = now() - began;
	idle = kernel_ran();
	usleep((useconds_t)(took * 1e6));
	idle = kernel_ran() - idle;
	return before > idle ? (double)(before - idle) / 1e6 : 0;
}

static int make_table(const struct sl_compiled *compiled)
{
	struct sl_diag diag = {};
	int fd = sl_kernel_table_map(&compiled->table, &diag);

	if (fd < 0)
		die("table", &diag);
	return fd;
}

static int make_trie(const struct sl_policy *policy)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_NO_PREALLOC);
	const struct sl_set *set = policy->sets[0];
	unsigned bytes = set->cidrs[0].family == 4 ? 4 : 16;
	struct {
		__u32 len;
		__u8 address[16];
	} key;
	__u32 value = 1;
	int fd = bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "trie", 4 + bytes, sizeof(value),
				(__u32)set->n_cidrs, &options);

	for (size_t i = 0; fd >= 0 && i < set->n_cidrs; i++) {
		key.len = set->cidrs[i].len;
		memcpy(key.address, set->cidrs[i].addr, sizeof(key.address));
		if (bpf_map_update_elem(fd, &key, &value, 0))
			die("LPM_TRIE", NULL);
	}
	if (fd < 0)
		die("LPM_TRIE", NULL);
	return fd;
}

int main(int argc, char **argv)
{
	struct sl_resolve_options resolve = {.trust_clock = true};
	struct sl_compile_options options = {.generation = 1};
	json_t *out = json_object(), *table = json_array(), *trie = json_array();
	struct sl_policy *policy = NULL;
	struct sl_compiled compiled = {};
	struct sl_diag diag = {};

	if (argc != 3) {
		fputs("usage: bench_freeing POLICY SLICES\n", stderr);
		return 2;
	}
	if (sl_policy_load(argv[1], &resolve, &policy, &diag) ||
	    sl_compile(policy, &options, &compiled, &diag))
		die(argv[1], &diag);
	if (!policy->n_sets || !policy->sets[0]->n_cidrs)
		die("the policy has no set", NULL);
	for (int i = 0; i < atoi(argv[2]); i++) {
		json_array_append_new(table, json_real(freed(make_table(&compiled))));
		json_array_append_new(trie, json_real(freed(make_trie(policy))));
	}
	json_object_set_new(out, "table", table);
	json_object_set_new(out, "trie", trie);
	json_dumpf(out, stdout, 0);
	putchar('\n');
	json_decref(out);
	sl_compiled_free(&compiled);
	sl_policy_free(policy);
	return 0;
}
