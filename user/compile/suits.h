/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Does a policy suit its kind of target? One file serves commands and devices, but
 * not every key means something to both: what a target could not be held to is
 * refused, never passed over. Pure.
 */
#ifndef SLUICE_SUITS_H
#define SLUICE_SUITS_H

#include "compile.h"

/* What a command cannot be held to: 0, or -EINVAL with each in diag. */
int sl_suits_command(const struct sl_policy *policy, struct sl_diag *diag);

#endif
