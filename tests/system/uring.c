// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * uring OPERATION BY ADDRESS PORT: one way of io_uring to reach an address; the outcome as JSON.
 * OPERATION: connect, socket (made by io_uring too): TCP, one line said by plain calls;
 * sendmsg, sendto, sendmsg_zc, sendto_zc, send, send_zc (these two connected): a datagram.
 * BY: plain (the caller), async (a worker), sqpoll (the kernel's thread).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS 2000

struct way {
	const char *operation;
	struct sockaddr_storage to;
	struct msghdr message;
	struct iovec part;
	socklen_t size;
	unsigned flags; /* of each entry */
	struct io_uring ring;
};

static int address(const char *text, int port, struct sockaddr_storage *out, socklen_t *size)
{
	struct sockaddr_in6 *v6 = (void *)out;
	struct sockaddr_in *v4 = (void *)out;

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		*size = sizeof(*v4);
		return AF_INET;
	}
	inet_pton(AF_INET6, text, &v6->sin6_addr);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	*size = sizeof(*v6);
	return AF_INET6;
}

static int fail(const char *at, int error)
{
	printf("{\"at\":\"%s\",\"errno\":%d,\"reply\":\"\"}\n", at, error);
	return 0;
}

/* The result of the entry; that of its last completion does not matter (zero copy has two). */
static int done(struct way *w, struct io_uring_sqe *entry)
{
	struct io_uring_cqe *cqe;
	int result;

	entry->flags |= w->flags;
	io_uring_submit(&w->ring);
	result = io_uring_wait_cqe(&w->ring, &cqe);
	if (!result) {
		result = cqe->res;
		io_uring_cqe_seen(&w->ring, cqe);
	}
	return result;
}

static struct io_uring_sqe *datagram(struct way *w, int fd)
{
	struct io_uring_sqe *entry = io_uring_get_sqe(&w->ring);
	const char *what = w->operation;

	if (!strcmp(what, "sendmsg"))
		io_uring_prep_sendmsg(entry, fd, &w->message, 0);
	else if (!strcmp(what, "sendmsg_zc"))
		io_uring_prep_sendmsg_zc(entry, fd, &w->message, 0);
	else if (strstr(what, "_zc"))
		io_uring_prep_send_zc(entry, fd, w->part.iov_base, w->part.iov_len, 0, 0);
	else
		io_uring_prep_send(entry, fd, w->part.iov_base, w->part.iov_len, 0);
	if (!strncmp(what, "sendto", 6))
		io_uring_prep_send_set_addr(entry, (struct sockaddr *)&w->to, w->size);
	return entry;
}

static int try_datagram(struct way *w, int fd)
{
	struct pollfd answer = {.fd = fd, .events = POLLIN};
	char reply[64] = {0};
	int err;

	if (!strncmp(w->operation, "send", 4) && !strstr(w->operation, "to") &&
	    !strstr(w->operation, "msg") && connect(fd, (struct sockaddr *)&w->to, w->size))
		return fail("connect", errno);
	err = done(w, datagram(w, fd));
	if (err < 0)
		return fail("send", -err);
	if (poll(&answer, 1, WAIT_MS) != 1 || recv(fd, reply, sizeof(reply) - 1, 0) <= 0)
		return fail("recv", ETIMEDOUT);
	printf("{\"at\":\"\",\"errno\":0,\"reply\":\"%s\"}\n", reply);
	return 0;
}

static int try_connection(struct way *w, int fd)
{
	struct io_uring_sqe *entry = io_uring_get_sqe(&w->ring);
	char reply[64] = {0};
	int err;

	io_uring_prep_connect(entry, fd, (struct sockaddr *)&w->to, w->size);
	err = done(w, entry);
	if (err < 0)
		return fail("connect", -err);
	if (write(fd, "hello", 5) != 5 || read(fd, reply, sizeof(reply) - 1) <= 0)
		return fail("talk", EIO);
	printf("{\"at\":\"\",\"errno\":0,\"reply\":\"%s\"}\n", reply);
	return 0;
}

static int make_socket(struct way *w, int type)
{
	struct io_uring_sqe *entry;

	if (strcmp(w->operation, "socket"))
		return socket(w->to.ss_family, type, 0);
	entry = io_uring_get_sqe(&w->ring);
	io_uring_prep_socket(entry, w->to.ss_family, type, 0, 0);
	return done(w, entry);
}

int main(int argc, char **argv)
{
	struct io_uring_params parameters = {0};
	static struct way w;
	int err, fd, type;

	if (argc != 5)
		return 2;
	w.operation = argv[1];
	address(argv[3], atoi(argv[4]), &w.to, &w.size);
	w.part = (struct iovec){"hello", 5};
	w.message = (struct msghdr){.msg_name = &w.to, .msg_namelen = w.size, .msg_iov = &w.part,
				    .msg_iovlen = 1};
	w.flags = strcmp(argv[2], "async") ? 0 : IOSQE_ASYNC;
	if (!strcmp(argv[2], "sqpoll"))
		parameters.flags = IORING_SETUP_SQPOLL;
	err = io_uring_queue_init_params(4, &w.ring, &parameters);
	if (err)
		return fail("io_uring_setup", -err);
	type = strncmp(w.operation, "send", 4) ? SOCK_STREAM : SOCK_DGRAM;
	fd = make_socket(&w, type);
	if (fd < 0)
		return fail("socket", -fd);
	return type == SOCK_STREAM ? try_connection(&w, fd) : try_datagram(&w, fd);
}
