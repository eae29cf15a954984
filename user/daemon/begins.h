/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * When the rules with durations of the configured targets first took effect, over a restart:
 * one file, `begins`, in systemd's state directory ($STATE_DIRECTORY, /var/lib/sluice), which
 * outlives a reboot; beside the socket where there is none.
 */
#ifndef SLUICE_DAEMON_BEGINS_H
#define SLUICE_DAEMON_BEGINS_H

#include <jansson.h>

struct sl_config;
struct sl_daemon_options;
struct sl_target_group;

/* What the file holds; owned by the caller, NULL: nothing, or it cannot be read (said). */
json_t *sl_begins_read(const struct sl_daemon_options *options);
/* The same of a configuration that is in force; owned by the caller, NULL: no memory. */
json_t *sl_begins_of(const struct sl_config *config);
/* The group's durations go on from there; a group that is not in it has none. 0 or -ENOMEM. */
int sl_begins_recall(const json_t *memory, struct sl_target_group *group);
/* Writes what the configuration's are now, if that is something else; said if it cannot be. */
void sl_begins_keep(const struct sl_daemon_options *options, const struct sl_config *config);

#endif
