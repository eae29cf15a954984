// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * ask_preempted RESOLVER SECONDS ALLOWED REFUSED: processes of several real-time priorities on
 * one CPU ask for two names of one length, each for one of them. Those of a higher priority
 * sleep for some microseconds between questions, and so begin in the middle of what a lower one
 * does, the kernel's judging included where it can be preempted. Prints what became of them:
 * {"allowed": {"sent", "refused"}, "refused": {...}}.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ASKERS 12
#define LEAST_REAL_TIME 4 /* askers below are of no real-time priority */
#define SLEEP_LEAST_NS 20000
#define SLEEP_SPAN_NS 200000
#define ANSWER_WAIT_US 50000

struct counts {
	atomic_ulong sent, refused;
};

static void fail(const char *what)
{
	fprintf(stderr, "ask_preempted: %s: %s\n", what, strerror(errno));
	exit(1);
}

static size_t question(const char *name, unsigned char *out)
{
	static const unsigned char head[12] = {0, 0, 1, 0, 0, 1}, tail[5] = {0, 0, 1, 0, 1};
	unsigned char *at = out + sizeof(head);
	size_t n;

	memcpy(out, head, sizeof(head));
	while (*name) {
		n = strcspn(name, ".");
		*at++ = n;
		memcpy(at, name, n);
		at += n;
		name += n + (name[n] == '.');
	}
	memcpy(at, tail, sizeof(tail));
	return at + sizeof(tail) - out;
}

static int resolver(const char *address)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
	struct timeval wait = {.tv_usec = ANSWER_WAIT_US};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) ||
	    connect(fd, (struct sockaddr *)&to, sizeof(to)))
		fail(address);
	return fd;
}

static void to_one_cpu(int priority)
{
	struct sched_param parameter = {.sched_priority = priority};
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		fail("sched_setaffinity");
	if (priority && sched_setscheduler(0, SCHED_FIFO, &parameter))
		fail("sched_setscheduler");
}

/* Only what is sent is waited for: what is refused is asked again at once. */
static void ask(int fd, const unsigned char *message, size_t size, struct counts *c)
{
	unsigned char answer[512];

	if (send(fd, message, size, 0) < 0) {
		if (errno != EPERM && errno != ECONNREFUSED)
			fail("send");
		c->refused++;
		return;
	}
	c->sent++;
	while (recv(fd, answer, sizeof(answer), 0) > 0)
		if (!memcmp(answer, message, 2))
			break;
}

static void asker(int number, const char *address, time_t end, const char *name, struct counts *c)
{
	int priority = number < LEAST_REAL_TIME ? 0 : number, fd = resolver(address);
	struct timespec pause = {0};
	unsigned char message[512];
	size_t size = question(name, message);
	unsigned seed = number;

	to_one_cpu(priority);
	while (time(NULL) < end) {
		message[0] = number;
		message[1]++;
		ask(fd, message, size, c);
		pause.tv_nsec = SLEEP_LEAST_NS + rand_r(&seed) % SLEEP_SPAN_NS;
		if (priority)
			nanosleep(&pause, NULL);
	}
	exit(0);
}

int main(int argc, char **argv)
{
	struct counts *c = mmap(NULL, 2 * sizeof(*c), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status, bad = 0;
	time_t end;

	if (argc != 5 || c == MAP_FAILED)
		return 2;
	end = time(NULL) + atoi(argv[2]);
	for (int i = 0; i < ASKERS; i++)
		if (!fork())
			asker(i, argv[1], end, argv[3 + i % 2], &c[i % 2]);
	while (wait(&status) > 0)
		bad |= status;
	printf("{\"allowed\":{\"sent\":%lu,\"refused\":%lu},"
	       "\"refused\":{\"sent\":%lu,\"refused\":%lu}}\n",
	       c[0].sent, c[0].refused, c[1].sent, c[1].refused);
	return !!bad;
}
