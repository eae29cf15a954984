// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * reload_edges: what a swap of policies does to flows that are open, case by
 * case, through the loader's own interface. One line a case; exit 1 if one fails.
 *
 * Each case: a child in a cgroup of its own opens its sockets under the first
 * policy, the second one is put in force, and the child looks what it can do.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/kernel.h"
#include "resolve/resolve.h"
#include "target/cgroup.h"

#define HEAD "sluice: 1\nname: edges\n"
#define ALLOW HEAD "rules: [allow: 127.0.0.1]\n"
#define DENY HEAD "rules: [deny: 127.0.0.1]\n"
#define FLOWS 16       /* of a small flow table: two buckets */
#define CONNECTIONS 12 /* fit once, not twice */

struct stage {
	struct sl_cgroup cgroup;
	struct sl_kernel *kernel;
	size_t denied, audited; /* events */
};

struct edge {
	const char *name;
	const char *first, *second; /* policies */
	int (*open)(void);	    /* in the child; 0 or -1 */
	int (*after)(void);	    /* in the child; 0: as it should be */
	size_t denied, audited;	    /* events that there must be */
};

static struct sockaddr_in udp_address, tcp_address;
static struct sl_cgroup2 hierarchy;
static struct stage *staged; /* for cleaning up */
static pid_t parent, server = -1;
static _Atomic int *served; /* connections that the server has; shared with it */

static void clean_up(void)
{
	if (getpid() != parent)
		return;
	if (server > 0) {
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
	}
	if (!staged)
		return;
	sl_cgroup_kill(&staged->cgroup);
	sl_cgroup_wait_empty(&staged->cgroup, 5000);
	sl_cgroup_remove(&staged->cgroup);
	sl_cgroup_close(&staged->cgroup);
	sl_kernel_free(staged->kernel);
	staged = NULL;
}

static __attribute__((noreturn)) void die(const char *what, struct sl_diag *diag)
{
	fprintf(stderr, "reload_edges: %s: %s\n", what, strerror(errno));
	if (diag)
		sl_diag_print(diag, stderr);
	exit(1);
}

/* ---- the target ---- */

static void compile(const char *text, __u64 generation, struct sl_compiled *out,
		    struct sl_policy **resolved)
{
	struct sl_compile_options options = {.generation = generation};
	struct sl_policy *parsed;
	struct sl_diag diag = {};

	if (sl_policy_parse(text, strlen(text), "edges", SL_PARSE_POLICY, &parsed, &diag) ||
	    sl_resolve(parsed, NULL, &(struct sl_resolve_options){}, resolved, &diag) ||
	    sl_compile(*resolved, &options, out, &diag))
		die("policy", &diag);
	sl_policy_free(parsed);
	sl_diag_free(&diag);
}

static void stage_open(struct stage *s, const char *text)
{
	struct sl_kernel_options options = {.flows = FLOWS};
	struct sl_compiled compiled = {};
	struct sl_policy *policy;
	struct sl_diag diag = {};

	if (sl_cgroup_make(&hierarchy, &s->cgroup, &diag))
		die("cgroup", &diag);
	staged = s;
	compile(text, 1, &compiled, &policy);
	options.cgroup_id = s->cgroup.level_exact ? s->cgroup.id : 0;
	options.cgroup_level = s->cgroup.level;
	options.table = &compiled.table;
	if (sl_kernel_load(&options, &s->kernel, &diag) ||
	    sl_kernel_attach_cgroup(s->kernel, s->cgroup.dir_fd, &diag))
		die("target", &diag);
	sl_compiled_free(&compiled);
	sl_policy_free(policy);
}

static void stage_switch(struct stage *s, const char *text)
{
	struct sl_compiled compiled = {};
	struct sl_policy *policy;
	struct sl_diag diag = {};

	compile(text, 2, &compiled, &policy);
	if (sl_kernel_switch(s->kernel, &compiled.table, &diag))
		die("switch", &diag);
	sl_compiled_free(&compiled);
	sl_policy_free(policy);
}

/* ---- what the child does ---- */

static int udp_fd, streams[CONNECTIONS];

static int send_byte(void)
{
	return send(udp_fd, "x", 1, 0) == 1 ? 0 : -1;
}

static int open_udp(void)
{
	udp_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (connect(udp_fd, (struct sockaddr *)&udp_address, sizeof(udp_address)))
		return -1;
	return send_byte();
}

/* on_deny: reject says so at every send, drop at none. */
static int every_send_fails(void)
{
	int i;

	for (i = 0; i < 3; i++)
		if (!send_byte() || errno != EPERM)
			return -1;
	return 0;
}

static int every_send_succeeds(void)
{
	int i;

	for (i = 0; i < 3; i++)
		if (send_byte())
			return -1;
	return 0;
}

