/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* `--dev` of commands that attach nothing: the policy as it is behind a device. */
#ifndef SLUICE_CLI_BEHIND_H
#define SLUICE_CLI_BEHIND_H

#include "cli.h"

/* The network as the device sees it: @gateway, @subnet and @host are of that. 0, or
 * SL_EXIT_FAILED with the reason printed. Free with sl_environment_free. */
int sl_behind_read(const char *device, struct sl_environment *env);

/* sl_load_quietly, and where options have an env also what a device refuses (rules with a
 * uid). Free with sl_loaded_free in any case. */
int sl_behind_load(const char *path, const struct sl_resolve_options *options, bool keep_written,
		   struct sl_loaded *out);

#endif
