// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* cgroup_hold STATE CGROUP: nothing passes the cgroup until a policy is attached, as the
 * daemon does it for a workload that it has just found. */
#include <stdio.h>

#include "kernel/state.h"

static int hold(const char *path, const char *name, struct sl_diag *diag)
{
	const struct sl_state_options options = {.path = path, .create = true};
	struct sl_cgroup_target cgroup;
	struct sl_state *state;
	int err = sl_cgroup_open_target(name, &cgroup, diag);

	if (err)
		return err;
	err = sl_state_open(&options, &state, diag);
	if (!err) {
		err = sl_state_hold_cgroup(state, &cgroup, diag);
		sl_state_close(state);
	}
	sl_cgroup_close_target(&cgroup);
	return err;
}

int main(int argc, char **argv)
{
	struct sl_diag diag = {};
	int err;

	if (argc != 3)
		return 2;
	err = hold(argv[1], argv[2], &diag);
	sl_diag_print(&diag, stderr);
	sl_diag_free(&diag);
	return err ? 1 : 0;
}
