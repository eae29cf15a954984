// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * reload_flows [SWAPS [4|6]]: reloads of a policy while 10,000 flows of a target are alive, through
 * the loader's own interface. 9,600 are UDP (120 client sockets to 80 ports), 400 TCP. Policy A
 * allows all, policy B all but those to one in eight ports; in turn, while traffic goes over every
 * flow both ways without rest. No packet that both allow may be lost; none that the policy in force
 * denies may pass.
 *
 * A TCP packet that was lost would be sent again, so the namespace's counter of these
 * (RetransSegs) must not move. Prints one JSON object; exit 1 if something was lost or passed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kernel/kernel.h"
#include "resolve/resolve.h"
#include "target/cgroup.h"

#define CLIENTS 120
#define PORTS 80
#define STREAMS 400
#define FLOWS (CLIENTS * PORTS + STREAMS)
#define DENIED_OF 8 /* every so manieth port is denied by B */
#define PORT 20000
#define STREAM_PORT 30000
#define WAIT_MS 20000 /* a datagram over loopback that is not there by then is lost */

static struct sl_kernel *kernel;
static int family = AF_INET;
static int servers[PORTS], clients[CLIENTS], streams[STREAMS][2];
static _Atomic unsigned long begun, done; /* swaps; odd: B */
static _Atomic bool over;
static json_t *times;
static unsigned long packets, lost, leaked, refused, swaps_wanted = 20;

static __attribute__((noreturn)) void die(const char *what, struct sl_diag *diag)
{
	fprintf(stderr, "reload_flows: %s: %s\n", what, strerror(errno));
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

/* ---- the policies ---- */

static void compile(bool b, __u64 generation, struct sl_compiled *out)
{
	struct sl_compile_options options = {.generation = generation};
	struct sl_policy *parsed = NULL, *resolved = NULL;
	struct sl_diag diag = {};
	char *text = NULL;
	size_t len = 0;
	FILE *in = open_memstream(&text, &len);

	fprintf(in, "sluice: 1\nname: flows-%c\nrules:\n", b ? 'b' : 'a');
	for (int i = 0; b && i < PORTS; i += DENIED_OF)
		fprintf(in, "  - deny: ['127.0.0.1:%d/udp', '[::1]:%d/udp']\n", PORT + i, PORT + i);
	fprintf(in, "  - allow: [127.0.0.1, '::1']\n");
	fclose(in);
	if (sl_policy_parse(text, len, "flows", SL_PARSE_POLICY, &parsed, &diag) ||
	    sl_resolve(parsed, NULL, &(struct sl_resolve_options){}, &resolved, &diag) ||
	    sl_compile(resolved, &options, out, &diag))
		die("policy", &diag);
	sl_policy_free(parsed);
	sl_policy_free(resolved);
	sl_diag_free(&diag);
	free(text);
}

static void swap(unsigned long k)
{
	struct sl_compiled next = {};
	struct sl_diag diag = {};
	double at = now_ms();

	compile(k % 2, k + 1, &next);
	atomic_store(&begun, k);
	if (sl_kernel_switch(kernel, &next.table, &diag))
		die("switch", &diag);
	atomic_store(&done, k);
	json_array_append_new(times, json_real(now_ms() - at));
	sl_compiled_free(&next);
	sl_diag_free(&diag);
}

static void *swap_all(void *argument)
{
	unsigned long k;

	for (k = 1; k <= swaps_wanted; k++) {
		swap(k);
		usleep(20000); /* traffic without a swap, too */
	}
	atomic_store(&over, true);
	return NULL;
}

/* ---- the flows ---- */

struct place {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
	socklen_t size;
};

static struct place address_of(unsigned port)
{
	struct place p = {.size = sizeof(p.v6)};

	if (family == AF_INET6) {
		p.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6,
					     .sin6_port = htons((__u16)port),
					     .sin6_addr = IN6ADDR_LOOPBACK_INIT};
		return p;
	}
	p.v4 = (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons((__u16)port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	p.size = sizeof(p.v4);
	return p;
}

static int open_socket(int type, unsigned port)
{
	struct place at = address_of(port);
	int fd = socket(family, type | SOCK_CLOEXEC, 0);

	if (fd < 0 || (port && bind(fd, &at.any, at.size)))
		die("socket", NULL);
	return fd;
}

static bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, WAIT_MS) == 1;
}

