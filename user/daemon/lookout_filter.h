/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SLUICE_DAEMON_LOOKOUT_FILTER_H
#define SLUICE_DAEMON_LOOKOUT_FILTER_H

/* From now on this process, and those that it makes, may look: files to read, netlink's
 * routes and addresses, other network namespaces. 0 or -errno. */
int sl_lookout_filter(void);

#endif
