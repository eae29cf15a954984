// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A policy from file to table, as every command does it. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* loaded->written is there afterwards if it is to be kept. */
static int load_policy(const char *path, const struct sl_resolve_options *options,
		       bool keep_written, struct sl_loaded *loaded)
{
	struct sl_resolve_options with = options ? *options : (struct sl_resolve_options){};
	bool is_stdin = !strcmp(path, "-");
	struct sl_policy *written;
	char *text;
	size_t len;
	int err;

	err = sl_file_read(path, SL_POLICY_BYTES_MAX, NULL, &text, &len, &loaded->diag);
	if (err)
		return err;
	sl_heap_expect(len);
	err = sl_policy_parse(text, len, is_stdin ? "<stdin>" : path, SL_PARSE_POLICY,
			      &written, &loaded->diag);
	free(text);
	if (err)
		return err;
	path = is_stdin ? NULL : path;
	with.keep_room = true;
	if (keep_written)
		err = sl_resolve(written, path, &with, &loaded->policy, &loaded->diag);
	else
		err = sl_resolve_ours(written, path, &with, &loaded->policy, &loaded->diag);
	if (keep_written && !err)
		loaded->written = written;
	else
		sl_policy_free(written);
	return err;
}

int sl_load_quietly(const char *path, const struct sl_resolve_options *options,
		    __u64 generation, bool keep_written, struct sl_loaded *out)
{
	struct sl_compile_options compile = {.generation = generation,
					     .boot_epoch_ns = sl_boot_epoch_ns()};
	struct sl_loaded loaded = {.boot_epoch_ns = compile.boot_epoch_ns};
	int err = load_policy(path, options, keep_written, &loaded);

	if (!err)
		err = sl_compile(loaded.policy, &compile, &loaded.compiled, &loaded.diag);
	if (err) {
		if (!loaded.diag.n_errors)
			sl_error(&loaded.diag, NULL, "%s: %s", path, strerror(-err));
		sl_policy_free(loaded.policy);
		sl_policy_free(loaded.written);
		*out = (struct sl_loaded){.diag = loaded.diag};
		return SL_EXIT_FAILED;
	}
	*out = loaded;
	return 0;
}

int sl_load(const char *path, const struct sl_resolve_options *options, __u64 generation,
	    bool quiet, struct sl_loaded *out)
{
	struct sl_loaded loaded;
	int status = sl_load_quietly(path, options, generation, false, &loaded);

	if (status || !quiet)
		sl_diag_print(&loaded.diag, stderr);
	if (status)
		sl_loaded_free(&loaded);
	else
		*out = loaded;
	return status;
}

void sl_loaded_free(struct sl_loaded *loaded)
{
	sl_compiled_free(&loaded->compiled);
	sl_policy_free(loaded->policy);
	sl_policy_free(loaded->written);
	sl_diag_free(&loaded->diag);
	memset(loaded, 0, sizeof(*loaded));
}