/* A datagram that arrived must be the one that was sent last. */
static bool arrives(int fd, unsigned long number, struct place *from)
{
	unsigned long got;

	while (readable(fd)) {
		from->size = sizeof(from->v6);
		if (recvfrom(fd, &got, sizeof(got), 0, &from->any, &from->size) == sizeof(got) &&
		    got == number)
			return true;
	}
	return false;
}

/* There and back again over one flow. Before is what was in force when it was sent, after what
 * had begun when it had been: what neither denies may not be refused. */
static void over_udp(int client, int port)
{
	struct place to = address_of(PORT + (unsigned)port), from;
	unsigned long before = atomic_load(&done), number = ++packets;
	bool deniable = port % DENIED_OF == 0;
	bool sent = sendto(client, &number, sizeof(number), 0, &to.any, to.size) > 0;
	unsigned long after = atomic_load(&begun);

	if (!sent) {
		refused++;
		/* B was in force at some moment */
		if (!deniable || (before == after && after % 2 == 0))
			lost++;
		return;
	}
	if (deniable && before == after && after % 2)
		leaked++;
	/* what answers is not of the target, but what it sends enters it: B takes it out */
	if (!arrives(servers[port], number, &from)) {
		lost++;
		return;
	}
	if (deniable)
		return;
	packets++;
	if (sendto(servers[port], &number, sizeof(number), 0, &from.any, from.size) < 0 ||
	    !arrives(client, number, &from))
		lost++;
}

static void over_tcp(int side[2])
{
	char byte = 'x';

	packets += 2;
	for (int i = 0; i < 2; i++)
		if (send(side[i], &byte, 1, MSG_NOSIGNAL) != 1 || !readable(side[!i]) ||
		    recv(side[!i], &byte, 1, 0) != 1)
			lost++;
}

static void open_flows(const struct sl_cgroup *cgroup)
{
	struct place to = address_of(STREAM_PORT);
	int listener = open_socket(SOCK_STREAM, STREAM_PORT);
	struct sl_diag diag = {};

	if (listen(listener, STREAMS))
		die("listen", NULL);
	for (int i = 0; i < PORTS; i++)
		servers[i] = open_socket(SOCK_DGRAM, PORT + (unsigned)i);
	/* what is made from here on is the target's */
	if (sl_cgroup_add(cgroup, getpid(), &diag))
		die("cgroup", &diag);
	for (int i = 0; i < CLIENTS; i++)
		clients[i] = open_socket(SOCK_DGRAM, 0);
	for (int i = 0; i < STREAMS; i++) {
		streams[i][0] = open_socket(SOCK_STREAM, 0);
		if (connect(streams[i][0], &to.any, to.size))
			die("connect", NULL);
		streams[i][1] = accept(listener, NULL, NULL);
		if (streams[i][1] < 0)
			die("accept", NULL);
	}
}

/* Over every flow; all of them. */
static void pass(void)
{
	for (int port = 0; port < PORTS; port++)
		for (int i = 0; i < CLIENTS; i++)
			over_udp(clients[i], port);
	for (int i = 0; i < STREAMS; i++)
		over_tcp(streams[i]);
}

