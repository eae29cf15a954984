// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Which programs judge a cgroup: its own and those that it inherits. */
#include <bpf/bpf.h>
#include <errno.h>

#include "effective.h"

#define PROGRAMS_MAX 64 /* the kernel's own bound (BPF_CGROUP_MAX_PROGS) */

/* LSM_CGROUP's cannot be asked for so. A kernel that does not know one says EINVAL. */
static const int hooks[] = {
	BPF_CGROUP_INET_INGRESS,
	BPF_CGROUP_INET_EGRESS,
	BPF_CGROUP_INET_SOCK_CREATE,
	BPF_CGROUP_SOCK_OPS,
	BPF_CGROUP_DEVICE,
	BPF_CGROUP_INET4_BIND,
	BPF_CGROUP_INET6_BIND,
	BPF_CGROUP_INET4_CONNECT,
	BPF_CGROUP_INET6_CONNECT,
	BPF_CGROUP_INET4_POST_BIND,
	BPF_CGROUP_INET6_POST_BIND,
	BPF_CGROUP_UDP4_SENDMSG,
	BPF_CGROUP_UDP6_SENDMSG,
	BPF_CGROUP_SYSCTL,
	BPF_CGROUP_UDP4_RECVMSG,
	BPF_CGROUP_UDP6_RECVMSG,
	BPF_CGROUP_GETSOCKOPT,
	BPF_CGROUP_SETSOCKOPT,
	BPF_CGROUP_INET4_GETPEERNAME,
	BPF_CGROUP_INET6_GETPEERNAME,
	BPF_CGROUP_INET4_GETSOCKNAME,
	BPF_CGROUP_INET6_GETSOCKNAME,
	BPF_CGROUP_INET_SOCK_RELEASE,
	49,
	50,
	51,
	52,
	53, /* BPF_CGROUP_UNIX_*, 6.7 */
};

/* How many, or -errno. */
static int effective(int cgroup, int hook, __u32 ids[PROGRAMS_MAX])
{
	__u32 n = PROGRAMS_MAX;

	if (bpf_prog_query(cgroup, (enum bpf_attach_type)hook, BPF_F_QUERY_EFFECTIVE, NULL, ids,
			   &n))
		return errno == EINVAL ? 0 : -errno;
	return (int)n;
}

static bool has(const __u32 *ids, int n, __u32 id)
{
	for (int i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

bool sl_cgroup_keeps_programs(int from, int to)
{
	__u32 old[PROGRAMS_MAX], new[PROGRAMS_MAX];

	for (size_t h = 0; h < sizeof(hooks) / sizeof(*hooks); h++) {
		int n_old = effective(from, hooks[h], old), n_new;

		if (!n_old)
			continue;
		n_new = n_old < 0 ? n_old : effective(to, hooks[h], new);
		if (n_old < 0 || n_new < 0)
			return false;
		for (int i = 0; i < n_old; i++)
			if (!has(new, n_new, old[i]))
				return false;
	}
	return true;
}
