/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Through sluiced where it runs, else on the pins. */
#ifndef SLUICE_CLI_CONTROL_H
#define SLUICE_CLI_CONTROL_H

#include "daemon/client.h"

/* SL_EXIT_OK with *out; -ENOENT: none runs (or, with here, it serves another network
 * namespace), work on the pins; SL_EXIT_FAILED: said on stderr. */
int sl_control_find(bool here, struct sl_control **out);

/* sl_control_ask; what is wrong, and the answer's warnings, are said on stderr. */
json_t *sl_control_get(struct sl_control *control, const char *op, json_t *request);

/* The field of a request that names its target. NULL: said on stderr, since JSON has no place for
 * it. */
json_t *sl_control_target(bool is_cgroup, const char *name);

#endif
