/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Where sluiced has the cluster's objects from: a directory of files beside what the runtime
 * says of this node's pods (directory.c), or the API server. sluiced knows this alone.
 *
 * Nothing here sleeps, and all of it is called by one thread. sluiced polls fd(), calls work()
 * after each wake and at the latest after timeout(), and looks whether `version` is another
 * one: then it asks every pod's policy again. objects() is what counts, whole: a source that
 * has read half of what changed, or something that is wrong, goes on with what it had.
 */
#ifndef SLUICE_KUBERNETES_SOURCE_H
#define SLUICE_KUBERNETES_SOURCE_H

#include <jansson.h>

#include "objects.h"

struct sl_kube_source;

struct sl_kube_source_ops {
	const char *kind; /* "directory", "api": in status and metrics */

	/* To be polled for reading, the same for ever (an epoll descriptor can be polled, so that
	 * a source may have many); -1: none. */
	int (*fd)(const struct sl_kube_source *source);
	/* Milliseconds until work() has something to do without news; -1: never. */
	int (*timeout)(const struct sl_kube_source *source);
	/* Reads news, as far as it goes without waiting. */
	void (*work)(struct sl_kube_source *source);
	/* Everything is looked at again, whatever was reported: once a minute. What that changes
	 * although no news said so is counted in `drift`. */
	void (*reconcile)(struct sl_kube_source *source);

	/*
	 * The objects as they are known; the source's, until the next call of anything but
	 * fd(), timeout() and state(). NULL: not known yet: no pod is decided by them, and the
	 * node's default holds. Pods of this node are among them, each with its `uid`, and so
	 * is every pod, Namespace, Service and EndpointSlice that a NetworkPolicy may ask for,
	 * unless kube->partial says that they are not to be had: then what would need them is
	 * refused.
	 */
	struct sl_kube *(*objects)(struct sl_kube_source *source);

	/*
	 * The pods of this node, as the runtime knows them, as a JSON array of Pods. NULL: the source
	 * knows pods by itself, and the runtime is not asked. 0 or -ENOMEM; what is wrong with
	 * them is in `errors`.
	 */
	int (*set_pods)(struct sl_kube_source *source, const json_t *pods);

	void (*free)(struct sl_kube_source *source);
};

#define SL_FATE_OF_ALL "not at the veth: "

enum sl_kube_fate {
	SL_FATE_UNTOLD,		/* nobody is to be told of it */
	SL_FATE_UNKNOWN,	/* not yet known */
	SL_FATE_IN_FORCE,
	SL_FATE_PARTLY,		/* but for clauses: *why has a line for each, which begins with its
				 * object's kind, namespace and name, or with SL_FATE_OF_ALL */
	SL_FATE_OF_CLUSTER,	/* what ClusterEgressPolicies say is in force; the rest is not: *why */
	SL_FATE_REFUSED,	/* it is not in force: *why */
};

struct sl_kube_source {
	const struct sl_kube_source_ops *ops;
	__u64 version;	   /* another one whenever objects() may mean something else; 0: not known */
	__u64 drift;	   /* differences that reconcile() found */
	__s64 changed_s;   /* Unix time of the last version; 0: none */
	__s64 stale_since_s; /* objects() may be out of date since then; 0: they are current */
	char why[256];	   /* of stale_since_s, in words: what is wrong, what to do */
	json_t *errors;	   /* owned: [{file, line, column, message}] of why; NULL: none */

	/* Set by the user of the source, or NULL: what became of the policy of this node's pod, and
	 * *why (until the next call). */
	enum sl_kube_fate (*fate)(void *context, const char *uid, const char **why);
	/* Set too: may pods of the namespace have a policy by annotation in the place of others? NULL:
	 * all may. */
	bool (*trusts)(void *context, const char *namespace);
	void *fate_context; /* of both */
	const struct sl_kube_dns *dns; /* set too: names in the cluster */
};

/* ---- for the user of a source ---- */

/*
 * The policy of one of its pods, as sl_kube_policy; of one on its node's network what
 * EgressPolicies say, since NetworkPolicies do not hold there. What is said goes to diag;
 * the files that it names are the source's, until its next call. -EAGAIN: objects() knows
 * nothing yet.
 */
int sl_kube_source_policy(struct sl_kube_source *source, const struct sl_kube_pod *pod,
			  struct sl_policy **out, struct sl_diag *diag);

/* The same of what ClusterEgressPolicies alone say, the rest denied; *out NULL: none selects it. */
int sl_kube_source_cluster_policy(struct sl_kube_source *source, const struct sl_kube_pod *pod,
				  struct sl_policy **out, struct sl_diag *diag);

/* As sl_kube_expected_conf. */
int sl_kube_source_expected_conf(struct sl_kube_source *source, const struct sl_kube_pod *pod,
				 char **text);

/* The pod with that uid, as a cgroup's name has it; of several that claim it the oldest.
 * NULL: none (yet), or it cannot be told which. */
const struct sl_kube_pod *sl_kube_find_uid(const struct sl_kube *kube, const char *uid);

/* ---- implementations ---- */

/* directory.c. path: *.yaml, *.yml and *.json in it, not in folders below; a mounted
 * ConfigMap too. -ENOMEM, or -errno of inotify; a directory that is not there (yet) is in
 * `why`. */
int sl_kube_directory_open(const char *path, struct sl_kube_source **out);

#endif
