/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Resolve: what a policy means here and now. The only impure stage: it reads
 * files, users and, for the sets that depend on the machine, the network
 * namespace of the target. Its result is again a policy (and prints as one):
 *
 *  - includes are spliced in, their private sets renamed where they collide;
 *  - every HOST is any, a CIDR, a name or a set with `set` pointing into the result's
 *    own sets; built-in sets stand expanded in place;
 *  - with a rule by name there is a gate, and `dns: search` is written; addresses of
 *    a hosts file, if one is given, stand in the rules that allow their names;
 *  - every uid is a number; every rule has an id; durations of `expires` are
 *    times;
 *  - no unenforced key is left (the policy is refused).
 */
#ifndef SLUICE_RESOLVE_H
#define SLUICE_RESOLVE_H

#include "policy/policy.h"

/*
 * What the sets that depend on the machine mean for one target: @gateway and
 * @subnet as its own network namespace routes, @host the addresses of the
 * caller's namespace, loopback (127.0.0.0/8, ::1) excepted: a container's own
 * addresses are not the host's. @resolvers is its resolv.conf. search is that file's
 * too: LOCALDOMAIN of a process and the domain of the host's name are not looked at.
 * For a device: see sl_environment_read_device.
 * gateway, subnet and host are sorted and hold nothing twice.
 */
enum sl_conf {
	SL_CONF_HOSTS,	/* the caller's; also where the target has no process yet */
	SL_CONF_SHARED, /* the caller's: a process of the target has none of its own */
	SL_CONF_OWN,	/* a file that the target may write */
};

struct sl_environment {
	struct sl_cidr *gateway, *subnet, *host, *resolvers; /* owned */
	size_t n_gateway, n_subnet, n_host, n_resolvers;
	char **search;		/* owned, each owned: domains of its resolv.conf */
	size_t n_search;
	enum sl_conf conf;	/* whose resolv.conf: resolvers and search */
	bool host_root;		/* the process that was looked at has the root directory of the caller or of process 1 */
	unsigned upper;		/* of a device: the interface that has the host's addresses on its network */
	bool of_device;		/* then errors about what is empty speak of it */
	int err;		/* -errno: it could not be read, and who needs it is told */
};

/*
 * Reads the environment of a network namespace, which needs CAP_SYS_ADMIN if it
 * is another's. netns_fd: an open
 * /proc/PID/ns/net, or -1 for the caller's own. resolv_conf: path of the
 * target's resolv.conf, NULL for /etc/resolv.conf. Uses a thread of its own for
 * another namespace, so the caller's does not change. 0, or -errno with *env
 * untouched: -EINTR when the network changed in every one of many tries,
 * -EOPNOTSUPP when the next hop of a default route is not told
 * (net.ipv4.nexthop_compat_mode=0).
 */
int sl_environment_read(int netns_fd, const char *resolv_conf,
			struct sl_environment *env);

/*
 * The same for what is behind a device (a tap, the host side of a veth) of the
 * caller's namespace. The workload's network is that of the interface which holds
 * the host's addresses on it: the bridge (bond, ...) that the device is a port of,
 * or the device itself. @gateway: that interface's addresses, as routers know each
 * other by them, link-local ones too, and the next hops of default routes over it;
 * @subnet: its on-link prefixes. Both are empty where no address is on it: a bridge
 * that the host is not on, an Open vSwitch datapath. @host is without the link-local
 * IPv6 addresses of bridges' ports, which answer nobody. -ENODEV: no such interface, or
 * it went away meanwhile.
 */
int sl_environment_read_device(unsigned ifindex, const char *resolv_conf,
			       struct sl_environment *env);
void sl_environment_free(struct sl_environment *env);

/* Resolvers and search domains of another resolv.conf in place of those that it has; NULL:
 * /etc/resolv.conf. */
int sl_environment_take_conf(const char *resolv_conf, struct sl_environment *env);
/* The same of one that is not in a file. */
int sl_environment_take_conf_text(const char *resolv_conf, struct sl_environment *env);
/* Writes them as a resolv.conf. */
void sl_environment_print_conf(const struct sl_environment *env, FILE *out);

