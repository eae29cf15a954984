// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What the child that speaks HTTP may do: nearly nothing. */
#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "http.h"
#include "target/identity.h"

#define NOBODY 65534
#define FILES 2048

static int limit(int what, rlim_t value)
{
	const struct rlimit l = {value, value};
	struct rlimit now;

	if (getrlimit(what, &now))
		return -errno;
	if (now.rlim_max < value)
		return 0;
	return setrlimit(what, &l) ? -errno : 0;
}

int sl_http_give_up(void)
{
	const struct sl_identity nobody = {
		.source = SL_IDENTITY_USER, .uid = NOBODY, .gid = NOBODY};
	bool root = !geteuid();
	int err = limit(RLIMIT_NOFILE, FILES);

	err = err ? err : limit(RLIMIT_CORE, 0);
	err = err ? err : limit(RLIMIT_FSIZE, 0);
	if (!err && root) {
		err = sl_identity_drop_bounding();
		/* the one that a command's set keeps, for ping */
		if (!err && prctl(PR_CAPBSET_DROP, CAP_NET_RAW))
			err = -errno;
		err = err ? err : sl_identity_switch(&nobody);
	}
	err = err ? err : sl_identity_drop_capabilities();
	if (!err && root)
		err = sl_identity_verify(&nobody);
	if (!err && (prctl(PR_SET_PDEATHSIG, SIGKILL) || prctl(PR_SET_DUMPABLE, 0)))
		err = -errno;
	return err;
}

/* No files, no programs, no sockets but those that are open or accepted. */
int sl_http_few_calls(void)
{
	static const int calls[] = {
		SCMP_SYS(accept4),
		SCMP_SYS(brk),
		SCMP_SYS(clock_gettime),
		SCMP_SYS(clock_nanosleep),
		SCMP_SYS(close),
		SCMP_SYS(epoll_ctl),
		SCMP_SYS(epoll_pwait),
		SCMP_SYS(epoll_wait),
		SCMP_SYS(exit),
		SCMP_SYS(exit_group),
		SCMP_SYS(fcntl),
		SCMP_SYS(fstat),
		SCMP_SYS(newfstatat),
		SCMP_SYS(futex),
		SCMP_SYS(getpeername),
		SCMP_SYS(getpid),
		SCMP_SYS(getrandom),
		SCMP_SYS(getrusage),
		SCMP_SYS(getsockname),
		SCMP_SYS(getsockopt),
		SCMP_SYS(gettid),
		SCMP_SYS(gettimeofday),
		SCMP_SYS(lseek),
		SCMP_SYS(madvise),
		SCMP_SYS(mmap),
		SCMP_SYS(mprotect),
		SCMP_SYS(mremap),
		SCMP_SYS(munmap),
		SCMP_SYS(nanosleep),
		SCMP_SYS(poll),
		SCMP_SYS(ppoll),
		SCMP_SYS(pread64),
		SCMP_SYS(read),
		SCMP_SYS(readv),
		SCMP_SYS(recvfrom),
		SCMP_SYS(recvmsg),
		SCMP_SYS(restart_syscall),
		SCMP_SYS(rt_sigaction),
		SCMP_SYS(rt_sigprocmask),
		SCMP_SYS(rt_sigreturn),
		SCMP_SYS(sendmsg),
		SCMP_SYS(sendto),
		SCMP_SYS(setsockopt),
		SCMP_SYS(shutdown),
		SCMP_SYS(time),
		SCMP_SYS(write),
		SCMP_SYS(writev),
	};
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int err = filter ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < sizeof(calls) / sizeof(*calls); i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
	err = err ? err : seccomp_load(filter);
	if (filter)
		seccomp_release(filter);
	return err;
}
