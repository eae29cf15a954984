/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What was attached by hand through sluiced is followed by the next one, too. */
#ifndef SLUICE_DAEMON_HAND_H
#define SLUICE_DAEMON_HAND_H

#include "daemon.h"

#define SL_HAND_NAME 64

/* Makes the directory; failing is said. */
void sl_hand_open(struct sl_daemon *daemon);
/* Those that a sluiced before this one was asked for, and that still have what it gave them, are
 * followed. Once: before anything is given to targets. */
void sl_hand_restore(struct sl_daemon *daemon);

/* request: as sl_change_load has completed it. */
void sl_hand_note_cgroup(struct sl_daemon *daemon, const struct sl_watched_cgroup *watched,
			 const json_t *request);
void sl_hand_note_device(struct sl_daemon *daemon, const struct sl_watched *watched,
			 const json_t *request);
void sl_hand_forget_cgroup(struct sl_daemon *daemon, __u64 id);
void sl_hand_forget_device(struct sl_daemon *daemon, unsigned ifindex);

#endif
