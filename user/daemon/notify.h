/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SLUICE_DAEMON_NOTIFY_H
#define SLUICE_DAEMON_NOTIFY_H

/* sd_notify(3): tells the service manager, if there is one ($NOTIFY_SOCKET). */
void sl_notify(const char *state);

#endif
