/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SLUICE_CLI_STATUS_H
#define SLUICE_CLI_STATUS_H

#include <jansson.h>
#include <stdbool.h>

/* What `sluice status -o json` prints, from sluiced or the pins; command is who complains.
 * NULL: said on stderr. */
json_t *sl_status_get(const char *command);
/* A target that is a cgroup kept ready for a run: nobody is in it, and it is no row. */
bool sl_status_is_ready_run(const json_t *target);

#endif
