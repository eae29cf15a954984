// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "pass.h"

int sl_pass(int to, char byte, const int *fds, size_t n)
{
	char control[CMSG_SPACE(SL_PASS_MAX * sizeof(int))] = {};
	struct iovec part = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
				 .msg_controllen = CMSG_SPACE(n * sizeof(int))};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(rights), fds, n * sizeof(int));
	return sendmsg(to, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? 0 : -errno;
}

int sl_pass_receive(int from, char *byte, int *fds, size_t n)
{
	char control[CMSG_SPACE(SL_PASS_MAX * sizeof(int))];
	struct iovec part = {.iov_base = byte, .iov_len = 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
				 .msg_controllen = CMSG_SPACE(n * sizeof(int))};
	struct cmsghdr *rights;
	ssize_t len;

	do
		len = recvmsg(from, &message, MSG_CMSG_CLOEXEC);
	while (len < 0 && errno == EINTR);
	rights = len == 1 ? CMSG_FIRSTHDR(&message) : NULL;
	if (!rights || rights->cmsg_len != CMSG_LEN(n * sizeof(int)))
		return -ECONNRESET;
	memcpy(fds, CMSG_DATA(rights), n * sizeof(int));
	return 0;
}
