// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * bench_targets STATE CGROUP POLICIES FIRST LAST: makes the cgroups CGROUP/FIRST to CGROUP/LAST and
 * attaches POLICIES/N.yaml to each, in one process, as sluiced does. Prints how many, the ms that
 * this took (policies read and compiled, the kernel's grace periods included, cgroups made
 * before), and the KiB of the machine's memory that are gone since.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kernel/expedite.h"
#include "target/cgroup_policy.h"

static __attribute__((noreturn)) void die(const char *what, struct sl_diag *diag)
{
	fprintf(stderr, "bench_targets: %s: %s\n", what, strerror(errno));
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

static long available_kib(void)
{
	FILE *in = fopen("/proc/meminfo", "r");
	char line[128];
	long kib = -1;

	while (in && kib < 0 && fgets(line, sizeof(line), in))
		if (sscanf(line, "MemAvailable: %ld", &kib) != 1)
			kib = -1;
	if (in)
		fclose(in);
	if (kib < 0)
		die("/proc/meminfo", NULL);
	return kib;
}

static char *path_of(const char *folder, unsigned number, const char *suffix)
{
	char *path;

	if (asprintf(&path, "%s/%u%s", folder, number, suffix) < 0)
		die("memory", NULL);
	return path;
}

static void make(const char *folder, unsigned number)
{
	char *path = path_of(folder, number, "");

	if (mkdir(path, 0755))
		die(path, NULL);
	free(path);
}

static void attach(struct sl_state *state, const char *folder, const char *policies,
		   unsigned number)
{
	char *path = path_of(folder, number, ""), *policy = path_of(policies, number, ".yaml");
	struct sl_attach_options options = {.policy = policy};
	struct sl_cgroup_target cgroup = {};
	struct sl_attached attached = {};
	struct sl_diag diag = {};

	if (sl_cgroup_open_target(path, &cgroup, &diag) ||
	    sl_cgroup_attach(state, &cgroup, &options, &attached, &diag))
		die(path, &diag);
	sl_cgroup_close_target(&cgroup);
	sl_diag_free(&diag);
	free(policy);
	free(path);
}

int main(int argc, char **argv)
{
	struct sl_state_options options = {.path = argc == 6 ? argv[1] : NULL, .create = true};
	unsigned first, last, i;
	struct sl_state *state;
	struct sl_diag diag = {};
	long before;
	double at;

	if (argc != 6) {
		fputs("usage: bench_targets STATE CGROUP POLICIES FIRST LAST\n", stderr);
		return 2;
	}
	first = (unsigned)strtoul(argv[4], NULL, 10);
	last = (unsigned)strtoul(argv[5], NULL, 10);
	for (i = first; i <= last; i++)
		make(argv[2], i);
	sl_expedite_open();
	before = available_kib();
	at = now_ms();
	if (sl_state_open(&options, &state, &diag))
		die(argv[1], &diag);
	for (i = first; i <= last; i++)
		attach(state, argv[2], argv[3], i);
	sl_state_close(state);
	printf("%u %.3f %ld\n", last - first + 1, now_ms() - at, before - available_kib());
	return 0;
}
