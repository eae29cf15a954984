/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the tests of user/target share. After cmocka.h. */
#ifndef SLUICE_TEST_TARGET_TOOLS_H
#define SLUICE_TEST_TARGET_TOOLS_H

#include <sys/wait.h>
#include <unistd.h>

#include "target/cgroup.h"

static inline void need_root(void)
{
	if (geteuid() == 0)
		return;
	print_message("skipped: needs root (makes cgroups, changes users)\n");
	skip();
}

static inline int wait_for(pid_t pid, int flags)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, flags), pid);
	return status;
}

static inline void find(struct sl_cgroup2 *fs)
{
	struct sl_diag diag = {0};

	need_root();
	if (sl_cgroup2_find(fs, &diag)) {
		sl_diag_print(&diag, stderr);
		sl_diag_free(&diag);
		print_message("skipped: no cgroup2 that can be written\n");
		skip();
	}
}

#endif
