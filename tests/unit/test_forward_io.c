// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The forwarder's sockets, under the sanitizers: its client of resolvers against a resolver
 * of the test's own, at a port of its own; its server, whose gate is not there, against what
 * clients may send. Loopback only.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "forward/lookup.h"
#include "forward/server.h"

#define WAIT_MS 10000

static int bound(int type, in_port_t *port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(*port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(at);
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 8), 0);
	*port = ntohs(at.sin_port);
	return fd;
}

/* ---- the client of resolvers ---- */

struct site {
	int udp, tcp, stream;		/* the resolver's */
	struct sl_resolver_client *client;
	size_t n_done, n_answers, length;
	size_t asked_udp, asked_tcp;
	enum { PLAIN, CUT, SILENT_ONCE, FORGED, REFUSES, CLOSES_ONCE } how;
};

static void on_resolved(void *context, const __u8 *message, size_t length)
{
	struct site *s = context;

	s->n_done++;
	s->n_answers += !!message;
	s->length = length;
}

static void set_up(struct site *s)
{
	struct sl_cidr nobody = {.addr = {127, 0, 0, 1}, .family = 4, .len = 32};
	struct sl_policy policy = {.resolvers = &nobody, .n_resolvers = 1};
	in_port_t port = 0;
	const char *why;

	memset(s, 0, sizeof(*s));
	s->udp = bound(SOCK_DGRAM, &port);
	s->tcp = bound(SOCK_STREAM, &port);
	s->stream = -1;
	s->client = sl_resolver_new(&policy, &why);
	assert_non_null(s->client);
	s->client->servers[0].v4.sin_port = htons(port);
}

static void tear_down(struct site *s)
{
	sl_resolver_end(s->client);
	close(s->udp);
	close(s->tcp);
	if (s->stream >= 0)
		close(s->stream);
}

static void serve_udp(struct site *s)
{
	struct sockaddr_in peer;
	socklen_t size = sizeof(peer);
	__u8 m[512];
	ssize_t n = recvfrom(s->udp, m, sizeof(m), 0, (struct sockaddr *)&peer, &size);

	if (n < 12)
		return;
	s->asked_udp++;
	if (s->how == SILENT_ONCE && s->asked_udp == 1)
		return;
	m[2] |= 0x80;
	m[2] |= s->how == CUT || s->how == CLOSES_ONCE ? 0x02 : 0;
	m[3] = s->how == REFUSES ? 5 : 0;
	if (s->how == FORGED) {		/* another id, another name, half of it, then the answer */
		m[0] ^= 1;
		sendto(s->udp, m, n, 0, (struct sockaddr *)&peer, size);
		m[0] ^= 1;
		m[13] ^= 1;
		sendto(s->udp, m, n, 0, (struct sockaddr *)&peer, size);
		m[13] ^= 1;
		sendto(s->udp, m, 14, 0, (struct sockaddr *)&peer, size);
		sendto(s->udp, m, 1, 0, (struct sockaddr *)&peer, size);
	}
	sendto(s->udp, m, n, 0, (struct sockaddr *)&peer, size);
}

/* A message as long as one can be, the question in front. */
static void serve_stream(struct site *s)
{
	static __u8 long_one[2 + SL_DNS_WIRE_MAX];
	__u8 m[2 + 512];
	ssize_t n = recv(s->stream, m, sizeof(m), 0);

	if (n <= 2)
		return;
	s->asked_tcp++;
	memset(long_one, 0, sizeof(long_one));
	memcpy(long_one + 2, m + 2, n - 2);
	long_one[0] = long_one[1] = 0xff;
	long_one[4] |= 0x80;
	if (s->how == CLOSES_ONCE && s->asked_tcp == 1) {
		assert_int_equal(send(s->stream, long_one, 700, 0), 700);
		close(s->stream);
		s->stream = -1;
		return;
	}
	for (size_t at = 0; at < sizeof(long_one);) {
		n = send(s->stream, long_one + at, sizeof(long_one) - at, MSG_NOSIGNAL);
		at += n > 0 ? (size_t)n : 0;
		sl_resolver_process(s->client);
	}
}

static void run(struct site *s, size_t n)
{
	struct pollfd polls[4];

	for (__s64 end = sl_resolver_now_ms() + WAIT_MS; s->n_done < n;) {
		int wait = sl_resolver_timeout_ms(s->client);

		assert_true(sl_resolver_now_ms() < end);
		polls[0] = (struct pollfd){s->udp, POLLIN, 0};
		polls[1] = (struct pollfd){s->stream < 0 ? s->tcp : -1, POLLIN, 0};
		polls[2] = (struct pollfd){s->stream, POLLIN, 0};
		polls[3] = (struct pollfd){sl_resolver_fd(s->client), POLLIN, 0};
		poll(polls, 4, wait < 0 || wait > 1000 ? 1000 : wait);
		if (polls[0].revents)
			serve_udp(s);
		if (polls[1].revents)
			s->stream = accept4(s->tcp, NULL, NULL, SOCK_NONBLOCK);
		if (polls[2].revents)
			serve_stream(s);
		sl_resolver_process(s->client);
	}
}

static void ask(struct site *s, size_t n)
{
	static const __u8 name[] = "\1A\4good\7example";
	struct sl_query q = {.name_bytes = sizeof(name), .type = SL_TYPE_A};

	for (size_t i = 0; i < n; i++) {
		memcpy(q.name, name, sizeof(name));
		q.name[1] = (__u8)('A' + i % 26);
		assert_int_equal(sl_resolver_ask(s->client, &q, on_resolved, s), 0);
	}
}

