// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A policy as a device would have it, without attaching it. */
#include "behind.h"

#include "compile/device.h"
#include "target/device.h"

static int say(struct sl_diag *diag, int err)
{
	sl_diag_print(diag, stderr);
	sl_diag_free(diag);
	return err ? SL_EXIT_FAILED : 0;
}

int sl_behind_read(const char *device, struct sl_environment *env)
{
	struct sl_device found;
	struct sl_diag diag = {};
	int err = sl_device_find(device, &found, &diag);

	if (!err)
		err = sl_device_environment(&found, env, &diag);
	return say(&diag, err);
}

int sl_behind_load(const char *path, const struct sl_resolve_options *options, bool keep_written,
		   struct sl_loaded *out)
{
	int status = sl_load_quietly(path, options, 1, keep_written, out);

	if (status || !options->env || !sl_device_refuse(out->policy, &out->diag))
		return status;
	return SL_EXIT_FAILED;
}
