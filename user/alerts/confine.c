// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "confine.h"

#include <errno.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "target/identity.h"

#define CAP_END 64	/* one past the highest a kernel may know: sets are 64 bits */
#define FAMILY_END 64	/* families are judged one by one below, by their bits above */
#define INT_MASK 0xffffffffULL	/* the kernel's arguments of type int */

/* Without CAP_SETPCAP nothing can be dropped here, and with no_new_privs nothing in the set
 * can be got. */
static void drop_bounding(void)
{
	for (int cap = 0; cap < CAP_END; cap++)
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) > 0)
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

/* By the system call itself, not by the library that dropped them. */
static bool has_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data))
		return true;
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		if (data[i].effective || data[i].permitted || data[i].inheritable)
			return true;
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1;
}

static int deny_family(scmp_filter_ctx ctx, uint64_t mask, uint64_t value)
{
	struct scmp_arg_cmp cmp = SCMP_CMP64(0, SCMP_CMP_MASKED_EQ, mask, value);

	return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, cmp);
}

/* Unix: the stream and nscd; internet: the sinks; netlink: getaddrinfo asks for addresses. */
static int deny_families(scmp_filter_ctx ctx)
{
	int err = 0;

	for (unsigned family = 1; !err && family < FAMILY_END; family++)
		if (family != AF_UNIX && family != AF_INET && family != AF_INET6 &&
		    family != AF_NETLINK)
			err = deny_family(ctx, INT_MASK, family);
	for (uint64_t bit = FAMILY_END; !err && bit <= INT_MASK; bit <<= 1)
		err = deny_family(ctx, bit, bit);
	return err;
}

static int deny_calls(scmp_filter_ctx ctx, const int *calls, size_t n)
{
	int err = 0;

	for (size_t i = 0; !err && i < n; i++)
		err = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), calls[i], 0);
	return err;
}

#define N(array) (sizeof(array) / sizeof((array)[0]))

static int deny_all_calls(scmp_filter_ctx ctx, bool may_exec)
{
	static const int never[] = {
		SCMP_SYS(listen), SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(socketcall),
		SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev),
		SCMP_SYS(pidfd_getfd), SCMP_SYS(kcmp), SCMP_SYS(bpf), SCMP_SYS(perf_event_open),
		SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter),
		SCMP_SYS(io_uring_register), SCMP_SYS(add_key), SCMP_SYS(request_key),
		SCMP_SYS(keyctl), SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root),
		SCMP_SYS(move_mount), SCMP_SYS(open_tree), SCMP_SYS(fsopen), SCMP_SYS(fsmount),
		SCMP_SYS(mount_setattr), SCMP_SYS(chroot), SCMP_SYS(setns), SCMP_SYS(unshare),
		SCMP_SYS(open_by_handle_at), SCMP_SYS(init_module), SCMP_SYS(finit_module),
		SCMP_SYS(delete_module), SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load),
		SCMP_SYS(reboot), SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(acct),
		SCMP_SYS(settimeofday), SCMP_SYS(clock_settime), SCMP_SYS(clock_adjtime),
		SCMP_SYS(adjtimex), SCMP_SYS(sethostname), SCMP_SYS(setdomainname),
		SCMP_SYS(quotactl), SCMP_SYS(syslog), SCMP_SYS(personality),
	};
	static const int exec[] = {SCMP_SYS(execve), SCMP_SYS(execveat)};
	int err = deny_calls(ctx, never, N(never));

	return err || may_exec ? err : deny_calls(ctx, exec, N(exec));
}

static int filter(bool may_exec)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int err;

	if (!ctx)
		return -ENOMEM;
	/* another ABI of this machine has numbers that the rules do not know */
	err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!err)
		err = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 1);
	if (!err)
		err = deny_families(ctx);
	if (!err)
		err = deny_all_calls(ctx, may_exec);
	if (!err)
		err = seccomp_load(ctx);
	seccomp_release(ctx);
	return err;
}

int sl_alerts_confine(bool may_exec)
{
	int err;

	drop_bounding();
	err = sl_identity_drop_capabilities();
	if (err)
		return err;
	if (has_capabilities())
		return -EPERM;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return -errno;
	return filter(may_exec);
}