static void questions_are_answered(void **state)
{
	static const struct {
		int how;
		size_t ask, udp, tcp, answers;
	} cases[] = {
		{PLAIN, 1, 1, 0, 1},
		{PLAIN, 200, 200, 0, 200},
		{CUT, 1, 1, 1, 1},
		{SILENT_ONCE, 1, 2, 0, 1},
		{FORGED, 20, 20, 0, 20},
		{REFUSES, 1, 5, 0, 0},
		{CLOSES_ONCE, 1, 2, 2, 1},
	};
	struct site s;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		set_up(&s);
		s.how = cases[i].how;
		ask(&s, cases[i].ask);
		run(&s, cases[i].ask);
		assert_int_equal(s.n_done, cases[i].ask);
		assert_int_equal(s.n_answers, cases[i].answers);
		assert_int_equal(s.asked_udp, cases[i].udp);
		assert_int_equal(s.asked_tcp, cases[i].tcp);
		if (cases[i].tcp)
			assert_int_equal(s.length, SL_DNS_WIRE_MAX);
		tear_down(&s);
	}
}

static void there_is_a_bound(void **state)
{
	struct sl_query q = {.name = "", .name_bytes = 1, .type = SL_TYPE_A};
	struct site s;

	set_up(&s);
	ask(&s, SL_LOOKUPS);
	assert_int_equal(sl_resolver_ask(s.client, &q, on_resolved, &s), -EBUSY);
	run(&s, SL_LOOKUPS);
	assert_int_equal(sl_resolver_ask(s.client, &q, on_resolved, &s), 0);
	tear_down(&s);		/* while one is asked */
}

/* ---- the server ---- */

struct served {
	pid_t pid;
	in_port_t port;
	int life;
};

/* In a child; its gate is no descriptor, so what is a question is answered with SERVFAIL. */
static struct served serve(void)
{
	static const struct sl_compiled none;
	struct sl_cidr nobody = {.addr = {127, 0, 0, 1}, .family = 4, .len = 32};
	struct sl_policy policy = {.resolvers = &nobody, .n_resolvers = 1};
	struct sl_server_options o = {.gate_fd = -1, .policy = &policy, .compiled = &none};
	struct served served = {};
	const char *why;
	int pair[2];

	o.udp_fd = bound(SOCK_DGRAM, &served.port);
	o.tcp_fd = bound(SOCK_STREAM, &served.port);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	served.pid = fork();
	if (!served.pid) {
		close(pair[0]);
		o.life_fd = pair[1];
		o.events_fd = open("/dev/null", O_RDONLY); /* no cgroup: nobody is in it */
		o.resolver = sl_resolver_new(&policy, &why);
		exit(sl_server_run(&o) ? 1 : 0);
	}
	close(pair[1]);
	close(o.udp_fd);
	close(o.tcp_fd);
	served.life = pair[0];
	return served;
}

static int connected(const struct served *served, int type)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(served->port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval wait = {.tv_sec = WAIT_MS / 1000};
	int fd = socket(AF_INET, type, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static void must_read(int fd, void *out, size_t n)
{
	assert_int_equal(recv(fd, out, n, MSG_WAITALL), n);
}

static void datagrams(const struct served *served, const __u8 *question, size_t n)
{
	int fd = connected(served, SOCK_DGRAM);
	__u8 got[SL_DNS_SMALL_MAX];

	for (size_t cut = 0; cut <= n; cut++) {
		assert_int_equal(send(fd, question, cut, 0), cut);
		if (cut < 12)
			continue;	/* no answer */
		assert_true(recv(fd, got, sizeof(got), 0) >= 12);
		assert_int_equal(got[3] & 0xf, cut == n ? SL_RCODE_SERVFAIL : SL_RCODE_FORMERR);
	}
	close(fd);
}

static void streams(const struct served *served, const __u8 *question, size_t n)
{
	static const __u8 too_long[] = {0xff, 0xff, 0, 0};
	__u8 message[2 + 512] = {0, (__u8)n}, got[SL_DNS_SMALL_MAX];
	int fd = connected(served, SOCK_STREAM), other;

	memcpy(message + 2, question, n);
	for (int i = 0; i < 20; i++)
		assert_int_equal(send(fd, message, 2 + n, 0), 2 + n);
	for (size_t i = 0; i < 2 + n; i++)
		assert_int_equal(send(fd, message + i, 1, 0), 1);
	for (int i = 0; i < 21; i++) {
		must_read(fd, got, 2);
		must_read(fd, got + 2, got[1]);
		assert_int_equal(got[5] & 0xf, SL_RCODE_SERVFAIL);
	}
	other = connected(served, SOCK_STREAM);	/* goes half-way */
	assert_int_equal(send(other, message, 9, 0), 9);
	close(other);
	other = connected(served, SOCK_STREAM);
	assert_int_equal(send(other, too_long, sizeof(too_long), 0), sizeof(too_long));
	assert_true(recv(other, got, 1, 0) <= 0);
	close(other);
	close(fd);
}

static void clients_are_served(void **state)
{
	static const __u8 name[] = "\1a\4good\7example";
	struct served served = serve();
	__u8 question[SL_DNS_SMALL_MAX];
	size_t n = sl_question_make(name, sizeof(name), SL_TYPE_A, question);
	int held[2 * SL_STREAMS], status;

	datagrams(&served, question, n);
	streams(&served, question, n);
	for (size_t i = 0; i < 2 * SL_STREAMS; i++)	/* the idlest have to go */
		held[i] = connected(&served, SOCK_STREAM);
	streams(&served, question, n);
	for (size_t i = 0; i < 2 * SL_STREAMS; i++)
		close(held[i]);
	close(served.life);
	assert_int_equal(waitpid(served.pid, &status, 0), served.pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(questions_are_answered),
		cmocka_unit_test(there_is_a_bound),
		cmocka_unit_test(clients_are_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
