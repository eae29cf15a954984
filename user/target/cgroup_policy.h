/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A cgroup as a target of the pinned state: from a policy file to a judged cgroup.
 * What device.h is for devices.
 */
#ifndef SLUICE_TARGET_CGROUP_POLICY_H
#define SLUICE_TARGET_CGROUP_POLICY_H

#include "kernel/state.h"
#include "target/device.h"
#include "target/lookout.h"

/* The network as the cgroup's workload sees it (sl_cgroup_look), by the options' lookout. Sets
 * cgroup->netns. Free with sl_environment_free. What cannot be read is an error only of a policy
 * that needs it. */
void sl_cgroup_environment(const struct sl_attach_options *options, struct sl_cgroup_target *cgroup,
			   struct sl_environment *env);

/* What the policy means there; owned by the caller. options->binding is not looked at.
 * cgroup: whose uids `uid: {container: N}` are; NULL: of no cgroup yet, to find what is
 * wrong with a policy. */
int sl_cgroup_resolve(const struct sl_cgroup_target *cgroup,
		      const struct sl_attach_options *options, const struct sl_environment *env,
		      struct sl_policy **out, struct sl_diag *diag);

/* A policy of that kind onto the cgroup. */
int sl_cgroup_put(struct sl_state *state, const struct sl_cgroup_target *cgroup,
		  const struct sl_policy *resolved, struct sl_attached *out,
		  struct sl_diag *diag);

/* All of it. 0, or -errno with the reason in diag and nothing changed; warnings are in
 * diag too. */
int sl_cgroup_attach(struct sl_state *state, struct sl_cgroup_target *cgroup,
		     const struct sl_attach_options *options, struct sl_attached *out,
		     struct sl_diag *diag);

/* A cgroup whose policy cannot be enforced denies everything, under a policy of that
 * name; it replaces what the cgroup had. */
int sl_cgroup_isolate(struct sl_state *state, const struct sl_cgroup_target *cgroup,
		      const char *name, struct sl_attached *out, struct sl_diag *diag);

#endif
