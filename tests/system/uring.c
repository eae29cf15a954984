// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* connect() by io_uring, one line sent and read by plain calls; the outcome as JSON. */
#include <arpa/inet.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

int main(int argc, char **argv)
{
	struct sockaddr_storage to;
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	char reply[64] = {0};
	socklen_t size;
	int err, fd;

	if (argc != 3)
		return 2;
	fd = socket(address(argv[1], atoi(argv[2]), &to, &size), SOCK_STREAM, 0);
	err = io_uring_queue_init(4, &ring, 0);
	if (err)
		return fail("io_uring_setup", -err);
	io_uring_prep_connect(io_uring_get_sqe(&ring), fd, (struct sockaddr *)&to, size);
	io_uring_submit(&ring);
	err = io_uring_wait_cqe(&ring, &cqe);
	if (!err)
		err = cqe->res;
	if (err)
		return fail("connect", -err);
	if (write(fd, "hello", 5) != 5 || read(fd, reply, sizeof(reply) - 1) <= 0)
		return fail("talk", 5);
	printf("{\"at\":\"\",\"errno\":0,\"reply\":\"%s\"}\n", reply);
	return 0;
}
