/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The pods of a node (`kubernetes:` in sluiced.yaml): each pod's cgroup is a target, with the
 * policy that the cluster's objects say. What is not known yet is judged by the default on
 * the cgroup above all pods, which is in the configuration's groups.
 *
 *   pod_cgroup.c  which cgroup is which pod's
 *   pods.c        when something is to be done: cgroups, runtime, objects
 *   pods_walk.c   their cgroups, from the first walk that finds one to its target's end
 *   pods_source.c the runtime and the objects, opened and closed as the configuration says
 *   pod_who.c     one pod: who it is
 *   pod_policy.c  its policy
 *   pods_objects.c  the runtime's pods as objects
 *   pods_view.c   as status and metrics show them
 *   pods_dns.c    whose answers pods' names are believed
 *   pods_since.c  how long they ran before they were judged
 *   pods_astray.c the kubelet makes their cgroups where none is looked for
 *
 * A pod that is gone stays in the list until its target is: its last socket may be open.
 */
#ifndef SLUICE_DAEMON_PODS_H
#define SLUICE_DAEMON_PODS_H

#include "cgroups.h"
#include "config.h"
#include "cri/cri.h"
#include "kubernetes/source.h"
#include "loop.h"
#include "pod_cgroup.h"

#define SL_PODS_ASK_NS 20000000ull /* until the runtime is asked again, the first time */
#define SL_PODS_SELF "SLUICE_POD_UID" /* in the environment: of the pod that sluiced is in */

struct sl_daemon;

struct sl_pod {
	char *uid;  /* owned */
	char *path; /* of its cgroup, in the hierarchy; owned */
	__u64 id;   /* of its cgroup */
	__u64 found_ns; /* monotonic */
	char *namespace, *name; /* owned; NULL: not known yet */
	bool seen;		/* by the walk that is under way */
	__u64 children;		/* of its cgroup, and when that was changed */
	__s64 changed_s, changed_ns;
	bool host_network, exempt;
	bool told;	 /* that it is judged by its own policy */
	__s64 started_s; /* Unix time; 0: not known */
	__u64 runs_since_ns; /* boot time, of its first process; 0: none was seen */
	char *text;	 /* of the policy that it has; owned; NULL: none of its own */
	char *cluster;	 /* what ClusterEgressPolicies say in it; owned; NULL: none selects it */
	bool has_cluster; /* that is what they say now */
	bool held;	  /* it has only that: the rest is wrong */
	char *in_force;	  /* `cluster` of what its cgroup has; owned */
	char *unfit;	  /* a text that is right, and cannot be given on its cgroup; owned; NULL: none */
	char unfit_why[160];
	char *partly;	  /* lines: clauses that do nothing for it, Services of mixed endpoints; owned; NULL: none */
	struct sl_target_group *group; /* a reference; NULL: none yet */
	bool ended, has_slot;
	__u32 slot; /* of its target */
	char why[256]; /* the policy that it should have cannot be given; empty: all is well */
};

struct sl_pods {
	bool on;
	struct sl_cri *cri;		/* NULL: the runtime is not asked */
	struct sl_kube_source *source;	/* NULL: it could not be opened */
	struct sl_kube_dns dns;		/* the cluster's; owned */
	char *cri_path, *source_of;	/* that these are of; owned */
	struct sl_loop_source cri_news, source_news;
	struct sl_pod *list; /* owned */
	size_t n;
	char *self; /* uid of the pod that sluiced is in; owned; NULL: it is in none */
	__u64 ask_at_ns, ask_wait_ns; /* the runtime, monotonic; 0: not */
	__u64 asked_at_ns;
	__u64 look_at_ns;	      /* whether targets of ended ones are gone */
	__u64 version;		      /* of the source's objects, that is in force */
	bool decide;		      /* all of them */
	bool by_clock;		      /* the question that is under way is reconcile's alone */
	bool walk_news, walked;
	bool changed;		      /* this walk found another pod, or another cgroup in one */
	__u64 drift; /* differences that the clock found, and no news */
	__u64 ended; /* pods, since the start */
	char fate[1024]; /* the last that was told of a pod */
};

/* The configuration that is in force is another one. */
void sl_pods_regroup(struct sl_daemon *daemon);
/* Before sl_cgroups_work. */
void sl_pods_work(struct sl_daemon *daemon);
int sl_pods_timeout(const struct sl_daemon *daemon);
/* Everything is looked at again. */
void sl_pods_reconcile(struct sl_daemon *daemon);
void sl_pods_close(struct sl_daemon *daemon);

/* For sl_state_on_end: a target goes, its counters are still there. */
void sl_pods_end(struct sl_daemon *daemon, const struct sl_state *state, __u32 slot);

