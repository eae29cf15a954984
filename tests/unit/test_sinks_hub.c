// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Audit sinks at work: files, sockets, and what they survive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "audit/record.h"
#include "sink_spec.h"

/* ---- the hub and files ---- */

struct lab {
	char folder[64];
	struct sl_sinks *sinks;
	_Atomic __s64 clock_s;
};

static __s64 lab_clock(void *context)
{
	return ((struct lab *)context)->clock_s * 1000000000ll;
}

static int setup(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));

	strcpy(lab->folder, "/tmp/sl-sinks-XXXXXX");
	if (!mkdtemp(lab->folder))
		return -1;
	lab->clock_s = 1795670400;	/* 2026-11-26 05:20:00 */
	lab->sinks = sl_sinks_new(lab_clock, lab);
	*state = lab;
	return 0;
}

static int teardown(void **state)
{
	struct lab *lab = *state;
	struct dirent *entry;
	DIR *dir = opendir(lab->folder);

	sl_sinks_close(lab->sinks, 1000);
	while (dir && (entry = readdir(dir)))
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(lab->folder);
	free(lab);
	return 0;
}

/* %s is the lab's folder. The number of warnings. */
static size_t set(struct lab *lab, size_t n, const char *const *specs)
{
	struct sl_sink_config configs[8] = {};
	struct sl_diag diag = {};
	size_t warnings;
	char spec[256];

	for (size_t i = 0; i < n; i++) {
		const char *at = strstr(specs[i], "%s");

		snprintf(spec, sizeof(spec), "%.*s%s%s", at ? (int)(at - specs[i]) : 255, specs[i],
			 at ? lab->folder : "", at ? at + 2 : "");
		configs[i] = parsed(spec);
	}
	assert_int_equal(sl_sinks_set(lab->sinks, configs, n, &diag), 0);
	warnings = diag.n_warnings;
	sl_diag_free(&diag);
	while (n)
		sl_sink_config_free(&configs[--n]);
	return warnings;
}

#define SET(lab, ...) set(lab, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), \
			  (const char *[]){__VA_ARGS__})

static void put(struct lab *lab, unsigned n)
{
	char time[40];

	while (n--)
		sl_sinks_put(lab->sinks,
			     json_pack("{s:s, s:s, s:s}", "time", sl_sinks_time(lab->sinks, time),
				       "event", "test", "padding",
				       "0123456789012345678901234567890123456789"),
			     SL_LEVEL_INFO);
}

static struct sl_sink_stats stats(struct lab *lab, size_t i)
{
	struct sl_sink_stats s;

	sl_sinks_stats(lab->sinks, i, &s);
	return s;
}

/* Until everything that was put is written or lost. */
static void settle(struct lab *lab, size_t i)
{
	struct sl_sink_stats s = stats(lab, i);

	for (int ms = 0; s.written + s.lost < sl_sinks_next(lab->sinks); ms++) {
		assert_true(ms < 10000);
		usleep(1000);
		s = stats(lab, i);
	}
}

static void path_of(const struct lab *lab, const char *name, char buf[256])
{
	snprintf(buf, 256, "%s/%s", lab->folder, name);
}

/* The numbers of a file's lines from first on, without a gap; the number after the last. */
static __u64 read_file(const struct lab *lab, const char *name, __u64 first, __u64 *lost)
{
	char path[256], *line = NULL;
	size_t size = 0;
	json_t *j;
	FILE *in;

	path_of(lab, name, path);
	in = fopen(path, "r");
	assert_non_null(in);
	while (getline(&line, &size, in) > 0) {
		__u64 seq, from;

		if (line[strspn(line, " \n")] == 0)
			continue;

		j = json_loads(line, 0, NULL);
		assert_non_null(j);
		seq = from = (__u64)json_integer_value(json_object_get(j, "seq"));
		if (!strcmp(sl_record_text(j, "event"), "lost")) {
			from = (__u64)json_integer_value(json_object_get(j, "first"));
			assert_int_equal(json_integer_value(json_object_get(j, "count")),
					 seq - from + 1);
			*lost += seq - from + 1;
		}
		assert_true(from == first);
		first = seq + 1;
		json_decref(j);
	}
	free(line);
	fclose(in);
	return first;
}

