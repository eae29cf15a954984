// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * sluice-mounts: becomes the command of a run through sluiced whose policy has names, in
 * mounts of its own, so that the names which it asks are DNS packets of its own
 * (target/confine_names.c). Mounts take CAP_SYS_ADMIN, which its file has; who starts it has
 * no privilege and decides all of its arguments, environment, descriptors and limits.
 *
 * What they can have of it: a mount namespace in which less can be reached than before, left
 * as all others by its end, and then their command with no_new_privs. Nothing of theirs is
 * read, opened or executed while it holds a capability, but for where their mounts are.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "target/confine.h"
#include "target/private.h"

#define EXIT_FAILED 125 /* as `sluice run`; 126 and 127 are the shell's */

static int fail(const char *what, int err)
{
	fprintf(stderr, "sluice run: %s: %s\n", what, strerror(-err));
	return EXIT_FAILED;
}

static int capabilities(struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3])
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capget, &header, data) ? -errno : 0;
}

static bool may_mount(void)
{
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};

	return !capabilities(data) &&
	       data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective & CAP_TO_MASK(CAP_SYS_ADMIN);
}

/* No more than its file gives: root, or who has ambient capabilities, has no use for it. */
static int check_caller(void)
{
	if (!geteuid() || geteuid() != getuid() || getegid() != getgid()) {
		fputs("sluice run: sluice-mounts is for users without privileges, and has no "
		      "set-uid bit: root runs `sluice run -p FILE`\n",
		      stderr);
		return EXIT_FAILED;
	}
	if (may_mount())
		return 0;
	fputs("sluice run: the policy has names, and sluice-mounts may not make the private mounts "
	      "that they need: `sudo setcap " SL_MOUNTS_CAPABILITIES " .../libexec/sluice-mounts` "
	      "(`make install` does), on a file system that is not nosuid, and not under "
	      "no_new_privs\n",
	      stderr);
	return EXIT_FAILED;
}

/* All of them, also those that the user had; and the proof. */
static int drop(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {}, now[2] = {};

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) ||
	    syscall(SYS_capset, &header, none) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	if (capabilities(now) || memcmp(now, none, sizeof(now)) ||
	    prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return -EPERM;
	return 0;
}

/* The caller's environment, of which the loader of a privileged program takes nothing away:
 * each variable came with a sign before its name. */
static int restore_environment(void)
{
	for (char **at = environ; at && *at; at++) {
		if (**at != SL_MOUNTS_SIGN)
			return -EINVAL;
		(*at)++;
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *step = "private mounts (read-only cgroups)";
	int err;

	if (argc < 2)
		return fail("sluice-mounts is `sluice run`'s own", -EINVAL);
	err = check_caller();
	if (err)
		return err;
	err = sl_confine_mounts();
	if (!err) {
		step = "private mounts (names)";
		err = sl_confine_names(NULL);
	}
	if (err)
		return fail(step, err);
	err = drop();
	if (err)
		return fail("dropping capabilities", err);
	err = restore_environment();
	if (err)
		return fail("sluice-mounts is `sluice run`'s own", err);
	return sl_private_become(argv + 1);
}
