// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Audit sinks at work: the journal, syslog, readers at a socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "audit/record.h"
#include "sink_spec.h"
#include "sinks_lab.h"

static int bound_unix(const struct lab *lab, const char *name, int type)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s/%s", lab->folder, name);
	assert_int_equal(bind(fd, (void *)&at, sizeof(at)), 0);
	return fd;
}

static int connected(const struct lab *lab, const char *name)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s/%s", lab->folder, name);
	assert_int_equal(connect(fd, (void *)&at, sizeof(at)), 0);
	return fd;
}

/* A datagram that carries the entry, or a sealed memfd that does. */
static size_t receive_entry(int fd, char *buf, size_t size, bool *by_memfd)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {buf, size};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;
	int memfd;

	assert_int_equal(poll(&p, 1, 10000), 1);
	n = recvmsg(fd, &m, 0);
	assert_true(n >= 0);
	*by_memfd = m.msg_controllen && !n;
	if (!*by_memfd)
		return (size_t)n;
	memcpy(&memfd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(memfd));
	assert_int_equal(fcntl(memfd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE |
			 F_SEAL_SEAL);
	n = pread(memfd, buf, size, 0);
	close(memfd);
	return (size_t)n;
}

/* The sink's own socket can send no long datagrams any more. */
static void shrink_sender(void)
{
	int small = 4608, shrunk = 0;

	for (int fd = 3; fd < 256; fd++) {
		struct timeval wait = {};
		socklen_t len = sizeof(wait);

		/* the only one with this time-out */
		if (!getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, &len) && wait.tv_usec == 200000)
			shrunk += !setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	}
	assert_int_equal(shrunk, 1);
}

static void test_journald(void **state)
{
	struct lab *lab = *state;
	char *buf = malloc(200000), *big = malloc(60000);
	bool by_memfd;
	int fd = bound_unix(lab, "journal", SOCK_DGRAM);
	size_t n;

	memset(big, 'y', 59999);
	big[59999] = 0;
	SET(lab, "journald:%s/journal");
	n = receive_entry(fd, buf, 200000, &by_memfd);
	assert_non_null(memmem(buf, n, "SLUICE_EVENT\n\5\0\0\0\0\0\0\0begin\n", 27));
	assert_non_null(memmem(buf, n, "PRIORITY\n\1\0\0\0\0\0\0\0" "5\n", 19));
	sl_sinks_put(lab->sinks, json_pack("{s:s, s:s}", "event", "big", "text", big),
		     SL_LEVEL_INFO);
	n = receive_entry(fd, buf, 200000, &by_memfd);
	assert_true(n > 60000);
	assert_true(!by_memfd && memmem(buf, n, big, 59999));
	shrink_sender();
	sl_sinks_put(lab->sinks, json_pack("{s:s, s:s}", "event", "big", "text", big),
		     SL_LEVEL_INFO);
	n = receive_entry(fd, buf, 200000, &by_memfd);
	assert_true(by_memfd && n > 60000 && memmem(buf, n, big, 59999));
	close(fd);	/* nobody listens any more: refused, kept, and told when it is back */
	put(lab, 2);
	for (int ms = 0; !stats(lab, 0).failing; ms++) {
		assert_true(ms < 10000);
		usleep(1000);
	}
	{
		char path[256];

		path_of(lab, "journal", path);
		unlink(path);
	}
	fd = bound_unix(lab, "journal", SOCK_DGRAM);
	n = receive_entry(fd, buf, 200000, &by_memfd);
	assert_non_null(memmem(buf, n, "SLUICE_SEQ\n\1\0\0\0\0\0\0\0" "3\n", 21));
	close(fd);
	free(buf);
	free(big);
}

/* A line, or a frame, byte for byte; waits for it. */
static void receive_all(int fd, char *buf, size_t n)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t got;

	for (; n; n -= (size_t)got, buf += got) {
		assert_int_equal(poll(&p, 1, 10000), 1);
		got = read(fd, buf, n);
		assert_true(got > 0);
	}
}

static size_t receive_line(int fd, char *buf)
{
	size_t n = 0;

	do
		receive_all(fd, buf + n, 1);
	while (buf[n++] != '\n');
	buf[n] = 0;
	return n;
}

/* RFC 6587: the count, a space, so many bytes. */
static void receive_frame(int fd, char *buf)
{
	size_t n = 0;
	char digit;

	for (receive_all(fd, &digit, 1); digit != ' '; receive_all(fd, &digit, 1)) {
		assert_true(digit >= '0' && digit <= '9');
		n = 10 * n + (size_t)(digit - '0');
	}
	receive_all(fd, buf, n);
	buf[n] = 0;
}

static int listening(int family, int type, unsigned *port)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = family == AF_INET ? sizeof(in) : sizeof(in6);
	void *at = family == AF_INET ? (void *)&in : (void *)&in6;
	int fd = socket(family, type, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	in.sin_port = in6.sin6_port = htons((uint16_t)*port);
	assert_int_equal(bind(fd, at, len), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 5), 0);
	getsockname(fd, at, &len);
	*port = ntohs(family == AF_INET ? in.sin_port : in6.sin6_port);
	return fd;
}

