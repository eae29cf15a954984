// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The directories of a cgroup that is wanted before anybody else makes it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cgroups.h"

int sl_cgroup_dirs_make(const char *mount, const char *path,
			int (*made)(void *context, const char *real, int err), void *context)
{
	const char *at = path;
	char *real;
	int err = 0;

	while (!err && *at) {
		at += strspn(at, "/");
		at += strcspn(at, "/");
		if (asprintf(&real, "%s%.*s", mount, (int)(at - path), path) < 0)
			return -ENOMEM;
		err = mkdir(real, 0755) && errno != EEXIST ? errno : 0;
		err = made(context, real, err);
		free(real);
	}
	return err;
}
