// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The system call filter: which socket families, and no way around them. */
#include <errno.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "target/confine.h"

/* The families are judged one by one below this, by the upper bits above it.
 * Twice AF_MAX of today: a family that a later kernel brings is refused. */
#define FAMILY_END 64

/* Kernel arguments of type int: the upper half of the register is not looked
 * at by the kernel, so not by us either. */
#define INT_MASK 0xffffffffULL

static bool allowed(unsigned family)
{
	switch (family) {
	case AF_UNSPEC: /* EAFNOSUPPORT by itself */
	case AF_UNIX:
	case AF_INET:
	case AF_INET6:
	case AF_NETLINK:
	case AF_ALG:
		return true;
	}
	return false;
}

static int deny_masked(scmp_filter_ctx ctx, int error, int call, unsigned arg, uint64_t mask,
		       uint64_t value)
{
	struct scmp_arg_cmp cmp = SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, mask, value);

	return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(error), call, 1, cmp);
}

/* A block whose size is a power of two, and begins at a multiple of it: one rule where nothing
 * of it is allowed. libseccomp takes 1 ms of each start for a rule for each family. */
static int deny_block(scmp_filter_ctx ctx, int call, unsigned first, unsigned size)
{
	bool whole = true;
	int err;

	for (unsigned family = first; family < first + size; family++)
		whole = whole && !allowed(family);
	if (whole)
		return deny_masked(ctx, EAFNOSUPPORT, call, 0, INT_MASK & ~(uint64_t)(size - 1),
				   first);
	if (size == 1)
		return 0;
	err = deny_block(ctx, call, first, size / 2);
	return err ? err : deny_block(ctx, call, first + size / 2, size / 2);
}

static int deny_families(scmp_filter_ctx ctx, int call)
{
	int err = deny_block(ctx, call, 0, FAMILY_END);

	for (uint64_t bit = FAMILY_END; !err && bit <= INT_MASK; bit <<= 1)
		err = deny_masked(ctx, EAFNOSUPPORT, call, 0, bit, bit);
	return err;
}

static int deny_calls(scmp_filter_ctx ctx)
{
	static const int calls[] = {
		SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register),
		SCMP_SYS(socketcall), /* i386 alone has it */
		/* CLONE_INTO_CGROUP asks neither the mount nor the capabilities; its flags are
		 * behind a pointer. C libraries fall back to clone(). */
		SCMP_SYS(clone3),
	};
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(calls) / sizeof(calls[0]); i++)
		err = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), calls[i], 0);
	return err;
}

/* The kernel has a key that is not there made by /sbin/request-key: root's, outside of every
 * cgroup and namespace of ours, and keyutils' asks DNS for whatever name is wanted. Without
 * information for it, it is not asked: a search, as Kerberos' does. */
static int deny_key_requests(scmp_filter_ctx ctx)
{
	struct scmp_arg_cmp cmp = SCMP_CMP64(2, SCMP_CMP_NE, 0);

	return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(request_key), 1, cmp);
}

/* The machine's 32-bit ABI, which the kernel serves beside the native one. */
static int add_compat(scmp_filter_ctx ctx)
{
#if defined(__x86_64__)
	return seccomp_arch_add(ctx, SCMP_ARCH_X86);
#elif defined(__aarch64__)
	return seccomp_arch_add(ctx, SCMP_ARCH_ARM);
#else
	(void)ctx;
	return 0;
#endif
}

int sl_confine_seccomp(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	int err;

	if (!ctx)
		return -ENOMEM;
	err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	if (!err)
		err = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 1);
	if (!err)
		err = add_compat(ctx);
	if (!err)
		err = deny_families(ctx, SCMP_SYS(socket));
	if (!err)
		err = deny_families(ctx, SCMP_SYS(socketpair));
	if (!err)
		err = deny_masked(ctx, EPERM, SCMP_SYS(ioctl), 1, INT_MASK, TIOCSTI);
	if (!err)
		err = deny_masked(ctx, EPERM, SCMP_SYS(ioctl), 1, INT_MASK, TIOCLINUX);
	if (!err)
		err = deny_calls(ctx);
	if (!err)
		err = deny_key_requests(ctx);
	if (!err)
		err = seccomp_load(ctx);
	seccomp_release(ctx);
	return err;
}
