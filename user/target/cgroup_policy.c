// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* From a policy file to a judged cgroup. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cgroup_policy.h"
#include "processes.h"

/* ---- a process of the workload ---- */

/* What is looked at of a process; -1: the same as the caller's. */
struct view {
	int netns_fd, conf_fd;
	bool looked, host_root;
	int err;
};

static void close_view(struct view *v)
{
	if (v->netns_fd >= 0)
		close(v->netns_fd);
	if (v->conf_fd >= 0)
		close(v->conf_fd);
}

static bool is_ours(int fd, const char *own)
{
	struct stat a, b;

	return !fstat(fd, &a) && !stat(own, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static bool has_our_mounts(int proc_fd)
{
	int mounts = openat(proc_fd, "ns/mnt", O_RDONLY | O_CLOEXEC);
	bool ours = mounts >= 0 && is_ours(mounts, "/proc/self/ns/mnt");

	if (mounts >= 0)
		close(mounts);
	return ours;
}

/* Its root is the workload's, links in it are not ours to follow. */
static int open_conf(int proc_fd, bool *host_root)
{
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
			       .resolve = RESOLVE_IN_ROOT};
	int root = openat(proc_fd, "root", O_PATH | O_CLOEXEC), fd = -1;
	bool ours = root >= 0 && is_ours(root, "/");

	/* in a container that sees the host's processes its own root is another one */
	*host_root = ours || (root >= 0 && is_ours(root, "/proc/1/root"));
	if (root >= 0 && !(ours && has_our_mounts(proc_fd)))
		fd = syscall(SYS_openat2, root, "etc/resolv.conf", &how, sizeof(how));
	if (root >= 0)
		close(root);
	return fd;
}

/* Its namespace is gone when it has ended: then the next one. */
static bool look_at(void *context, int proc_fd)
{
	struct view *v = context;

	v->netns_fd = openat(proc_fd, "ns/net", O_RDONLY | O_CLOEXEC);
	if (v->netns_fd < 0) {
		v->err = errno == ENOENT || errno == ESRCH ? 0 : -errno;
		return v->err;
	}
	if (is_ours(v->netns_fd, "/proc/self/ns/net")) {
		close(v->netns_fd);
		v->netns_fd = -1;
	}
	v->conf_fd = open_conf(proc_fd, &v->host_root);
	v->looked = true;
	return true;
}

int sl_cgroup_look(int cgroup_fd, sl_foreign_fn *foreign, struct sl_environment *env, __u64 *netns)
{
	struct view v = {.netns_fd = -1, .conf_fd = -1};
	char conf[32];
	int err;

	sl_each_process(cgroup_fd, foreign, look_at, &v);
	snprintf(conf, sizeof(conf), "/proc/self/fd/%d", v.conf_fd);
	err = v.err ? v.err : sl_environment_read(v.netns_fd, v.conf_fd < 0 ? NULL : conf, env);
	if (!err) {
		env->conf = v.conf_fd >= 0 ? SL_CONF_OWN : v.looked ? SL_CONF_SHARED :
									SL_CONF_HOSTS;
		env->host_root = v.host_root;
		*netns = v.netns_fd < 0 ? 0 : sl_netns_cookie_of(v.netns_fd);
	}
	close_view(&v);
	return err;
}

void sl_cgroup_environment(const struct sl_attach_options *options, struct sl_cgroup_target *cgroup,
			   struct sl_environment *env)
{
	const struct sl_lookout *lookout = options->lookout;
	int err = lookout ? lookout->environment(lookout, cgroup->fd, env, &cgroup->netns)
			  : sl_cgroup_look(cgroup->fd, options->foreign, env, &cgroup->netns);

	if (err)
		*env = (struct sl_environment){.err = err};
}

/* ---- its uids, looked at when a rule first asks ---- */

struct uids {
	const struct sl_lookout *lookout;
	sl_foreign_fn *foreign;
	int cgroup_fd;
	bool known;
	struct sl_uid_map map;
};

static int host_uid(void *context, __u32 inside, __u32 *outside, const char **why)
{
	struct uids *u = context;

	if (!u->known && u->lookout)
		u->lookout->uids(u->lookout, u->cgroup_fd, &u->map);
	else if (!u->known)
		sl_uid_map_look(u->cgroup_fd, u->foreign, &u->map);
	u->known = true;
	return sl_uid_map_host(&u->map, inside, outside, why);
}

/* ---- the policy ---- */

static int check_forwarder(const struct sl_policy *policy, const struct sl_attach_options *options,
			   struct sl_diag *diag)
{
	if (!policy->dns.forward)
		return 0;
	if (!options->forwarder)
		return sl_error(diag, &policy->dns.pos, "\"mode: forward\" needs a process that "
				"answers, which `sluice run` and sluiced have and `attach` without "
				"sluiced has not: start sluiced (docs/sluiced.md), or take it out of the "
				"policy; the kernel then reads DNS as it passes");
	if (!policy->dns.has_listen)
		return sl_error(diag, &policy->dns.pos, "\"mode: forward\" of a cgroup needs "
				"\"listen\": the address that its resolv.conf names, as "
				"`listen: 127.64.0.53`");
	return 0;
}

int sl_cgroup_resolve(const struct sl_cgroup_target *cgroup,
		      const struct sl_attach_options *options, const struct sl_environment *env,
		      struct sl_policy **out, struct sl_diag *diag)
{
	struct uids uids = {.lookout = options->lookout,
			    .foreign = options->foreign,
			    .cgroup_fd = cgroup ? cgroup->fd : -1};
	struct sl_resolve_options resolve = {.trust_clock = options->trust_clock, .env = env,
					     .hosts = options->hosts,
					     .since = options->since,
					     .since_context = options->since_context,
					     .host_uid = cgroup ? host_uid : NULL,
					     .host_uid_context = &uids};
	struct sl_policy *policy = NULL;
	int err;

	if (options->parsed)
		err = sl_resolve_lent(options->parsed, options->policy, &resolve, &policy, diag);
	else
		err = sl_policy_load(options->policy, &resolve, &policy, diag);
	if (!err)
		err = check_forwarder(policy, options, diag);
	sl_uid_map_free(&uids.map);
	if (err) {
		sl_policy_free(policy);
		return err;
	}
	if (options->audit)
		policy->mode = SL_MODE_AUDIT;
	*out = policy;
	return 0;
}

int sl_cgroup_put(struct sl_state *state, const struct sl_cgroup_target *cgroup,
		  const struct sl_policy *resolved, struct sl_attached *out, struct sl_diag *diag)
{
	struct sl_attached attached = {.generation = sl_state_next_generation(state)};
	struct sl_compile_options compile = {.generation = attached.generation,
					     .boot_epoch_ns = sl_boot_epoch_ns()};
	struct sl_compiled compiled;
	int err = sl_compile(resolved, &compile, &compiled, diag);

	if (err)
		return err;
	err = sl_state_attach_cgroup(state, cgroup, &compiled.table, &attached.slot, diag);
	if (!err) {
		sl_attached_fill(&attached, resolved, &compiled);
		*out = attached;
	}
	sl_compiled_free(&compiled);
	return err;
}

int sl_cgroup_attach(struct sl_state *state, struct sl_cgroup_target *cgroup,
		     const struct sl_attach_options *options, struct sl_attached *out,
		     struct sl_diag *diag)
{
	struct sl_policy *policy = NULL;
	struct sl_environment env = {};
	int err;

	sl_cgroup_environment(options, cgroup, &env);
	err = sl_cgroup_resolve(cgroup, options, &env, &policy, diag);
	if (!err)
		err = sl_cgroup_put(state, cgroup, policy, out, diag);
	sl_policy_free(policy);
	sl_environment_free(&env);
	return err;
}

int sl_cgroup_isolate(struct sl_state *state, const struct sl_cgroup_target *cgroup,
		      const char *name, struct sl_attached *out, struct sl_diag *diag)
{
	const struct sl_policy nothing = {.name = (char *)name, .default_action = SL_DENY};

	return sl_cgroup_put(state, cgroup, &nothing, out, diag);
}
