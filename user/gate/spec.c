// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "spec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "http/json.h"

#define SPEC_MAX (16u << 20)
#define KEY "\"hooks\""

/* ---- the value of "hooks", in a text that is JSON and an object (which the caller knows) ---- */

struct span {
	size_t at, end;
};

static size_t behind_space(const char *text, size_t at)
{
	return at + strspn(text + at, " \t\r\n");
}

static size_t behind_string(const char *text, size_t at)
{
	for (at++; text[at] && text[at] != '"'; at++)
		if (text[at] == '\\' && text[at + 1])
			at++;
	return text[at] ? at + 1 : at;
}

static size_t behind_value(const char *text, size_t at)
{
	size_t depth = 0;

	do {
		if (text[at] == '"') {
			at = behind_string(text, at);
			continue;
		}
		depth += text[at] == '{' || text[at] == '[';
		depth -= depth && (text[at] == '}' || text[at] == ']');
		at++;
	} while (text[at] && (depth || !strchr(",}", text[at])));
	return at;
}

static bool find_hooks(const char *text, struct span *out)
{
	size_t at = behind_space(text, 0) + 1, key;

	for (;;) {
		key = at = behind_space(text, at);
		if (text[at] != '"')
			return false;
		at = behind_space(text, behind_string(text, at));
		at = behind_space(text, at + (text[at] == ':'));
		out->at = at;
		out->end = behind_value(text, at);
		if (!strncmp(text + key, KEY, sizeof(KEY) - 1))
			return true;
		at = behind_space(text, out->end);
		if (text[at] != ',')
			return false;
		at++;
	}
}

/* ---- the hook ---- */

static bool has(const json_t *list, const json_t *hook)
{
	const json_t *one;
	size_t i;

	json_array_foreach((json_t *)list, i, one)
		if (json_equal(one, hook))
			return true;
	return false;
}

/* As text, owned; hooks is what there is, or none. */
static char *with(json_t *hooks, json_t *hook)
{
	json_t *list = json_object_get(hooks, "createRuntime");
	bool fine = true;

	if (!json_is_array(list)) {
		list = json_array();
		fine = !json_object_set_new(hooks, "createRuntime", list);
	}
	if (fine && !has(list, hook))
		fine = !json_array_append(list, hook);
	return fine ? json_dumps(hooks, JSON_COMPACT) : NULL;
}

static char *joined(const char *text, struct span span, const char *before, const char *hooks,
		    const char *after)
{
	char *all;

	return asprintf(&all, "%.*s%s%s%s%s", (int)span.at, text, before, hooks, after,
			text + span.end) < 0 ? NULL : all;
}

char *sl_spec_with_hook(const char *text, size_t len, json_t *hook, const char **why)
{
	json_t *spec = sl_json_read(text, len, NULL);
	json_t *there = json_object_get(spec, "hooks"), *hooks = NULL;
	struct span span = {};
	char *said, *all = NULL;

	*why = "it is no OCI configuration (JSON, an object)";
	if (json_is_object(spec) && there && find_hooks(text, &span))
		hooks = json_is_null(there) ? json_object() :
					      sl_json_read(text + span.at, span.end - span.at, NULL);
	else if (json_object_size(spec) && !there)
		hooks = json_object();
	said = json_is_object(hooks) ? with(hooks, hook) : NULL;
	if (said)
		*why = "out of memory";
	if (said && there) {
		all = joined(text, span, "", said, "");
	} else if (said) {
		span.at = span.end = behind_space(text, 0) + 1;
		all = joined(text, span, KEY ":", said, ",");
	}
	free(said);
	json_decref(hooks);
	json_decref(spec);
	return all;
}

/* ---- the file ---- */

/* Owned, NUL-terminated. */
static char *read_file(const char *path, struct stat *st, int *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	FILE *in = fd < 0 ? NULL : fdopen(fd, "r");
	char *text = NULL;
	size_t n = 0;

	*st = (struct stat){};
	*err = in && !fstat(fd, st) ? 0 : -errno;
	if (!*err && (st->st_size <= 0 || st->st_size > SPEC_MAX))
		*err = -EFBIG;
	if (!*err)
		text = calloc(1, (size_t)st->st_size + 1);
	if (text)
		n = fread(text, 1, (size_t)st->st_size, in);
	if (in)
		fclose(in);
	else if (fd >= 0)
		close(fd);
	if (text && n == (size_t)st->st_size)
		return text;
	free(text);
	*err = *err ? *err : -EIO;
	return NULL;
}

static int replace(const char *path, const char *text, const struct stat *st)
{
	size_t len = strlen(text);
	char *other;
	int fd, err = 0;

	if (asprintf(&other, "%s.sluice-XXXXXX", path) < 0)
		return -ENOMEM;
	fd = mkostemp(other, O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		free(other);
		return err;
	}
	if (fchown(fd, st->st_uid, st->st_gid) || fchmod(fd, st->st_mode & 07777))
		err = -errno;
	for (size_t n = 0; n < len && !err;) {
		ssize_t put = write(fd, text + n, len - n);

		if (put < 0)
			err = -errno;
		else
			n += (size_t)put;
	}
	if (close(fd) && !err)
		err = -errno;
	if (!err && rename(other, path))
		err = -errno;
	if (err)
		unlink(other);
	free(other);
	return err;
}

int sl_spec_add_hook(const char *path, json_t *hook, const char **why)
{
	struct stat st;
	char *text, *with_it;
	int err;

	text = read_file(path, &st, &err);
	if (!text)
		return err;
	with_it = sl_spec_with_hook(text, (size_t)st.st_size, hook, why);
	err = with_it ? replace(path, with_it, &st) : -EINVAL;
	free(with_it);
	free(text);
	return err;
}