/* The Unix time at which the rule of that id first took effect: its duration of
 * `expires` counts from there. now_s for one that is new. */
typedef __s64 sl_since_fn(void *context, const char *id, __s64 now_s);

/* The host's uid of a uid inside the target's user namespace. -ENOENT with *why set to
 * a static text: there is none. */
typedef int sl_host_uid_fn(void *context, __u32 inside, __u32 *outside, const char **why);

struct sl_resolve_options {
	const struct sl_environment *env; /* NULL: read the caller's own when
					   * a set of that kind is used */
	const char *profile_dir;	/* where `include: profile/NAME` looks;
					 * NULL = profile/ of sl_profile_dir */
	__s64 now_s;			/* Unix time; 0 = the clock */
	bool trust_clock;		/* take dates although the clock is
					 * unsynchronised or too old */
	const char *hosts;		/* the target's hosts file, whose names are
					 * learned (docs/names.md); NULL: none */
	sl_host_uid_fn *host_uid;	/* NULL: the target's user namespace is the
					 * caller's, which is the host's */
	void *host_uid_context;
	sl_since_fn *since;		/* NULL: every rule is new */
	void *since_context;
	bool keep_room;			/* what a large set file needs may stay with the
					 * process (sl_heap_expect): a command, which ends */
};

/* Unix time minus boot time in ns (struct sl_compile_options). */
__s64 sl_boot_epoch_ns(void);
/* Since boot, as bpf_ktime_get_boot_ns() has it. */
__u64 sl_boot_ns(void);

/* Where shipped policies are: beside the build directory of the source tree that
 * this program was built in, else where they are installed. Owned; NULL: no memory. */
char *sl_profile_dir(void);

/* The file of a profile. profile_dir as in the options. Owned; NULL: no memory. */
char *sl_profile_path(const char *profile_dir, const char *name);
/* A profile's name is no path: `../x` is refused. */
bool sl_profile_name_ok(const char *name);

/*
 * Resolves policy (as parsed from file `path`; NULL = standard input, includes
 * are then relative to the working directory) into *out. 0; -EINVAL with errors
 * in diag; -ENOMEM. The policy itself is not changed.
 */
int sl_resolve(const struct sl_policy *policy, const char *path,
	       const struct sl_resolve_options *options,
	       struct sl_policy **out, struct sl_diag *diag);
/* sl_resolve of a policy that is freed next: rules that resolve to themselves move to *out. */
int sl_resolve_ours(struct sl_policy *policy, const char *path,
		    const struct sl_resolve_options *options, struct sl_policy **out,
		    struct sl_diag *diag);

/* sl_resolve of a policy that outlives *out: where every rule of it resolves to itself, and there
 * are no includes, *out has these rules, not copies, and they have their ids from then on: those
 * that any other resolution of it gives them. Else it is sl_resolve. Nobody may change the rules
 * of *out. */
int sl_resolve_lent(struct sl_policy *policy, const char *path,
		    const struct sl_resolve_options *options, struct sl_policy **out,
		    struct sl_diag *diag);

/*
 * Does its resolution depend on nothing but the policy: not on the target, the network, users, the
 * clock, or another file? policy is as parsed. False where that is not known: names, `dns`,
 * includes, set files, built-in sets, users, `expires`.
 */
bool sl_policy_stays(const struct sl_policy *policy);

/*
 * Reads a whole policy, fragment or set file, refusing one that is not a
 * regular file, is larger than max bytes, or may be written by others.
 * *text is owned by the caller and NUL-terminated beyond *len.
 * `-` reads standard input. Errors go to diag with pos (may be NULL).
 */
int sl_file_read(const char *path, size_t max, const struct sl_pos *pos,
		 char **text, size_t *len, struct sl_diag *diag);

/* A policy or set file of that many bytes is about to be parsed, resolved and compiled, on the main
 * thread: makes that cheaper (heap.c). The process keeps the memory. sl_policy_load calls it. */
void sl_heap_expect(size_t text_bytes);

/* sl_file_read + sl_policy_parse + sl_resolve: what every command does. */
int sl_policy_load(const char *path, const struct sl_resolve_options *options,
		   struct sl_policy **out, struct sl_diag *diag);

#endif
