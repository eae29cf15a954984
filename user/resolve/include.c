// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* `include`: finding a fragment, and its rules in the include's place. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

static const char profile_prefix[] = "profile/";

char *sl_path_relative(const char *from, const char *path)
{
	const char *slash = from && *path != '/' ? strrchr(from, '/') : NULL;
	char *joined;

	if (slash) {
		if (asprintf(&joined, "%.*s%s", (int)(slash - from + 1), from, path) < 0)
			return NULL;
		return joined;
	}
	/* A file called `-` is not standard input. */
	return strdup(strcmp(path, "-") ? path : "./-");
}

char *sl_profile_dir(void)
{
	/* of a source tree, and of an installation that was moved */
	static const char *const beside[] = {"../policies", "../share/sluice/policies"};
	char exe[4096], *dir;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *slash;

	exe[n < 0 ? 0 : n] = '\0';
	slash = strrchr(exe, '/');
	if (slash)
		*slash = '\0';
	for (size_t i = 0; slash && i < sizeof(beside) / sizeof(*beside); i++) {
		if (asprintf(&dir, "%s/%s", exe, beside[i]) < 0)
			return NULL;
		if (!access(dir, X_OK))
			return dir;
		free(dir);
	}
	return strdup(SLUICE_DATADIR "/policies");
}

char *sl_profile_path(const char *profile_dir, const char *name)
{
	char *shipped = profile_dir ? NULL : sl_profile_dir(), *path = NULL;
	int n = -1;

	if (profile_dir)
		n = asprintf(&path, "%s/%s.yaml", profile_dir, name);
	else if (shipped)
		n = asprintf(&path, "%s/profile/%s.yaml", shipped, name);
	free(shipped);
	return n < 0 ? NULL : path;
}

static bool is_profile(const char *include)
{
	return !strncmp(include, profile_prefix, strlen(profile_prefix));
}

bool sl_profile_name_ok(const char *name)
{
	return *name && *name != '.' && !strchr(name, '/');
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino && a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

static const char *name_of(const struct sl_frame *frame)
{
	return frame->file ? frame->file : "<stdin>";
}

/* The chain from the first frame that is the same file down to it again. */
static void print_chain(FILE *out, const struct sl_frame *frame, const struct stat *st)
{
	if (!same_file(&frame->st, st))
		print_chain(out, frame->up, st);
	fprintf(out, "%s -> ", name_of(frame));
}

static int fail_loop(struct sl_resolver *r, const struct sl_frame *frame,
		     const struct sl_item *item, const struct sl_frame *child)
{
	char *chain = NULL;
	size_t size;
	FILE *out = open_memstream(&chain, &size);

	if (!out)
		return -ENOMEM;
	print_chain(out, frame, &child->st);
	fputs(child->file, out);
	if (fclose(out)) {
		free(chain);
		return -ENOMEM;
	}
	sl_fail(r, &item->pos, "includes go round in a loop: %s", chain);
	free(chain);
	return 0;
}

static bool loops(const struct sl_frame *frame, const struct stat *st)
{
	for (; frame; frame = frame->up)
		if (same_file(&frame->st, st))
			return true;
	return false;
}

/* Parses the text and adds what is in it. */
static int add_fragment(struct sl_resolver *r, struct sl_frame *child, const char *text, size_t len)
{
	struct sl_policy *fragment = NULL;
	int err;

	err = sl_policy_parse(text, len, child->file, SL_PARSE_FRAGMENT, &fragment, r->diag);
	if (err == -EINVAL)
		r->failed = true;
	if (err)
		return err == -EINVAL ? 0 : err;
	if (sl_policy_refuse_unenforced(fragment, r->diag))
		r->failed = true;
	child->policy = child->ours = fragment;
	err = sl_sets_add(r, child);
	if (!err)
		err = sl_items_add(r, child);
	sl_policy_free(fragment);
	return err;
}

static int read_fragment(struct sl_resolver *r, const struct sl_frame *frame,
			 const struct sl_item *item, const char *path)
{
	struct sl_frame child = {.up = frame, .depth = frame->depth + 1};
	char *text = NULL;
	size_t len = 0;
	int err;

	child.file = sl_diag_intern(r->diag, path);
	if (!child.file)
		return -ENOMEM;
	err = sl_file_read_stat(path, SL_POLICY_BYTES_MAX - r->include_bytes, &item->pos, &text,
				&len, &child.st, r->diag);
	if (err == -EINVAL)
		r->failed = true;
	if (err)
		return err == -EINVAL ? 0 : err;
	r->include_bytes += len;
	if (loops(frame, &child.st))
		err = fail_loop(r, frame, item, &child);
	else
		err = add_fragment(r, &child, text, len);
	free(text);
	sl_strtab_free(&child.sets);
	return err;
}

static bool is_missing(const char *path)
{
	return access(path, F_OK) && errno == ENOENT;
}

int sl_include_add(struct sl_resolver *r, const struct sl_frame *frame, const struct sl_item *item)
{
	bool profile = is_profile(item->include);
	char *path;
	int err = 0;

	if (frame->depth >= SL_INCLUDE_DEPTH_MAX) {
		sl_fail(r, &item->pos, "include \"%s\" is more than %d files deep", item->include,
			SL_INCLUDE_DEPTH_MAX);
		return 0;
	}
	if (++r->n_includes > SL_INCLUDES_MAX) {
		if (r->n_includes == SL_INCLUDES_MAX + 1)
			sl_fail(r, &item->pos, "more than %d includes in one policy",
				SL_INCLUDES_MAX);
		return 0;
	}
	if (profile && !sl_profile_name_ok(item->include + strlen(profile_prefix))) {
		sl_fail(r, &item->pos,
			"\"%s\" is not profile/NAME: a profile's name "
			"has no / and begins with no dot",
			item->include);
		return 0;
	}
	path = profile ? sl_profile_path(r->options->profile_dir,
					 item->include + strlen(profile_prefix))
		       : sl_path_relative(frame->file, item->include);
	if (!path)
		return -ENOMEM;
	if (profile && is_missing(path))
		sl_fail(r, &item->pos, "no profile \"%s\" (%s): `sluice profile list` names those that "
			"there are", item->include + strlen(profile_prefix), path);
	else
		err = read_fragment(r, frame, item, path);
	free(path);
	return err;
}
