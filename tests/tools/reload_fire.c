// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * reload_fire [SWAPS [SECONDS]]: policies swapped under fire, through the
 * loader's own interface. Four targets at once, each with its own pair of
 * policies that allow and deny different destinations, each probed by processes
 * of its own. Every probe's outcome must be that of the old or the new policy of
 * its own target (fire/shared.h says how that is told), every event must be what
 * the table of its generation says, and at rest the counts must add up.
 *
 * Before the fire: a TCP connection and a UDP socket kept open across a few
 * swaps are cut under the policy that denies them and live again under the other.
 *
 * The last line is `swaps N, probes N, wrong N`; exit 1 if something is wrong.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "kernel/kernel.h"
#include "resolve/resolve.h"
#include "target/cgroup.h"
#include "fire/shared.h"
#include "fire/server.h"
#include "fire/probe.h"
#include "fire/account.h"

#define SLOW_SWAPS 6  /* of the connections kept open: cut, alive, ... */
#define PAUSE_US 4000 /* at most, between two swaps: time without one */
#define FILLER 300    /* rules before those that count, in policy A */

static struct target targets[N_TARGETS];
static pid_t worker = -1;
static __u64 swaps_wanted = 1000;

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static __attribute__((noreturn)) void die(const char *what, struct sl_diag *diag)
{
	fprintf(stderr, "reload_fire: %s: %s\n", what, strerror(errno));
	if (diag)
		sl_diag_print(diag, stderr);
	exit(1);
}

/* ---- policies ---- */

/* A has many rules before the one that counts, B has few: a mix of the two
 * tables would not go unseen. */
static void write_policy(unsigned target, bool b, FILE *out)
{
	unsigned t = target + 1, i;

	fprintf(out, "sluice: 1\nname: fire-%u-%c\nrules:\n", t, b ? 'b' : 'a');
	for (i = 0; !b && i < FILLER; i++)
		fprintf(out, "  - deny: 10.%u.%u.0/24:%u\n", t, i % 256, 1000 + i);
	fprintf(out, "  - deny: [127.20.%u.4, 'fd20::%u:4']\n", t, t);
	if (b)
		fprintf(out, "  - deny: [127.20.%u.1, 'fd20::%u:1']\n", t, t);
	fprintf(out, "  - allow: [127.20.%u.%d, 'fd20::%u:%d']\n", t, b ? 2 : 1, t, b ? 2 : 1);
	fprintf(out, "  - allow: [127.20.%u.3, 'fd20::%u:3']\n", t, t);
}

static struct sl_policy *make_policy(unsigned target, bool b, struct sl_diag *diag)
{
	struct sl_policy *parsed = NULL, *resolved = NULL;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		die("policy", NULL);
	write_policy(target, b, out);
	fclose(out);
	if (sl_policy_parse(text, len, "fire", SL_PARSE_POLICY, &parsed, diag) ||
	    sl_resolve(parsed, NULL, &(struct sl_resolve_options){}, &resolved, diag))
		die("policy", diag);
	sl_policy_free(parsed);
	free(text);
	return resolved;
}

/* Swap k: its policy compiled as generation k + 1, and put in force. */
static int swap(struct target *t, __u64 k)
{
	struct sl_compile_options options = {.generation = k + 1};
	struct fire_target *f = &fire->targets[t->number];
	struct sl_compiled compiled = {};
	struct sl_diag diag = {};
	int err = sl_compile(t->policy[k % 2], &options, &compiled, &diag);

	if (!err) {
		atomic_store(&f->begun, k);
		err = sl_kernel_switch(t->kernel, &compiled.table, &diag);
	}
	if (err) {
		sl_diag_print(&diag, stderr);
		fire_wrong("target %u: swap %llu: %s", t->number, (unsigned long long)k,
			   strerror(-err));
	} else {
		atomic_store(&f->done, k);
	}
	sl_compiled_free(&compiled);
	sl_diag_free(&diag);
	return err;
}

static void *swap_all(void *argument)
{
	struct target *t = argument;
	__u64 k = atomic_load(&fire->targets[t->number].done);
	unsigned random = t->number + 1;

	while (t->swaps < swaps_wanted && !atomic_load(&fire->stop) && !swap(t, ++k)) {
		t->swaps++;
		random = random * 1664525 + 1013904223;
		usleep((random >> 8) % PAUSE_US);
	}
	return NULL;
}

