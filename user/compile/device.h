/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Does a policy suit a device? What a device cannot do is refused; what its owner may
 * not mean is said. Pure: everything that is known of the network comes in.
 */
#ifndef SLUICE_COMPILE_DEVICE_H
#define SLUICE_COMPILE_DEVICE_H

#include "compile.h"
#include "resolve/resolve.h"

/* A device has no users and no forwarder: an error for each rule with a uid, and for
 * `mode: forward`. 0 or -EINVAL. */
int sl_device_refuse(const struct sl_policy *policy, struct sl_diag *diag);

/*
 * Guests reach neither each other nor the host unless a rule allows it, and a rule to
 * `any` allows it: warns of each rule (and of default: allow) that lets the guest reach
 * an address of env's host or subnet without naming it, or set or prefix of it. One
 * warning a rule for the host and one for the neighbours, with an address and a port.
 * Where env knows no subnet, private addresses stand for it. Also warns of resolvers
 * that no guest can reach.
 *
 * policy is the one that compiled was made from; binding (NULL: none) says which
 * addresses are the guest's own; now_ns is boot time. Returns how many warnings.
 */
size_t sl_device_review(const struct sl_policy *policy, const struct sl_compiled *compiled,
			const struct sl_environment *env, const struct sl_binding *binding,
			__u64 now_ns, struct sl_diag *diag);

#endif