static unsigned long retransmitted(void)
{
	char names[1024], values[1024], *name, *value, *n = NULL, *v = NULL;
	FILE *in = fopen("/proc/self/net/snmp", "r");
	unsigned long found = 0;

	while (in && fgets(names, sizeof(names), in) && fgets(values, sizeof(values), in)) {
		if (strncmp(names, "Tcp:", 4))
			continue;
		for (name = strtok_r(names, " ", &n), value = strtok_r(values, " ", &v);
		     name && value; name = strtok_r(NULL, " ", &n), value = strtok_r(NULL, " ", &v))
			if (!strcmp(name, "RetransSegs"))
				found = strtoul(value, NULL, 10);
	}
	if (!in)
		die("/proc/self/net/snmp", NULL);
	fclose(in);
	return found;
}

/* ---- ---- */

static void load(const struct sl_cgroup *cgroup)
{
	struct sl_kernel_options options = {.cgroup_id = cgroup->level_exact ? cgroup->id : 0,
					    .cgroup_level = cgroup->level};
	struct sl_compiled first = {};
	struct sl_diag diag = {};

	compile(false, 1, &first);
	options.table = &first.table;
	if (sl_kernel_load(&options, &kernel, &diag) ||
	    sl_kernel_attach_cgroup(kernel, cgroup->dir_fd, &diag))
		die("target", &diag);
	sl_compiled_free(&first);
	sl_diag_free(&diag);
}

static int report(unsigned long passes, unsigned long again)
{
	struct sl_stats stats = {};
	json_t *out = json_object();

	if (sl_kernel_stats(kernel, &stats))
		die("counters", NULL);
	json_object_set_new(out, "flows", json_integer(FLOWS));
	json_object_set_new(out, "swaps", json_integer((json_int_t)atomic_load(&done)));
	json_object_set_new(out, "passes", json_integer((json_int_t)passes));
	json_object_set_new(out, "packets", json_integer((json_int_t)packets));
	json_object_set_new(out, "refused", json_integer((json_int_t)refused));
	json_object_set_new(out, "lost", json_integer((json_int_t)lost));
	json_object_set_new(out, "leaked", json_integer((json_int_t)leaked));
	json_object_set_new(out, "retransmitted", json_integer((json_int_t)again));
	json_object_set_new(out, "allowed", json_integer((json_int_t)stats.allowed));
	json_object_set_new(out, "swap_ms", times);
	json_dumpf(out, stdout, 0);
	putchar('\n');
	json_decref(out);
	return lost || leaked || again;
}

static int work(const struct sl_cgroup *cgroup)
{
	unsigned long passes = 0, again;
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWNET) || system("ip link set lo up"))
		die("network namespace", NULL);
	times = json_array();
	load(cgroup);
	open_flows(cgroup);
	pass(); /* all are alive */
	if (lost || refused)
		die("a flow could not be opened", NULL);
	again = retransmitted();
	if (pthread_create(&thread, NULL, swap_all, NULL))
		die("thread", NULL);
	for (; !atomic_load(&over); passes++)
		pass();
	pthread_join(thread, NULL);
	return report(passes, retransmitted() - again);
}

int main(int argc, char **argv)
{
	struct sl_cgroup2 hierarchy = {};
	struct sl_cgroup cgroup = {};
	struct sl_diag diag = {};
	int status = -1;
	pid_t worker;

	if (argc > 1)
		swaps_wanted = strtoul(argv[1], NULL, 10);
	if (argc > 2 && !strcmp(argv[2], "6"))
		family = AF_INET6;
	if (sl_cgroup2_find(&hierarchy, &diag) || sl_cgroup_make(&hierarchy, &cgroup, &diag))
		die("cgroup", &diag);
	worker = fork();
	if (!worker)
		exit(work(&cgroup));
	while (worker > 0 && waitpid(worker, &status, 0) < 0 && errno == EINTR)
		;
	sl_cgroup_kill(&cgroup);
	sl_cgroup_wait_empty(&cgroup, 5000);
	if (sl_cgroup_remove(&cgroup))
		fprintf(stderr, "reload_flows: %s is left\n", cgroup.path);
	sl_cgroup_close(&cgroup);
	sl_cgroup2_free(&hierarchy);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