static void drain(void)
{
	size_t i;

	for (i = 0; i < N_TARGETS; i++)
		sl_kernel_drain(targets[i].kernel, on_event, &targets[i]);
}

/* ---- set up ---- */

static void own_network(void)
{
	if (unshare(CLONE_NEWNET))
		die("network namespace", NULL);
	if (system("ip link set lo up && ip -6 addr add fd20::ffff/128 dev lo nodad && "
		   "ip -6 route add local fd20::/16 dev lo"))
		die("ip", NULL);
}

static void make_target(struct target *t, unsigned number)
{
	struct sl_kernel_options options = {.flows = 1 << 16};
	struct sl_diag diag = {};
	int i;

	t->number = number;
	for (i = 0; i < 2; i++) {
		t->policy[i] = make_policy(number, i, &diag);
		if (sl_compile(t->policy[i], &(struct sl_compile_options){.generation = 1},
			       &t->compiled[i], &diag))
			die("compile", &diag);
	}
	options.cgroup_id = t->cgroup.level_exact ? t->cgroup.id : 0;
	options.cgroup_level = t->cgroup.level;
	options.table = &t->compiled[0].table; /* swap 0 */
	if (sl_kernel_load(&options, &t->kernel, &diag) ||
	    sl_kernel_attach_cgroup(t->kernel, t->cgroup.dir_fd, &diag))
		die("target", &diag);
	sl_diag_free(&diag);
}

/* A child that dies with the worker. t: which target it joins; NULL: none. */
static pid_t child(const struct target *t)
{
	struct sl_diag diag = {};
	pid_t pid = fork();

	if (pid < 0)
		die("fork", NULL);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != worker)
		_exit(1);
	if (t && sl_cgroup_add(&t->cgroup, getpid(), &diag)) {
		sl_diag_print(&diag, stderr);
		fire_wrong("target %u: a probe could not join", t->number);
		_exit(1);
	}
	return 0;
}

static void start_server(void)
{
	struct fire_server server;

	if (server_open(&server))
		die("server", NULL);
	if (!child(NULL))
		fire_serve(&server);
}

/* ---- the two phases ---- */

static int start_live(const struct target *t, int family)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		die("socketpair", NULL);
	if (!child(t))
		fire_probe_live(t->number, family, pair[1]);
	close(pair[1]);
	return pair[0];
}

static void ask_live(unsigned target, int fd, __u64 k)
{
	char answer = 'n';

	if (read(fd, &answer, 1) != 1 || answer != 'y')
		fire_wrong("target %u: open connections are not %s after swap %llu", target,
			   k % 2 ? "cut" : "alive again", (unsigned long long)k);
}

static void slow_swaps(void)
{
	int fds[N_TARGETS][2], i, j;
	__u64 k;

	for (i = 0; i < N_TARGETS; i++) {
		fds[i][0] = start_live(&targets[i], AF_INET);
		fds[i][1] = start_live(&targets[i], AF_INET6);
	}
	for (k = 0; k <= SLOW_SWAPS; k++) {
		for (i = 0; i < N_TARGETS; i++)
			if (k && swap(&targets[i], k))
				return;
		for (i = 0; i < N_TARGETS; i++)
			for (j = 0; j < 2; j++)
				if (write(fds[i][j], k % 2 ? "d" : "a", 1) != 1)
					fire_wrong("target %d: a probe is gone", i);
		for (i = 0; i < N_TARGETS; i++)
			for (j = 0; j < 2; j++)
				ask_live(i, fds[i][j], k);
	}
	for (i = 0; i < N_TARGETS; i++) {
		close(fds[i][0]);
		close(fds[i][1]);
	}
}