static bool exists(const struct lab *lab, const char *name)
{
	char path[256];

	path_of(lab, name, path);
	return !access(path, F_OK);
}

static void test_rotation_by_size(void **state)
{
	struct lab *lab = *state;
	__u64 next, lost = 0;
	struct stat st;
	char path[256];

	assert_int_equal(SET(lab, "file:%s/a,rotate=4K,keep=3,mode=0600"), 0);
	put(lab, 200);
	settle(lab, 0);
	assert_true(stats(lab, 0).rotations >= 4);
	assert_false(exists(lab, "a.4"));
	path_of(lab, "a.1", path);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size <= 4096 && st.st_size > 3900 && (st.st_mode & 0777) == 0600);
	/* the three that are kept and the one that is written end to end */
	path_of(lab, "a.3", path);
	{
		FILE *in = fopen(path, "r");
		char line[512];
		json_t *j;

		assert_non_null(fgets(line, sizeof(line), in));
		j = json_loads(line, 0, NULL);
		next = (__u64)json_integer_value(json_object_get(j, "seq"));
		json_decref(j);
		fclose(in);
	}
	next = read_file(lab, "a.3", next, &lost);
	next = read_file(lab, "a.2", next, &lost);
	next = read_file(lab, "a.1", next, &lost);
	assert_true(read_file(lab, "a", next, &lost) == sl_sinks_next(lab->sinks) && !lost);
}

static void wait_rotations(struct lab *lab, __u64 n)
{
	for (int ms = 0; stats(lab, 0).rotations < n; ms++) {
		assert_true(ms < 10000);
		usleep(1000);
	}
}

/* A clock that jumps a day forth, and back, rotates once each. */
static void test_rotation_by_time(void **state)
{
	static const int jumps[] = {0, 60, 86400, -86400, 0};
	struct lab *lab = *state;
	__u64 lost = 0, next;

	assert_int_equal(SET(lab, "file:%s/a,every=1h,keep=9"), 0);
	put(lab, 3);
	settle(lab, 0);
	for (size_t i = 0; i < sizeof(jumps) / sizeof(*jumps); i++) {
		lab->clock_s += jumps[i];
		put(lab, 3);
		settle(lab, 0);
	}
	assert_true(stats(lab, 0).rotations == 2);
	lab->clock_s += 3600;	/* without a record: the hour's end is seen all the same */
	wait_rotations(lab, 3);
	next = read_file(lab, "a.3", 0, &lost);
	next = read_file(lab, "a.2", next, &lost);
	next = read_file(lab, "a.1", next, &lost);
	assert_true(next == sl_sinks_next(lab->sinks) && !lost);
}

/* logrotate: rename and SIGUSR1; rename alone; copytruncate. */
static void test_rotation_by_others(void **state)
{
	struct lab *lab = *state;
	char from[256], to[256];
	__u64 lost = 0, next;

	path_of(lab, "a", from);
	path_of(lab, "a.old", to);
	assert_int_equal(SET(lab, "file:%s/a"), 0);
	put(lab, 5);
	settle(lab, 0);
	assert_int_equal(rename(from, to), 0);
	sl_sinks_reopen(lab->sinks);
	put(lab, 5);
	settle(lab, 0);
	next = read_file(lab, "a.old", 0, &lost);
	assert_true(next == 6);
	assert_true(read_file(lab, "a", next, &lost) == 11 && !lost);

	path_of(lab, "a.older", to);
	assert_int_equal(rename(from, to), 0);	/* and nobody tells us */
	for (int ms = 0; !exists(lab, "a"); ms++) {
		assert_true(ms < 10000);
		usleep(1000);
	}
	put(lab, 5);
	settle(lab, 0);
	assert_true(read_file(lab, "a.older", 6, &lost) == 11);
	assert_true(read_file(lab, "a", 11, &lost) == 16);

	assert_int_equal(truncate(from, 0), 0);
	put(lab, 5);
	settle(lab, 0);
	assert_true(read_file(lab, "a", 16, &lost) == 21 && !lost);	/* no hole of zeros */
}

