// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "pins.h"

const char *sl_pins_path(void)
{
	const char *path = secure_getenv("SLUICE_STATE");

	return path && *path ? path : SL_STATE_PATH;
}

int sl_pins_open(bool create, struct sl_state **out)
{
	struct sl_state_options options = {.path = sl_pins_path(), .create = create};
	struct sl_diag diag = {};
	int err = sl_state_open(&options, out, &diag);

	if (err && err != -ENOENT && !diag.n_errors)
		sl_error(&diag, NULL, "%s: %s", options.path, strerror(-err));
	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	if (err == -ENOENT && !create)
		return -ENOENT;
	return err ? SL_EXIT_FAILED : SL_EXIT_OK;
}
int sl_pins_claim_events(struct sl_state *state)
{
	struct sl_diag diag = {};
	int err = sl_state_claim_events(state, &diag);

	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	return err;
}