/* ---- pods_walk.c ---- */

extern const struct sl_cgroups_pods sl_pods_hooks;
/* Where their cgroups are: the configuration's, else the known ones; *n of them. */
const char *const *sl_pods_places_of(const struct sl_daemon *daemon, size_t *n);
/* The runtime is to be asked; where a question is due sooner it stays. */
void sl_pods_ask_in(struct sl_pods *pods, __u64 wait_ns);
/* Is one of the pods not known, that was found since then? */
bool sl_pods_unknown(const struct sl_pods *pods, __u64 since_ns);
/* Out of the list; the last takes its place. */
void sl_pods_drop(struct sl_pods *pods, struct sl_pod *pod);
/* Their target may have gone without us, as by `sluice detach`. */
void sl_pods_look_at_ended(struct sl_daemon *daemon, __u64 now_ns);

/* ---- pods_place.c ---- */

/* The cgroup above all pods, before a kubelet: so that no pod is in it before it is judged. Where one is
 * there, it stays as it is. For the start alone, which has the capability for it. */
void sl_pods_make_place(struct sl_daemon *daemon);

/* ---- pods_source.c ---- */

/* What the configuration names; what is open already, and the same, stays. */
void sl_pods_open(struct sl_daemon *daemon);
void sl_pods_close_sources(struct sl_daemon *daemon);

/* ---- pods_dns.c ---- */

/* What the configuration says, and sluiced's own resolv.conf in a pod. */
void sl_pods_know_dns(struct sl_daemon *daemon);
void sl_pods_forget_dns(struct sl_pods *pods);

/* ---- pod_who.c ---- */

/* The object, or NULL; the runtime tells who a pod is while there are no objects. */
const struct sl_kube_pod *sl_pod_identify(struct sl_daemon *daemon, struct sl_pod *pod);
/* May pods of the namespace say by annotation what takes the place of policies that select them?
 * context: the daemon. */
bool sl_pod_may_annotate(void *context, const char *namespace);
/* Nothing is judged of a pod of that namespace (NULL: not known), or of that uid. */
bool sl_pods_is_exempt(const struct sl_daemon *daemon, const char *uid, const char *namespace);

/* ---- pod_policy.c ---- */

void sl_pod_free(struct sl_pod *pod);
/* Who it is, and its policy, as far as both are known. */
void sl_pod_decide(struct sl_daemon *daemon, struct sl_pod *pod);
/* For sl_cgroups (cgroups.h). */
void sl_pod_settled(void *context, const struct sl_watched_cgroup *watched, const char *why);
/* What could not be given on pods' cgroups is tried once more. */
void sl_pods_try_again(struct sl_pods *pods);
/* A record: judged, refused, ended. more: added to it; a reference that is taken; may be NULL. */
void sl_pod_tell(struct sl_daemon *daemon, const struct sl_pod *pod, const char *change, json_t *more);
/* The runtime's pods as objects; a new reference, NULL: no memory. */
json_t *sl_pods_objects(const struct sl_pods *pods, const struct sl_config_kubernetes *config);

/* ---- pods_since.c ---- */

/* Seconds, rounded up, for which a pod ran before anything judged it; 0: it was judged from its
 * start on, or ran less than a tick before. */
__s64 sl_pods_open_s(struct sl_daemon *daemon, struct sl_pod *pod);

/* ---- pods_view.c ---- */

enum sl_pod_state {
	SL_POD_JUDGED,	/* by a policy of its own, which is in force */
	SL_POD_UNKNOWN, /* by the default: who it is, or the objects, is not known yet */
	SL_POD_REFUSED, /* its policy cannot be given: it keeps what it has, or has nothing */
	SL_POD_EXEMPT,
	SL_POD_ENDED,	/* and its target is still there */
	SL_POD_STATES
};

void sl_pods_count(struct sl_daemon *daemon, size_t counts[SL_POD_STATES]);
/* Targets of sluiced's whose cgroup is not followed (any more): 0 at rest. */
size_t sl_pods_left(struct sl_daemon *daemon);
/* For status; NULL: there is no `kubernetes:`. A new reference. */
json_t *sl_pods_json(struct sl_daemon *daemon, json_t *warnings);
/* What keeps the objects from being current; NULL: nothing. */
const char *sl_pods_stale(const struct sl_pods *pods);

/* ---- pods_astray.c ---- */

#define SL_PODS_ASTRAY "no pod's cgroup is found on the node: see `sluice status` there"

/* Pods that run here by the API server, if not one cgroup of a pod is found; 0: all is well. */
size_t sl_pods_astray(const struct sl_daemon *daemon);
void sl_pods_warn_astray(const struct sl_daemon *daemon, size_t n_pods, json_t *warnings);

#endif
