/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What a cgroup program returns. */
#ifndef SLUICE_HOOK_BPF_H
#define SLUICE_HOOK_BPF_H

#define SL_PASS 1
#define SL_REFUSE 0		/* egress: EPERM for the caller; ingress: dropped */
#define SL_DROP_SILENTLY 2	/* egress only (NET_XMIT_DROP): TCP and UDP see success,
				 * a ping socket ENOBUFS */

#define SL_SOCK_RAW 3		/* include/linux/net.h */

#endif
