// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice convert --from records: what was denied, as a policy to be read. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "alerts/stream.h"
#include "convert/records.h"
#include "convert_records.h"
#include "output.h"
#include "policy/policy.h"
#include "policy/text.h"

static const char *shown_name(const char *path)
{
	return strcmp(path, "-") ? path : "<stdin>";
}

/* A line that is no record is passed over, and said. */
static int read_file(const char *path, struct sl_records *records, struct sl_diag *diag)
{
	struct sl_stream *stream = sl_stream_new(false, sl_records_take, records);
	struct sl_pos pos = {.file = shown_name(path)};
	int err = stream ? sl_stream_file(stream, path) : -ENOMEM;

	if (err && err != -ENOMEM)
		err = sl_error(diag, NULL,
			       "cannot read %s: %s; give the FILE of `sluice run --log`, "
			       "or - for standard input",
			       pos.file, strerror(-err));
	if (!err && sl_stream_stats(stream)->faulty) {
		pos.line = (unsigned)sl_stream_stats(stream)->fault_line;
		sl_warn(diag, &pos, "%llu line%s no record (%s)",
			(unsigned long long)sl_stream_stats(stream)->faulty,
			sl_stream_stats(stream)->faulty == 1 ? " is" : "s are",
			sl_stream_stats(stream)->fault);
	}
	sl_stream_free(stream);
	return err;
}

/* Not before it is known to be one. */
static int put_policy(const struct sl_records *records, struct sl_diag *diag)
{
	struct sl_policy *policy;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int err = -ENOMEM;

	if (out) {
		sl_records_print(records, out);
		err = fclose(out) ? -ENOMEM : 0;
	}
	if (!err)
		err = sl_policy_parse(text, len, "<the policy>", SL_PARSE_POLICY, &policy, diag);
	if (!err) {
		sl_policy_free(policy);
		fputs("# Made by `sluice convert --from records`.\n", stdout);
		fwrite(text, 1, len, stdout);
	}
	free(text);
	return err;
}

int sl_convert_records(char **paths, size_t n, const char *policy)
{
	static char *standard_input[] = {"-"};
	struct sl_records *records = sl_records_new(policy);
	struct sl_diag diag = {};
	int err = records ? 0 : -ENOMEM;

	if (!n) {
		paths = standard_input;
		n = 1;
	}
	for (size_t i = 0; i < n && !err; i++)
		err = read_file(paths[i], records, &diag);
	if (!err)
		err = sl_records_check(records, shown_name(paths[0]), &diag);
	if (!err)
		err = put_policy(records, &diag);
	sl_diag_print(&diag, stderr);
	if (err && !diag.n_errors)
		fprintf(stderr, "sluice convert: %s\n", strerror(-err));
	sl_diag_free(&diag);
	sl_records_free(records);
	return err ? SL_EXIT_FAILED : SL_EXIT_OK;
}
