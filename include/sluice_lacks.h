/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a policy has no use for. A command's programs are for one table (user/kernel/lacks.c), so
 * a constant tells them what it lacks, and the verifier passes over what can never be: a branch
 * of an impossible condition is not walked, and since 6.8 no function that only it calls.
 * SL_MAY(x): 0 only where that is known. Programs for many targets, and user space, know nothing.
 */
#ifndef SLUICE_LACKS_H
#define SLUICE_LACKS_H

enum sl_lacks {
	SL_LACKS_FRAGMENTS = 1 << 0,	/* all are denied */
	SL_LACKS_BANDWIDTH = 1 << 1,	/* limits of bytes */
	SL_LACKS_FLOW_LIMIT = 1 << 2,	/* a limit of new flows */
	SL_LACKS_UIDS = 1 << 3,		/* rules with a uid */
	SL_LACKS_CHANGE = 1 << 4,	/* neither a deadline nor another generation */
	SL_LACKS_AUDIT = 1 << 5,	/* what is denied does not pass */
	SL_LACKS_DROP = 1 << 6,		/* on_deny: drop */
	SL_LACKS_SNI = 1 << 7,		/* rules with sni */
	SL_LACKS_FORWARDER = 1 << 8,	/* dns: {mode: forward} */
	SL_LACKS_RANGES6 = 1 << 9,	/* more groups of IPv6 ranges than SL_FEW_GROUPS6 */
};

/* Of either kind, so few that one level is above them, and a search without it takes no more steps. */
#define SL_FEW_GROUPS6_LEVELS 1
#define SL_FEW_GROUPS6_STEPS 3
#define SL_FEW_GROUPS6 (1 << SL_FEW_GROUPS6_STEPS)

#ifndef SL_MAY
#define SL_MAY(lacked) 1
#endif

#endif
