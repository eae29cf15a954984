// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The drop, step by step, and the proof that it holds. */
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cap-ng.h>

#include "target/identity.h"

/* One past the highest capability a kernel may know: the sets are 64 bits. */
#define CAP_END 64

static int by_gid(const void *a, const void *b)
{
	const gid_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int sorted_copy(const gid_t *from, size_t n, gid_t **out)
{
	gid_t *copy = calloc(n ? n : 1, sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	if (n) {
		memcpy(copy, from, n * sizeof(*copy));
		qsort(copy, n, sizeof(*copy), by_gid);
	}
	*out = copy;
	return 0;
}

/* 1: this process has exactly the supplementary groups of id; 0; -errno. */
static int has_groups(const struct sl_identity *id)
{
	gid_t *wanted = NULL, *now = NULL;
	int n = getgroups(0, NULL), err;

	if (n < 0)
		return -errno;
	if ((size_t)n != id->n_groups)
		return 0;
	now = calloc(n ? (size_t)n : 1, sizeof(*now));
	err = now ? sorted_copy(id->groups, id->n_groups, &wanted) : -ENOMEM;
	if (!err && getgroups(n, now) != n)
		err = -EAGAIN;
	if (!err) {
		qsort(now, (size_t)n, sizeof(*now), by_gid);
		err = !memcmp(now, wanted, (size_t)n * sizeof(*now));
	}
	free(now);
	free(wanted);
	return err;
}

static bool kept(int cap)
{
	return SL_BOUNDING_KEPT >> cap & 1;
}

int sl_identity_drop_bounding(void)
{
	/* The highest is learned by asking: the header's CAP_LAST_CAP may be
	 * older than the kernel. */
	for (int cap = 0; cap < CAP_END; cap++) {
		int set = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);

		if (set < 0)
			break;
		if (set && !kept(cap) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0))
			return -errno;
	}
	return 0;
}

int sl_identity_switch(const struct sl_identity *id)
{
	int same = has_groups(id);

	if (same < 0)
		return same;
	/* Setting even equal groups needs CAP_SETGID. */
	if (!same && setgroups(id->n_groups, id->groups))
		return -errno;
	if (setresgid(id->gid, id->gid, id->gid) || setresuid(id->uid, id->uid, id->uid))
		return -errno;
	return 0;
}

int sl_identity_drop_capabilities(void)
{
	/* Not -EINVAL where the kernel lacks it: every supported one has ambient sets. */
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		return -errno;
	/* it remembers which process it was loaded in, and only fork() tells it */
	capng_setpid(getpid());
	capng_clear(CAPNG_SELECT_CAPS);
	if (capng_apply(CAPNG_SELECT_CAPS))
		return -EPERM;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return 0;
}

static bool ids_hold(const struct sl_identity *id)
{
	uid_t ruid, euid, suid;
	gid_t rgid, egid, sgid;

	if (getresuid(&ruid, &euid, &suid) || getresgid(&rgid, &egid, &sgid))
		return false;
	/* setfsuid(-1) changes nothing and returns the present one. */
	return ruid == id->uid && euid == id->uid && suid == id->uid &&
	       (uid_t)setfsuid((uid_t)-1) == id->uid && rgid == id->gid && egid == id->gid &&
	       sgid == id->gid && (gid_t)setfsgid((gid_t)-1) == id->gid;
}

/* By the system call itself, not by the library that dropped them. */
static bool no_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data))
		return false;
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		if (data[i].effective || data[i].permitted || data[i].inheritable)
			return false;
	for (int cap = 0; cap < CAP_END; cap++)
		if ((prctl(PR_CAPBSET_READ, cap, 0, 0, 0) > 0 && !kept(cap)) ||
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) > 0)
			return false;
	return true;
}

int sl_identity_verify(const struct sl_identity *id)
{
	int groups = has_groups(id);

	if (groups < 0)
		return groups;
	if (!groups || !ids_hold(id) || !no_capabilities() ||
	    prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return -EPERM;
	return 0;
}

int sl_identity_set_env(const struct sl_identity *id)
{
	if (!id->name)
		return 0;
	if (setenv("HOME", id->home, 1) || setenv("USER", id->name, 1) ||
	    setenv("LOGNAME", id->name, 1))
		return -errno;
	return 0;
}
