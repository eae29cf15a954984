/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the commands that work on the pinned state share. */
#ifndef SLUICE_CLI_PINS_H
#define SLUICE_CLI_PINS_H

#include "kernel/state.h"

/* Where the pins are: $SLUICE_STATE, or SL_STATE_PATH. */
const char *sl_pins_path(void);

/* Opens the state; errors are printed. SL_EXIT_OK, SL_EXIT_FAILED, or -ENOENT: there
 * is none (never with create). */
int sl_pins_open(bool create, struct sl_state **out);

/* sl_state_claim_events; errors are printed. */
int sl_pins_claim_events(struct sl_state *state);

#endif
