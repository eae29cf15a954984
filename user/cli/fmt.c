// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* sluice fmt: a policy as it was parsed, in canonical form. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "comments.h"
#include "output.h"
#include "rewrite.h"

struct fmt {
	enum sl_parse_kind kind;
	bool check, write, force;
};

/* One file: its text and what it should be. */
struct file {
	const char *path, *name;	/* name: as messages show it */
	char *text, *canonical;		/* owned */
	size_t len, canonical_len;
	struct sl_bare bare;		/* owned */
	struct sl_diag diag;
};

static int complain(const struct file *file, const char *what)
{
	fputs("sluice fmt: ", stderr);
	sl_put_text(file->name, stderr);
	fprintf(stderr, ": %s\n", what);
	return SL_EXIT_FAILED;
}

static int print_to_text(const struct sl_policy *policy, char **text, size_t *len)
{
	FILE *out = open_memstream(text, len);
	int err;

	if (!out)
		return -ENOMEM;
	err = sl_policy_print(policy, out);
	return fclose(out) && !err ? -ENOMEM : err;
}

/* The printer does not know the keys of parts not built yet: it would lose them. */
static int parse_and_print(const struct fmt *fmt, const char *text, size_t len, struct file *file,
			   char **canonical, size_t *canonical_len)
{
	struct sl_policy *policy;
	int err = sl_policy_parse(text, len, file->name, fmt->kind, &policy, &file->diag);

	if (err)
		return err;
	err = sl_policy_refuse_unenforced(policy, &file->diag);
	if (!err)
		err = print_to_text(policy, canonical, canonical_len);
	sl_policy_free(policy);
	return err;
}

/* True if the canonical text reads back as itself. */
static bool reads_back(const struct fmt *fmt, struct file *file)
{
	char *again = NULL;
	size_t len = 0;
	bool same = !parse_and_print(fmt, file->canonical, file->canonical_len, file, &again,
				     &len) &&
		    len == file->canonical_len && !memcmp(again, file->canonical, len);

	free(again);
	return same;
}

static int read_file(const struct fmt *fmt, struct file *file)
{
	int err = sl_file_read(file->path, SL_POLICY_BYTES_MAX, NULL, &file->text, &file->len,
			       &file->diag);

	if (!err)
		err = parse_and_print(fmt, file->text, file->len, file, &file->canonical,
				      &file->canonical_len);
	if (!err)
		err = sl_comments_strip(file->text, file->len, &file->bare);
	sl_diag_print(&file->diag, stderr);
	if (err && !file->diag.n_errors)
		complain(file, strerror(-err));
	if (!err && !reads_back(fmt, file)) {
		complain(file, "internal error: the canonical text does not read back; "
			       "please report it");
		err = -EINVAL;
	}
	return err ? SL_EXIT_FAILED : 0;
}

/* Comments and blank lines do not count. */
static bool is_canonical(const struct file *file)
{
	return file->bare.len == file->canonical_len &&
	       !memcmp(file->bare.text, file->canonical, file->canonical_len);
}

static int write_file(const struct fmt *fmt, const struct file *file)
{
	int err;

	if (is_canonical(file) && !fmt->force)
		return 0;
	if (file->bare.n_comments && !fmt->force) {
		fputs("sluice fmt: ", stderr);
		sl_put_text(file->name, stderr);
		fprintf(stderr, ":%u: has %zu comment%s, which would be lost: --force drops %s\n",
			file->bare.first_line, file->bare.n_comments,
			file->bare.n_comments == 1 ? "" : "s",
			file->bare.n_comments == 1 ? "it" : "them");
		return SL_EXIT_FAILED;
	}
	err = sl_file_replace(file->path, file->canonical, file->canonical_len);
	return err ? complain(file, strerror(-err)) : 0;
}

static int fmt_file(const struct fmt *fmt, const char *path)
{
	struct file file = {.path = path, .name = strcmp(path, "-") ? path : "<stdin>"};
	int status = read_file(fmt, &file);

	if (!status && fmt->write)
		status = write_file(fmt, &file);
	else if (!status && fmt->check)
		status = is_canonical(&file) ? 0 : complain(&file, "not in canonical form");
	else if (!status)
		fwrite(file.canonical, 1, file.canonical_len, stdout);
	free(file.text);
	free(file.canonical);
	free(file.bare.text);
	sl_diag_free(&file.diag);
	return status;
}

static const struct option options[] = {
	{"write", no_argument, NULL, 'w'},
	{"check", no_argument, NULL, 'c'},
	{"force", no_argument, NULL, 'f'},
	{"fragment", no_argument, NULL, 'F'},
	{"help", no_argument, NULL, 'h'},
	{},
};

static int run(const struct fmt *fmt, char **files)
{
	int status = 0;

	if (fmt->write && fmt->check)
		return sl_usage("fmt", "--write and --check exclude each other");
	if (fmt->force && !fmt->write)
		return sl_usage("fmt", "--force goes with --write");
	if (!fmt->write && !fmt->check && files[0] && files[1])
		return sl_usage("fmt", "one FILE at a time, or --write or --check");
	for (char **file = files; fmt->write && *file; file++)
		if (!strcmp(*file, "-"))
			return sl_usage("fmt", "--write cannot rewrite '-', standard input");
	if (!files[0] && fmt->write)
		return sl_usage("fmt", "--write wants a FILE");
	if (!files[0])
		return fmt_file(fmt, "-");
	for (; *files; files++)
		if (fmt_file(fmt, *files))
			status = SL_EXIT_FAILED;
	return status;
}

int cmd_fmt(int argc, char **argv)
{
	struct fmt fmt = {.kind = SL_PARSE_POLICY};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":wh", options, NULL)) != -1) {
		if (c == 'h')
			return sl_help("fmt");
		if (c == 'w')
			fmt.write = true;
		else if (c == 'c')
			fmt.check = true;
		else if (c == 'f')
			fmt.force = true;
		else if (c == 'F')
			fmt.kind = SL_PARSE_FRAGMENT;
		else
			return sl_option_wrong("fmt", c, argv);
	}
	return sl_output_done("fmt", run(&fmt, argv + optind));
}
