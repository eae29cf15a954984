/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Every cgroup whose path, or whose systemd unit's name, matches a pattern, as they come
 * and go: what devices.h is for devices. A new cgroup is judged by the nearest target
 * above it until it has its own policy (`defaults`).
 *
 *   cgroup_walk.c  which there are: the hierarchy, by inotify
 *   cgroup_match.c which group is theirs
 *   cgroups.c      when something is to be done
 *   cgroup_table.c  one cgroup: its table
 *   cgroup_give.c  its policy given, renewed, left alone
 */
#ifndef SLUICE_DAEMON_CGROUPS_H
#define SLUICE_DAEMON_CGROUPS_H

#include <sys/stat.h>

#include <sys/inotify.h>

#include "container/container.h"
#include "devices.h"
#include "forwarders.h"
#include "loop.h"
#include "target/cgroup_policy.h"

/* Of a directory of cgroups, for inotify. */
#define SL_CGROUPS_NEWS (IN_CREATE | IN_DELETE | IN_ONLYDIR)

struct sl_veths;

struct sl_watched_cgroup {
	char *path;			/* in the hierarchy: /a/b; owned */
	struct sl_container *container; /* whose it is; owned; NULL: no container's */
	__u64 id;			/* never given to another cgroup */
	struct sl_assignment as;
	bool seen;			      /* by the walk that is under way */
	bool announced;			      /* by a gate */
	bool of_pod;			      /* its group is none of the configuration's */
	bool has_veths;			      /* the host's ends of its veths are judged too */
	__u64 found_at_ns;		      /* monotonic */
	__u64 early_since_ns;		      /* monotonic: first_look.h is too early since then; 0: it
					       * has looked, or is not asked */
	struct sl_veths *veths;		      /* veths.h; owned; NULL: none are looked for */
	struct sl_policy *asks;		      /* of its policy in force the resolvers and search
					       * domains, as resolved; owned; NULL: none yet */
	struct sl_cidr *resolvers;	      /* of its resolv.conf; owned. Not where its policy
					       * means the same everywhere */
	size_t n_resolvers;
	char *expected; /* a pod's resolv.conf, until it can be seen; owned. NULL: the host's */
	__u32 slot;
	__u64 generation, meaning;
	struct sl_seal seal;
	char why[160];
};

struct sl_gone_cgroup {
	__u64 id;
	char *path; /* that it had; owned */
};

/* Who knows which cgroups are pods' (pods.h); what he is told of is no other group's. */
struct sl_cgroups_pods {
	/* Does a path of his begin so? The walk goes there. */
	bool (*leads)(void *context, const char *path);
	/* Is it a pod's own? He may add it (sl_cgroups_add). Between begin and end of a walk;
	 * news: what it finds has been reported. */
	bool (*saw)(void *context, const char *path, const struct stat *st);
	void (*begin)(void *context, bool news);
	void (*end)(void *context);
	/* What its group was given last is in force on a pod's cgroup; with why: cannot be. */
	void (*settled)(void *context, const struct sl_watched_cgroup *watched, const char *why);
};

struct sl_cgroups_ops {
	/* What became of a cgroup, as of devices. */
	void (*tell)(void *context, const char *change, const struct sl_watched_cgroup *watched,
		     const char *policy, const char *why);
	/* The state, locked, or -errno: -EAGAIN while others change it, else said. */
	int (*lock)(void *context, struct sl_state **state);
};

struct sl_cgroups {
	const char *isolation;
	const struct sl_cgroups_ops *ops;
	void *context;
	const struct sl_cgroups_pods *pods; /* NULL: there are none */
	void *pods_context;
	struct sl_forwarders *forwarders; /* of those whose policies want one */
	const struct sl_lookout *lookout; /* who sees their processes; NULL: this process */
	struct sl_target_group **groups; /* owned, a reference each */
	size_t n_groups;
	char *looks;			/* first_look.h: a directory; owned; NULL: none */
	char *mount;			/* of cgroup2; owned; NULL: nothing is followed */
	/* what /proc/PID/cgroup says is no path below it: in a cgroup namespace */
	bool foreign;
	struct sl_loop_source source;	/* inotify; fd -1 */
	struct sl_watched_cgroup *list; /* owned */
	size_t n;
	__u64 scan_at_ns; /* monotonic: the hierarchy is walked; 0: no news */
	__u64 scanned_at_ns;
	__u64 check_at_ns, retry_at_ns, busy_at_ns, renew_at_ns;
	__u64 changed_at_ns; /* the first of the changes that renew_at_ns is for */
	__u64 early_at_ns;   /* those of which it was too early are looked at again */
	unsigned retries;
	struct sl_gone_cgroup *gone; /* that may have sockets left; owned */
	size_t n_gone;
	__u64 sweep_at_ns, sweep_wait_ns;
	bool sweep, looked_back;
	struct sl_container_places places; /* borrowed texts */
	/* What others know of a cgroup's container beside its files (engines.h); NULL: nobody. err: of
	 * those; returns what it is with what they know. */
	int (*complete)(void *context, const char *cgroup, int err, struct sl_container *container);
	void *complete_context;
	__u64 *strangers; /* containers' cgroups that no target matches; owned */
	size_t n_strangers;
	__u64 announced; /* containers that a gate has held until they were judged */
};

