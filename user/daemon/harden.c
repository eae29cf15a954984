// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What sluiced gives up once it has started. */
#include <cap-ng.h>
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "daemon.h"

/*
 * CAP_NET_BIND_SERVICE: port 53 for forwarders. CAP_BPF: maps, programs, links by their pins. CAP_NET_ADMIN: programs on devices,
 * netlink's receive buffer. CAP_PERFMON: programs that read what the verifier cannot
 * prove, when the pins were removed and all is made again.
 */
static int drop_capabilities(void)
{
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
			  CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_NET_BIND_SERVICE, -1))
		return -EINVAL;
	return capng_apply(CAPNG_SELECT_BOTH) ? -EPERM : 0;
}

/* What the daemon, its libraries and the sinks' threads call: files, sockets, memory,
 * threads, time, bpf(2). No exec, no other process, no module, mount, key or clock. */
static const char *const calls[] = {
	"name_to_handle_at",
	"open_by_handle_at",
	"openat2",
	"read",
	"readv",
	"pread64",
	"write",
	"writev",
	"pwrite64",
	"close",
	"close_range",
	"lseek",
	"open",
	"openat",
	"stat",
	"lstat",
	"fstat",
	"newfstatat",
	"statx",
	"statfs",
	"fstatfs",
	"access",
	"faccessat",
	"faccessat2",
	"readlink",
	"readlinkat",
	"getdents64",
	"getcwd",
	"fcntl",
	"flock",
	"dup",
	"dup2",
	"dup3",
	"pipe2",
	"ioctl",
	"fsync",
	"fdatasync",
	"ftruncate",
	"fallocate",
	"memfd_create",
	"rename",
	"renameat",
	"renameat2",
	"unlink",
	"unlinkat",
	"mkdir",
	"mkdirat",
	"rmdir",
	"chmod",
	"fchmod",
	"fchmodat",
	"chown",
	"fchown",
	"lchown",
	"fchownat",
	"umask",
	"utimensat",
	"mmap",
	"munmap",
	"mremap",
	"mprotect",
	"madvise",
	"brk",
	"membarrier",
	"connect",
	"bind",
	"listen",
	"accept",
	"accept4",
	"sendto",
	"sendmsg",
	"sendmmsg",
	"recvfrom",
	"recvmsg",
	"recvmmsg",
	"getsockopt",
	"setsockopt",
	"getsockname",
	"getpeername",
	"shutdown",
	"epoll_create1",
	"epoll_ctl",
	"epoll_wait",
	"epoll_pwait",
	"epoll_pwait2",
	"poll",
	"ppoll",
	"select",
	"pselect6",
	"eventfd2",
	"timerfd_create",
	"timerfd_settime",
	"timerfd_gettime",
	"signalfd4",
	"inotify_init1",
	"inotify_add_watch",
	"inotify_rm_watch",
	"bpf",
	"pidfd_open",
	"fsetxattr",
	"fgetxattr",
	"futex",
	"set_robust_list",
	"get_robust_list",
	"rseq",
	"set_tid_address",
	"sched_yield",
	"sched_getaffinity",
	"sched_setaffinity",
	"getcpu",
	"exit",
	"exit_group",
	"wait4",
	"waitid",
	"kill",
	"tgkill",
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	"rt_sigtimedwait",
	"sigaltstack",
	"restart_syscall",
	"clock_gettime",
	"clock_getres",
	"clock_nanosleep",
	"nanosleep",
	"gettimeofday",
	"time",
	"adjtimex",
	"clock_adjtime", /* to ask: to set takes a capability that is gone */
	"getpid",
	"getppid",
	"gettid",
	"getuid",
	"geteuid",
	"getgid",
	"getegid",
	"getgroups",
	"getrlimit",
	"prlimit64",
	"getrusage",
	"uname",
	"sysinfo",
	"getrandom",
	"prctl",
	"capget",
};

static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

static int allow(scmp_filter_ctx ctx)
{
	int err = 0, nr;

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls) && !err; i++) {
		nr = seccomp_syscall_resolve_name(calls[i]);
		if (nr != __NR_SCMP_ERROR)
			err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
		if (err == -EDOM) /* not on this architecture */
			err = 0;
	}
	for (size_t i = 0; i < sizeof(families) / sizeof(*families) && !err; i++) {
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				       SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
		if (!err)
			err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1,
					       SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
	}
	/* Threads, no processes. clone3's arguments cannot be read: glibc falls back. */
	if (!err)
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				       SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	if (!err)
		err = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	return err;
}

static int filter_calls(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int err = ctx ? allow(ctx) : -ENOMEM;

	if (!err)
		err = seccomp_load(ctx);
	if (ctx)
		seccomp_release(ctx);
	return err;
}

int sl_daemon_harden(struct sl_diag *diag)
{
	int err = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : drop_capabilities();

	if (!err)
		err = filter_calls();
	if (err)
		sl_error(diag, NULL,
			 "sluiced cannot give up its privileges: %s; --unconfined runs "
			 "it with all of them",
			 strerror(-err));
	return err;
}
