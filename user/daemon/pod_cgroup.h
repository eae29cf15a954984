/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Cgroups of pods, as a kubelet names them (pkg/kubelet/cm/cgroup_manager_linux.go): below one
 * for all of them, by both of its drivers,
 *
 *   cgroupfs  /kubepods[/burstable|/besteffort]/podUID
 *   systemd   /kubepods.slice[/kubepods-burstable.slice]/kubepods[-burstable]-podUID.slice
 *
 * where systemd has _ for the - of a uid. A kubelet with a root of its own (kind) has them
 * below that. A static pod's uid is a hash without dashes.
 */
#ifndef SLUICE_DAEMON_POD_CGROUP_H
#define SLUICE_DAEMON_POD_CGROUP_H

#include <stdbool.h>
#include <stddef.h>

#define SL_PODS_UNKNOWN "pods-until-known" /* the policy of what is not known yet */
#define SL_POD_UID_MAX 64

/* Where kubelets make it; first that of the driver cgroupfs without a root of its own. */
#define SL_PODS_PLACES 4
extern const char *const sl_pods_places[SL_PODS_PLACES];

/* By systemd's driver. */
bool sl_pods_place_is_slice(const char *place);

/* The uid of the pod whose own cgroup that is, below one of the places. false: no pod's, or one
 * below a pod's. */
bool sl_pod_cgroup(const char *path, const char *const *places, size_t n,
		   char uid[SL_POD_UID_MAX + 1]);

/* Could a pod's cgroup be below that path, or is it one (whose containers' cgroups come and go)? */
bool sl_pod_cgroup_leads(const char *path, const char *const *places, size_t n);

/* The uid of the pod that a path leads into, at any depth below its own cgroup. */
bool sl_pod_cgroup_within(const char *path, const char *const *places, size_t n,
			  char uid[SL_POD_UID_MAX + 1]);

/*
 * With conmon_cgroup = "pod" CRI-O has each container's monitor in the pod's cgroup, beside the
 * container's: a process of the node, older than the container, in none of the pod's namespaces. Is
 * that a monitor's cgroup, and the open directory a pod's, wherever its kubelet has it? A
 * sl_foreign_fn (target/processes.h).
 */
bool sl_pod_is_monitor(int dir_fd, const char *name);

#endif
