/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* `sluice rules --dev`. */
#ifndef SLUICE_CLI_HITS_H
#define SLUICE_CLI_HITS_H

#include <stdbool.h>

/* Prints the decisions of a device's target by rule; the exit status. */
int sl_hits_show(const char *device, bool json);

#endif