static int open_streams(void)
{
	struct timeval patience = {.tv_usec = 300000};
	int i;

	for (i = 0; i < CONNECTIONS; i++) {
		streams[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		setsockopt(streams[i], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
		if (connect(streams[i], (struct sockaddr *)&tcp_address, sizeof(tcp_address)))
			return -1;
	}
	return 0;
}

/* The first packet that each of the flows has after the swap ends it. */
static int close_and_open_streams(void)
{
	int i;

	for (i = 0; i < CONNECTIONS; i++)
		close(streams[i]);
	for (i = 0; i < 500 && *served; i++)
		usleep(10000);
	usleep(100000); /* its last segments */
	return open_streams();
}

static int reset_and_open_streams(void)
{
	struct linger reset = {.l_onoff = 1};
	int i;

	for (i = 0; i < CONNECTIONS; i++)
		setsockopt(streams[i], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	return close_and_open_streams();
}

static const struct edge edges[] = {
	{"a cut flow under reject: every send fails", ALLOW, DENY, open_udp, every_send_fails, 1,
	 0},
	{"a cut flow under drop: every send is silent", ALLOW, DENY "on_deny: drop\n", open_udp,
	 every_send_succeeds, 1, 0},
	{"a live flow under audit: goes on, told once", ALLOW, DENY "mode: audit\n", open_udp,
	 every_send_succeeds, 0, 1},
	{"a connection that ends right after a swap is over", ALLOW, ALLOW, open_streams,
	 close_and_open_streams, 0, 0},
	{"a connection that is reset right after a swap is over", ALLOW, ALLOW, open_streams,
	 reset_and_open_streams, 0, 0},
};

/* ---- the other side, outside of the target ---- */

static int bound_socket(int type, struct sockaddr_in *address)
{
	socklen_t len = sizeof(*address);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	*address = (struct sockaddr_in){.sin_family = AF_INET,
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0 || bind(fd, (struct sockaddr *)address, len) ||
	    getsockname(fd, (struct sockaddr *)address, &len) ||
	    (type == SOCK_STREAM && listen(fd, 64)))
		die("server", NULL);
	return fd;
}

/* Closes a connection when its peer has. */
static __attribute__((noreturn)) void serve(int listener)
{
	struct pollfd fds[1 + 4 * CONNECTIONS] = {{.fd = listener, .events = POLLIN}};
	size_t n = 1, i;
	char byte;

	for (;;) {
		if (poll(fds, n, -1) < 0)
			_exit(1);
		for (i = n - 1; i > 0; i--)
			if (fds[i].revents && read(fds[i].fd, &byte, 1) <= 0) {
				close(fds[i].fd);
				fds[i] = fds[--n];
				--*served;
			}
		if (fds[0].revents && n < sizeof(fds) / sizeof(*fds)) {
			fds[n] = (struct pollfd){.fd = accept(listener, NULL, NULL),
						 .events = POLLIN};
			n++;
			++*served;
		}
	}
}

static void start_server(void)
{
	int listener = bound_socket(SOCK_STREAM, &tcp_address);

	served = mmap(NULL, sizeof(*served), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (served == MAP_FAILED)
		die("mmap", NULL);
	bound_socket(SOCK_DGRAM, &udp_address); /* stays open, is never read */
	server = fork();
	if (server < 0)
		die("fork", NULL);
	if (!server) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(listener);
	}
	close(listener);
}

/* ---- one case ---- */

static __attribute__((noreturn)) void child(const struct edge *edge, const struct stage *s, int fd)
{
	struct sl_diag diag = {};
	char byte = 'y';

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (sl_cgroup_add(&s->cgroup, getpid(), &diag) || edge->open()) {
		fprintf(stderr, "reload_edges: %s: before the swap: %s\n", edge->name,
			strerror(errno));
		_exit(1);
	}
	if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
		_exit(1);
	_exit(edge->after() ? 1 : 0);
}

static void on_event(void *context, const struct sl_event *event)
{
	struct stage *s = context;

	s->denied += event->verdict == SL_EV_DENY;
	s->audited += event->verdict == SL_EV_AUDIT_DENY;
}

static bool run_edge(const struct edge *edge)
{
	struct stage s = {.cgroup = {.dir_fd = -1, .events_fd = -1}};
	int pair[2], status = -1;
	char byte;
	pid_t pid;
	bool good;

	stage_open(&s, edge->first);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) || (pid = fork()) < 0)
		die("child", NULL);
	if (!pid)
		child(edge, &s, pair[1]);
	close(pair[1]);
	good = read(pair[0], &byte, 1) == 1;
	if (good) {
		usleep(100000); /* what is under way arrives */
		stage_switch(&s, edge->second);
		good = write(pair[0], &byte, 1) == 1;
	}
	waitpid(pid, &status, 0);
	close(pair[0]);
	sl_kernel_drain(s.kernel, on_event, &s);
	good = good && !status && s.denied == edge->denied && s.audited == edge->audited;
	printf("%s: %s (%zu denied, %zu audited)\n", good ? "ok  " : "FAIL", edge->name, s.denied,
	       s.audited);
	staged = &s;
	pid = server;
	server = -1; /* stays for the next case */
	clean_up();
	server = pid;
	return good;
}

int main(void)
{
	struct sl_diag diag = {};
	bool good = true;
	size_t i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	parent = getpid();
	signal(SIGPIPE, SIG_IGN);
	atexit(clean_up);
	if (sl_cgroup2_find(&hierarchy, &diag))
		die("cgroup2", &diag);
	sl_cgroup_sweep(&hierarchy);
	start_server();
	for (i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
		good = run_edge(&edges[i]) && good;
	sl_cgroup2_free(&hierarchy);
	return good ? 0 : 1;
}
