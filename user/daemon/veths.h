/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The host's ends of the veths of a pod or a container: what its sockets' cgroup does not see
 * (packet sockets, a network of its own behind the pod's) is judged there, by the same policy.
 *
 *   veths.c        which devices are whose, and when that is looked at
 *   veth_held.c    those that are held until their pods are known
 *   veth_policy.c  the policy as a device can have it
 *
 * The devices are among sl_devices, of groups that are none of the configuration's.
 */
#ifndef SLUICE_DAEMON_VETHS_H
#define SLUICE_DAEMON_VETHS_H

#include <jansson.h>

#include "cgroups.h"
#include "pod_cgroup.h"

struct sl_daemon;
struct sl_pod;

/* Of one cgroup (sl_watched_cgroup.veths). */
struct sl_veths {
	struct sl_target_group *source; /* whose policy it is; a reference */
	unsigned loads;			/* of that policy, when it was taken */
	__u64 meaning;			/* of the cgroup's, then: what it was resolved to */
	struct sl_target_group *group;	/* for devices; a reference; NULL: they have none */
	unsigned *indexes;		/* of the devices; owned */
	size_t n;
	bool unfit;		/* no veth can have that policy */
	__u64 look_at_ns, wait_ns; /* monotonic; 0: not before there is news */
	char why[200];		   /* they are not judged; empty: they are, or none is found */
};

/* A device that lets nothing pass, since nobody knows its pod yet. */
struct sl_held_veth {
	char uid[SL_POD_UID_MAX + 1]; /* empty: not known, since an earlier sluiced held it */
	unsigned ifindex;
	char name[IFNAMSIZ];
};

/* After the pods and cgroups, before the devices: finds, gives, takes away. */
void sl_veths_work(struct sl_daemon *daemon);
/* Milliseconds until there is something to do; -1: nothing. */
int sl_veths_timeout(const struct sl_daemon *daemon);
/* Devices came, or may have. */
void sl_veths_on_links(struct sl_daemon *daemon);
/* Each is looked for again, also where some are known. */
void sl_veths_reconcile(struct sl_daemon *daemon);
/* Now, those of the cgroup at that path or of the nearest above that is to have any: judged when
 * it returns. NULL, or why one is not (as long as nothing changes). */
const char *sl_veths_now(struct sl_daemon *daemon, const char *path);
struct sl_veth;
/* These are of the cgroup's: given when it returns, if they can be. */
void sl_veths_give(struct sl_daemon *daemon, __u64 cgroup, const struct sl_veth *list, size_t n);
/* NULL: nothing. The devices keep what they have. */
void sl_veths_free(struct sl_veths *veths);

/* Adds `veths`, their names, and `veths_why`, a text or null. */
/* Why no veth can have the cgroup's policy; NULL: one can. */
const char *sl_veths_unfit(const struct sl_watched_cgroup *watched);
void sl_veths_json(const struct sl_daemon *daemon, __u64 cgroup, json_t *object);
/* One warning in place of one for each of them. */
void sl_veths_fold(const struct sl_daemon *daemon, json_t *warnings);
/* The cgroup whose device that is; NULL: no one's. */
const struct sl_watched_cgroup *sl_veths_owner(const struct sl_daemon *daemon, unsigned ifindex);

/* That one is of the cgroup's, and gets what those have. */
void sl_veths_take(struct sl_daemon *daemon, struct sl_veths *veths, const struct sl_veth *veth);

/* The pod, known and not ended, whose oldest process is in the network of that number; or NULL. */
const struct sl_pod *sl_veths_pod_behind(const struct sl_daemon *daemon, int nsid);

/* ---- veth_held.c ---- */

/* That device is held until the pod of this uid is known. 0 or -ENOMEM. */
int sl_veths_held(struct sl_daemon *daemon, const char *uid, const struct sl_veth *veth);
/* At the start: those that an earlier sluiced held, and nobody knows of whom. */
void sl_veths_find_held(struct sl_daemon *daemon);
/* Those whose pods are known by now. */
void sl_veths_settle_held(struct sl_daemon *daemon);

/* ---- veth_policy.c ---- */

/* Makes group's policy of the cgroup's, with the resolvers that are in force there: 0, or -errno
 * with the reason in why. */
int sl_veth_load(struct sl_target_group *group, const struct sl_watched_cgroup *w, char *why,
		 size_t size);

#endif