static void test_syslog_over_tcp(void **state)
{
	unsigned port = 0;
	int server = listening(AF_INET6, SOCK_STREAM, &port), fd;
	struct lab *lab = *state;
	char spec[64], buf[4096];

	snprintf(spec, sizeof(spec), "syslog:tcp:[::1]:%u,facility=local3", port);
	assert_int_equal(SET(lab, spec), 0);
	fd = accept(server, NULL, NULL);
	receive_frame(fd, buf);
	assert_true(!strncmp(buf, "<157>1 2026-11-26T05:20:00.000000Z ", 35)); /* 19 * 8 + notice */
	assert_non_null(strstr(buf, "\"event\":\"begin\""));
	put(lab, 2);
	receive_frame(fd, buf);
	assert_non_null(strstr(buf, "\"seq\":1"));
	receive_frame(fd, buf);
	close(fd);
	close(server);
	put(lab, 3);	/* the end of the stream is seen before anything is sent into it */
	for (int ms = 0; !stats(lab, 0).failing; ms++) {
		assert_true(ms < 10000);
		usleep(1000);
	}
	assert_true(stats(lab, 0).written == 3);
	server = listening(AF_INET6, SOCK_STREAM, &port);
	fd = accept(server, NULL, NULL);
	for (int i = 3; i < 6; i++) {
		char want[32];

		receive_frame(fd, buf);
		snprintf(want, sizeof(want), "\"seq\":%d", i);
		assert_non_null(strstr(buf, want));
	}
	close(fd);
	close(server);
}

static void test_syslog_datagrams(void **state)
{
	struct lab *lab = *state;
	unsigned port = 0;
	int fd = listening(AF_INET, SOCK_DGRAM, &port);
	int local = bound_unix(lab, "log", SOCK_DGRAM);
	char spec[64], buf[4096];
	ssize_t n;

	snprintf(spec, sizeof(spec), "syslog:udp:127.0.0.1:%u", port);
	assert_int_equal(SET(lab, spec, "syslog:%s/log"), 0);
	for (int i = 0; i < 2; i++) {
		n = recv(i ? local : fd, buf, sizeof(buf) - 1, 0);
		assert_true(n > 0);
		buf[n] = 0;
		assert_true(!strncmp(buf, "<29>1 2026-11-26T05:20:00.000000Z ", 34));
		assert_true(buf[n - 1] == '}');
	}
	close(fd);
	close(local);
}

static json_t *receive_record(int fd)
{
	char buf[4096];
	json_t *j;

	receive_line(fd, buf);
	j = json_loads(buf, 0, NULL);
	assert_non_null(j);
	return j;
}

static __u64 number(const json_t *j, const char *key)
{
	return (__u64)json_integer_value(json_object_get(j, key));
}

/* The first number that the reader is promised. */
static __u64 receive_hello(int fd)
{
	json_t *j = receive_record(fd);
	__u64 next = number(j, "next");

	assert_string_equal(sl_record_text(j, "event"), "hello");
	assert_int_equal(strlen(sl_record_text(j, "stream")), 16);
	json_decref(j);
	return next;
}

/* Reads until the number before next was read; how many of them are told as lost. */
static __u64 receive_until(int fd, __u64 *at, __u64 next)
{
	__u64 lost = 0, first;
	json_t *j;

	while (*at < next) {
		j = receive_record(fd);
		first = number(j, "seq");
		if (!strcmp(sl_record_text(j, "event"), "lost")) {
			first = number(j, "first");
			lost += number(j, "count");
			assert_string_equal(sl_record_text(j, "why"),
					    "this reader was too slow");
		}
		assert_true(first == *at);
		*at = number(j, "seq") + 1;
		json_decref(j);
	}
	return lost;
}

/* One that sleeps loses its own, and is told; the other gets all. */
static void test_readers(void **state)
{
	struct lab *lab = *state;
	int awake, asleep, third;
	__u64 here, there, lost;
	char byte;

	assert_int_equal(SET(lab, "unix:%s/s,queue=64,consumers=2"), 0);
	put(lab, 1);
	awake = connected(lab, "s");
	here = receive_hello(awake);
	asleep = connected(lab, "s");
	there = receive_hello(asleep);
	assert_true(here <= 2 && there <= 2);	/* as far as the sink is by then */
	third = connected(lab, "s");	/* one too many: hung up on */
	assert_int_equal(read(third, &byte, 1), 0);
	close(third);
	for (int i = 0; i < 200; i++) {
		put(lab, 50);
		assert_true(receive_until(awake, &here, sl_sinks_next(lab->sinks)) == 0);
	}
	assert_true(stats(lab, 0).lost > 1000 && stats(lab, 0).consumers == 2);
	lost = stats(lab, 0).lost;
	assert_true(receive_until(asleep, &there, sl_sinks_next(lab->sinks)) == lost);
	close(asleep);	/* a dead one is forgotten */
	put(lab, 50);
	assert_true(receive_until(awake, &here, sl_sinks_next(lab->sinks)) == 0);
	for (int ms = 0; stats(lab, 0).consumers != 1; ms++) {
		assert_true(ms < 10000);
		usleep(1000);
	}
	close(awake);
}

static void test_a_socket_is_taken_over_from_the_dead_only(void **state)
{
	struct lab *lab = *state;
	int fd = bound_unix(lab, "s", SOCK_STREAM);

	listen(fd, 1);
	assert_int_equal(SET(lab, "unix:%s/s"), 1);
	assert_non_null(strstr(stats(lab, 0).error, "Address already in use"));
	close(fd);
	for (int ms = 0; stats(lab, 0).failing; ms++) {
		assert_true(ms < 10000);
		usleep(1000);
	}
	fd = connected(lab, "s");
	receive_hello(fd);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_journald, setup, teardown),
		cmocka_unit_test_setup_teardown(test_syslog_over_tcp, setup, teardown),
		cmocka_unit_test_setup_teardown(test_syslog_datagrams, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_socket_is_taken_over_from_the_dead_only,
						setup, teardown),
	};

	return cmocka_run_group_tests_name("sinks hub", tests, NULL, NULL);
}