/* Makes each directory from the top of the hierarchy down that a path in it wants and that is not
 * there, and asks made() of each, new or not: real, its path; err: why it cannot be made, or 0. What
 * made() returns other than 0 ends it and is returned; else 0 or -ENOMEM. */
int sl_cgroup_dirs_make(const char *mount, const char *path,
			int (*made)(void *context, const char *real, int err), void *context);

/* Finds the hierarchy and begins to listen. 0 or -errno with the reason in diag. */
int sl_cgroups_open(struct sl_cgroups *cgroups, int loop, struct sl_diag *diag);
void sl_cgroups_close(struct sl_cgroups *cgroups, int loop);

/* Takes these groups (and the array) over, as sl_devices_regroup. */
void sl_cgroups_regroup(struct sl_cgroups *cgroups, struct sl_target_group **groups, size_t n);
/* Targets' containers that run and that no gate has announced to this process. */
size_t sl_cgroups_unannounced(const struct sl_cgroups *cgroups);
/* The texts stay the caller's, until the next call. */
void sl_cgroups_places(struct sl_cgroups *cgroups, const struct sl_container_places *places);
void sl_cgroups_take_back(struct sl_cgroups *cgroups);
void sl_cgroups_on_change(struct sl_cgroups *cgroups);
void sl_cgroups_renew_all(struct sl_cgroups *cgroups);

/* What the clock and inotify ask for. state: to look at, unlocked. at_most_ns: after so long the
 * rest is left to the next call, ~0ull: all is done. */
void sl_cgroups_work(struct sl_cgroups *cgroups, const struct sl_state *state, __u64 at_most_ns);
int sl_cgroups_timeout(const struct sl_cgroups *cgroups);

struct sl_watched_cgroup *sl_cgroups_find(struct sl_cgroups *cgroups, __u64 id);
/* Its policy is one that was given here. */
static inline bool sl_cgroup_is_ours(const struct sl_watched_cgroup *watched)
{
	return watched->as.state == SL_WATCHED_ATTACHED || watched->as.state == SL_WATCHED_ISOLATED;
}

/* Adds one, and listens for its end, also where no pattern leads; NULL: no memory. */
struct sl_watched_cgroup *sl_cgroups_add(struct sl_cgroups *cgroups, const char *path, __u64 id,
					 struct sl_target_group *group);
void sl_cgroups_drop(struct sl_cgroups *cgroups, struct sl_watched_cgroup *watched);

/* Its container is called otherwise: it is the target's that matches now. */
void sl_cgroup_match_again(struct sl_cgroups *cgroups, struct sl_watched_cgroup *watched);

/* ---- cgroup_match.c ---- */

/* The first group that is the cgroup's. container: whose it is; may be NULL. */
struct sl_target_group *sl_cgroups_match(const struct sl_cgroups *cgroups, const char *path,
					 const struct sl_container *container);
/* Could a cgroup below this one match? */
bool sl_cgroups_may_be_below(const struct sl_cgroups *cgroups, const char *path);

/* ---- cgroup_walk.c ---- */

/* Walks what may hold one that matches; new ones are added, what is gone is dropped. news:
 * inotify had some. */
void sl_cgroups_walk(struct sl_cgroups *cgroups, bool news);
/* A sl_cgroup_finder; context: struct sl_cgroups. */
char *sl_cgroups_where(void *context, __u64 id, bool *removed);
/* Takes the container over: *container is empty afterwards. 0 or -ENOMEM. */
int sl_cgroups_name(struct sl_watched_cgroup *watched, struct sl_container *container);

/* ---- cgroup_give.c: the state being locked ---- */

void sl_cgroup_give(struct sl_cgroups *cgroups, struct sl_state *state,
		    struct sl_watched_cgroup *watched);
/* Is it so new that what cannot be resolved there yet is tried again at once? now: monotonic. */
bool sl_cgroup_is_soon(const struct sl_watched_cgroup *cgroup, __u64 now);
void sl_cgroup_renew(struct sl_cgroups *cgroups, struct sl_state *state,
		     struct sl_watched_cgroup *watched);
/* What it has stays on failure. 0, or -errno with the reason in diag. */
int sl_cgroup_give_now(struct sl_cgroups *cgroups, struct sl_state *state,
		       struct sl_watched_cgroup *watched, struct sl_diag *diag);
/* Somebody took its policy away or changed what is pinned? The reason (static), or NULL. */
const char *sl_cgroup_broken(const struct sl_state *state, const struct sl_watched_cgroup *watched);

#endif
