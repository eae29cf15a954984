// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "filter.h"

#include <errno.h>
#include <linux/bpf.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/socket.h>

/* Of the server, of libldns and OpenSSL, of malloc() and the end of a process. */
static const int calls[] = {
	SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(accept4), SCMP_SYS(connect),
	SCMP_SYS(getsockname), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg), SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(shutdown), SCMP_SYS(read),
	SCMP_SYS(write), SCMP_SYS(pread64), SCMP_SYS(close), SCMP_SYS(fcntl), SCMP_SYS(fstat),
	SCMP_SYS(newfstatat), SCMP_SYS(lseek), SCMP_SYS(brk), SCMP_SYS(mmap), SCMP_SYS(munmap),
	SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(futex), SCMP_SYS(getrandom),
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time),
	SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getuid), SCMP_SYS(geteuid),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction),
	SCMP_SYS(restart_syscall), SCMP_SYS(sched_yield), SCMP_SYS(exit), SCMP_SYS(exit_group),
};

/* With one value of their first argument, an int: its upper half is nobody's matter. */
static const struct {
	int call;
	unsigned value;
} with[] = {
	{SCMP_SYS(socket), AF_INET},
	{SCMP_SYS(socket), AF_INET6},
	{SCMP_SYS(bpf), BPF_PROG_TEST_RUN},
};

static int allow_with(scmp_filter_ctx ctx, int call, unsigned value)
{
	struct scmp_arg_cmp cmp = SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, 0xffffffffULL, value);

	return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call, 1, cmp);
}

int sl_forward_filter(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int err = ctx ? seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 1) : -ENOMEM;

	for (size_t i = 0; !err && i < sizeof(calls) / sizeof(*calls); i++)
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
	for (size_t i = 0; !err && i < sizeof(with) / sizeof(*with); i++)
		err = allow_with(ctx, with[i].call, with[i].value);
	if (!err)
		err = seccomp_load(ctx);
	if (ctx)
		seccomp_release(ctx);
	return err;
}
