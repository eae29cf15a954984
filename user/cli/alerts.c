// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice alerts: becomes sluice-alerts, which stands beside this program. */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static int beside(char path[PATH_MAX])
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return -errno;
	self[n] = 0;
	return snprintf(path, PATH_MAX, "%s/sluice-alerts", dirname(self)) < PATH_MAX
		       ? 0 : -ENAMETOOLONG;
}

int cmd_alerts(int argc, char **argv)
{
	char path[PATH_MAX] = "sluice-alerts";
	int err;

	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
		return sl_help("alerts");
	err = beside(path);
	if (!err)
		execv(path, argv);
	fprintf(stderr, "sluice alerts: cannot start %s: %s\n", path,
		strerror(err ? -err : errno));
	return SL_EXIT_FAILED;
}