static void fast_swaps(double limit)
{
	double deadline = seconds() + limit, rest;
	pid_t probes[N_TARGETS][2];
	bool over;
	size_t i;

	for (i = 0; i < N_TARGETS; i++) {
		if (!(probes[i][0] = child(&targets[i])))
			fire_probe_tcp(i);
		if (!(probes[i][1] = child(&targets[i])))
			fire_probe_udp(i);
	}
	for (i = 0; i < N_TARGETS; i++)
		if (pthread_create(&targets[i].thread, NULL, swap_all, &targets[i]))
			die("thread", NULL);
	do {
		usleep(20000);
		drain();
		for (i = 0, over = true; i < N_TARGETS; i++)
			over = over && atomic_load(&targets[i].swaps) == swaps_wanted;
	} while (!over && seconds() < deadline && !atomic_load(&fire->wrong));
	atomic_store(&fire->stop, 1);
	for (i = 0; i < N_TARGETS; i++) {
		pthread_join(targets[i].thread, NULL);
		waitpid(probes[i][0], NULL, 0);
		waitpid(probes[i][1], NULL, 0);
	}
	for (rest = seconds() + 0.2; seconds() < rest;)
		drain();
}

static int report(double took)
{
	__u64 swaps = 0, probes = 0, settled = 0, wrong;
	const struct fire_target *f;
	size_t i;

	for (i = 0; i < N_TARGETS; i++) {
		f = &fire->targets[i];
		check_counts(&targets[i]);
		swaps += targets[i].swaps;
		probes += f->probes;
		settled += f->settled;
		printf("target %zu: %llu swaps, %llu probes: %llu passed, %llu refused\n", i,
		       (unsigned long long)targets[i].swaps, (unsigned long long)f->probes,
		       (unsigned long long)f->passed, (unsigned long long)f->denied);
		if (!f->settled || !f->passed || !f->denied || !targets[i].swaps)
			fire_wrong("target %zu: nothing was proved", i);
	}
	wrong = fire->wrong;
	printf("%.1f s; %llu probes met no swap, and were judged by one policy; %llu datagrams "
	       "checked where they arrived\n",
	       took, (unsigned long long)settled, (unsigned long long)fire->received);
	printf("swaps %llu, probes %llu, wrong %llu\n", (unsigned long long)swaps,
	       (unsigned long long)probes, (unsigned long long)wrong);
	return wrong ? 1 : 0;
}

/* ---- the worker does it all; its parent made the cgroups, and removes them
 * whatever becomes of it ---- */

static int work(double limit)
{
	double start = seconds();
	unsigned i;

	worker = getpid();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	own_network();
	for (i = 0; i < N_TARGETS; i++)
		make_target(&targets[i], i);
	start_server();
	slow_swaps();
	fast_swaps(limit);
	return report(seconds() - start);
}

static void on_signal(int number)
{
	kill(worker, SIGKILL);
}

static void make_cgroups(void)
{
	struct sl_cgroup2 hierarchy = {};
	struct sl_diag diag = {};
	unsigned i;

	if (sl_cgroup2_find(&hierarchy, &diag))
		die("cgroup2", &diag);
	sl_cgroup_sweep(&hierarchy);
	for (i = 0; i < N_TARGETS; i++)
		if (sl_cgroup_make(&hierarchy, &targets[i].cgroup, &diag))
			sl_diag_print(&diag, stderr);
	sl_cgroup2_free(&hierarchy);
	sl_diag_free(&diag);
}

static void remove_cgroups(void)
{
	unsigned i;

	for (i = 0; i < N_TARGETS; i++) {
		if (!targets[i].cgroup.path)
			continue;
		sl_cgroup_kill(&targets[i].cgroup);
		sl_cgroup_wait_empty(&targets[i].cgroup, 5000);
		if (sl_cgroup_remove(&targets[i].cgroup))
			fprintf(stderr, "reload_fire: %s is left\n", targets[i].cgroup.path);
		sl_cgroup_close(&targets[i].cgroup);
	}
}

int main(int argc, char **argv)
{
	double limit = argc > 2 ? atof(argv[2]) : 60;
	int status = -1;

	if (argc > 1)
		swaps_wanted = strtoull(argv[1], NULL, 10);
	setvbuf(stdout, NULL, _IOLBF, 0);
	fire = mmap(NULL, sizeof(*fire), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fire == MAP_FAILED)
		die("mmap", NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	make_cgroups();
	if (targets[N_TARGETS - 1].cgroup.path)
		worker = fork();
	if (!worker)
		exit(work(limit));
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	while (worker > 0 && waitpid(worker, &status, 0) < 0 && errno == EINTR)
		;
	remove_cgroups();
	while (wait(NULL) > 0) /* what the worker left died with it */
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
