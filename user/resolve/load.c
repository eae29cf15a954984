// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* From a path to a resolved policy. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

int sl_policy_load(const char *path, const struct sl_resolve_options *options,
		   struct sl_policy **out, struct sl_diag *diag)
{
	struct sl_resolve_options with = options ? *options : (struct sl_resolve_options){};
	bool is_stdin = !strcmp(path, "-");
	const char *file = sl_diag_intern(diag, is_stdin ? "<stdin>" : path);
	struct sl_policy *policy = NULL;
	char *text = NULL;
	size_t len;
	int err;

	if (!file)
		return -ENOMEM;
	err = sl_file_read(path, SL_POLICY_BYTES_MAX, NULL, &text, &len, diag);
	if (err)
		return err;
	sl_heap_expect(len);
	err = sl_policy_parse(text, len, file, SL_PARSE_POLICY, &policy, diag);
	free(text);
	if (err)
		return err;
	with.keep_room = true;
	err = sl_resolve_ours(policy, is_stdin ? NULL : path, &with, out, diag);
	sl_policy_free(policy);
	return err;
}
