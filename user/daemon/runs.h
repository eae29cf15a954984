/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Commands that members of the group start under policies that the administrator has listed
 * (`run:` in sluiced.yaml). For each policy some cgroups are kept ready, judged by it already:
 * a start moves one process, the one that asks. They are root's, and so is all that is above
 * them: nobody who is in one can leave it.
 *
 *   runs.c	 which there are: kept ready, given out
 *   run.c	 one of them: its process, its end
 *   run_place.c  the cgroup that they stand in, and what an earlier sluiced left there
 *   run_peer.c	 who asks, and its process
 *   op_run.c	 the request
 */
#ifndef SLUICE_DAEMON_RUNS_H
#define SLUICE_DAEMON_RUNS_H

#include <stdbool.h>
#include <sys/types.h>

#include "devices.h"
#include "loop.h"
#include "sluice_abi.h"

#define SL_RUNS_READY 3	   /* cgroups that are kept ready for a policy */
#define SL_RUNS_WORK_MS 20 /* until what is missing is made */

#define SL_RUN_PREFIX "run-"
/* On the cgroup, for the next sluiced: whose run it is, and under which policy. */
#define SL_RUN_OWNER "user.sluice.uid"
#define SL_RUN_POLICY "user.sluice.policy"
#define SL_RUN_NAMES "user.sluice.names" /* its command has mounts of its own, which names need */

struct sl_daemon;

enum sl_run_state {
	SL_RUN_READY,	/* its cgroup is judged, and nobody is in it */
	SL_RUN_STARTED, /* until its first process ends */
	SL_RUN_ENDING,	/* the rest is being killed */
};

struct sl_run {
	struct sl_daemon *daemon;
	enum sl_run_state state;
	char *path; /* of its cgroup in the hierarchy; owned */
	__u64 id;
	int dir_fd;		       /* owned */
	struct sl_target_group *group; /* a reference; NULL: its policy is listed no more */
	__u64 generation;	       /* its first */
	__u32 slot;
	uid_t uid;
	pid_t pid;
	bool names; /* once started: its command has the mounts that names need */
	struct sl_loop_source process; /* a pidfd; -1: not known */
	struct sl_loop_source events;  /* cgroup.events */
	struct sl_run *next;
};

struct sl_runs {
	struct sl_run *list; /* owned */
	char *place;	     /* the cgroup that they stand in; owned; NULL: not made yet */
	unsigned serial;
	__u64 retry_at_ns; /* monotonic: something could not be made; 0: all is well */
};

/* Makes the cgroup that they stand in: before privileges are given up, since the top of the
 * hierarchy is writable for no uid. Failing is said, and no reason not to enforce. */
void sl_runs_open(struct sl_daemon *daemon);
/* The configuration has changed. */
void sl_runs_regroup(struct sl_daemon *daemon);
/* Makes what is missing, one at a time, and removes what has ended. */
void sl_runs_work(struct sl_daemon *daemon);
bool sl_runs_want_work(const struct sl_daemon *daemon);
/* What runs goes on, enforced; what is only ready is removed. */
void sl_runs_close(struct sl_daemon *daemon);

/* Whose run the event is of; 0: nobody's. */
uid_t sl_runs_owner(struct sl_daemon *daemon, const struct sl_event *event);
/* The run in a cgroup; NULL: none. */
struct sl_run *sl_runs_find(const struct sl_daemon *daemon, __u64 id);

/* ---- for op_run.c ---- */

/* One that is ready, made if need be; NULL with the reason in diag. */
struct sl_run *sl_runs_take(struct sl_daemon *daemon, struct sl_target_group *group,
			    struct sl_diag *diag);
/* The process is in it: its end is the run's. Takes pidfd over. 0 or -errno. */
int sl_run_start(struct sl_run *run, uid_t uid, pid_t pid, int pidfd);
/* Whatever is in it is killed, and it is removed. */
void sl_run_end(struct sl_run *run);
/* How many a user has. */
unsigned sl_runs_count(const struct sl_daemon *daemon, uid_t uid);

/* ---- run.c, for the others ---- */

/* Of a cgroup that is there, ready; the daemon's list owns it. NULL: it cannot be opened. */
struct sl_run *sl_run_open(struct sl_daemon *daemon, const char *path);
bool sl_run_is_populated(const struct sl_run *run);
/* Its last counters, after all that the kernel has to say of it. */
void sl_run_tell_end(struct sl_run *run);
/* The cgroup goes with it; -EBUSY: somebody is in it. */
int sl_run_remove(struct sl_run *run);
/* The cgroup stays as it is. */
void sl_run_forget(struct sl_run *run);

/* ---- run_place.c, runs.c ---- */

int sl_runs_open_place(struct sl_daemon *daemon, struct sl_diag *diag);
/* The group of a policy that is listed; borrowed, NULL: it is not. */
struct sl_target_group *sl_runs_group(const struct sl_daemon *daemon, const char *policy);
/* May it follow that policy, or what it has become? */
bool sl_run_may_follow(const struct sl_run *run, const struct sl_target_group *group);
/* The cgroup obeys the policy, by hand: no pattern of the configuration takes it over. */
int sl_runs_enforce(struct sl_daemon *daemon, const char *path, __u64 id,
		    struct sl_target_group *group, struct sl_diag *diag);

/* ---- run_peer.c ---- */

struct sl_caller;

/* Who asks: a pidfd of the process that connected (owned by the caller), or -errno with the
 * reason in diag: it is another user's now, privileged, no member of the group, or gone. */
int sl_run_peer_open(const struct sl_caller *client, struct sl_diag *diag);
/* May it be moved: does nothing judge it that would not judge it there? */
int sl_run_peer_check(const struct sl_caller *client, const struct sl_run *run,
		      struct sl_diag *diag);
/* Moves it. -ESRCH: it ended meanwhile; whoever has its number now is where he was. */
int sl_run_peer_move(const struct sl_caller *client, int pidfd, struct sl_run *run,
		     struct sl_diag *diag);

#endif