/* Somebody was killed over it. */
static void test_half_a_line_stays_alone(void **state)
{
	struct lab *lab = *state;
	char path[256], text[16] = "";
	__u64 lost = 0;
	FILE *f;

	path_of(lab, "a", path);
	f = fopen(path, "w");
	fputs("{\"seq\":", f);
	fclose(f);
	SET(lab, "file:%s/a");
	put(lab, 2);
	settle(lab, 0);
	f = fopen(path, "r");
	assert_non_null(fgets(text, sizeof(text), f));
	assert_string_equal(text, "{\"seq\":\n");
	fclose(f);
	f = fopen(path, "r+");	/* a space is nothing to JSON */
	fputs("       ", f);
	fclose(f);
	assert_true(read_file(lab, "a", 0, &lost) == 3);
}

static void test_a_file_that_is_none(void **state)
{
	struct lab *lab = *state;
	char path[256], other[256];

	path_of(lab, "pipe", path);
	path_of(lab, "link", other);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(symlink("/dev/null", other), 0);
	assert_int_equal(SET(lab, "file:%s/pipe", "file:%s/link", "file:%s/none/a"), 3);
	assert_true(stats(lab, 0).failing && stats(lab, 1).failing && stats(lab, 2).failing);
	assert_non_null(strstr(stats(lab, 1).error, "symbolic links"));
	assert_non_null(strstr(stats(lab, 2).error, "No such file"));
	path_of(lab, "none", path);	/* and when it is there */
	put(lab, 3);
	assert_int_equal(mkdir(path, 0700), 0);
	settle(lab, 2);
	assert_false(stats(lab, 2).failing);
	path_of(lab, "none/a", path);
	unlink(path);
	path_of(lab, "none", path);
	/* it is made again by its open file's check only if the folder is there */
	rmdir(path);
}

static void test_reconfiguration_keeps_what_is_the_same(void **state)
{
	struct lab *lab = *state;
	__u64 lost = 0;

	SET(lab, "file:%s/a", "file:%s/b");
	put(lab, 5);
	settle(lab, 0);
	settle(lab, 1);
	SET(lab, "file:%s/c", "file:%s/a");
	put(lab, 5);
	settle(lab, 1);
	assert_true(stats(lab, 1).written == sl_sinks_next(lab->sinks));	/* since ever */
	assert_true(read_file(lab, "a", 0, &lost) == sl_sinks_next(lab->sinks));
	assert_true(read_file(lab, "b", 0, &lost) == 6);
	for (int ms = 0; stats(lab, 0).written < 6; ms++) {
		assert_true(ms < 10000);
		usleep(1000);
	}
	assert_true(read_file(lab, "c", 6, &lost) == sl_sinks_next(lab->sinks) && !lost);
}

static void test_what_is_no_record_is_a_gap(void **state)
{
	struct lab *lab = *state;
	char *big = malloc(70000);
	__u64 lost = 0;

	memset(big, 'x', 69999);
	big[69999] = 0;
	SET(lab, "file:%s/a");
	sl_sinks_put(lab->sinks, json_pack("{s:s}", "event", big), SL_LEVEL_INFO);
	sl_sinks_put(lab->sinks, json_integer(3), SL_LEVEL_INFO);
	sl_sinks_put(lab->sinks, NULL, SL_LEVEL_INFO);
	put(lab, 1);
	free(big);
	for (int ms = 0; stats(lab, 0).queued || stats(lab, 0).written < 2; ms++) {
		assert_true(ms < 10000);
		usleep(1000);
	}
	assert_true(read_file(lab, "a", 0, &lost) == 5 && lost == 3);
}

/* ---- sockets ---- */

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
		cmocka_unit_test_setup_teardown(test_rotation_by_size, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rotation_by_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rotation_by_others, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_a_line_stays_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_file_that_is_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reconfiguration_keeps_what_is_the_same, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_what_is_no_record_is_a_gap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_journald, setup, teardown),
		cmocka_unit_test_setup_teardown(test_syslog_over_tcp, setup, teardown),
		cmocka_unit_test_setup_teardown(test_syslog_datagrams, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_socket_is_taken_over_from_the_dead_only,
						setup, teardown),
	};

	return cmocka_run_group_tests_name("sinks hub", tests, NULL, NULL);
}
