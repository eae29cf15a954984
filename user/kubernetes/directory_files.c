// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The files of a directory of objects, of one state of it. */
#include "directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/text.h"
#include "resolve/resolve.h"

#define FILE_BYTES_MAX (4u << 20)
#define FILES_MAX 1000
#define REREADS_MAX 10

void sl_texts_free(struct sl_texts *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->list[i].path);
		free(t->list[i].text);
	}
	free(t->list);
	*t = (struct sl_texts){};
}

/* Not what begins with a dot: `..data` and what it leads to, and what an editor keeps. */
static int is_object(const struct dirent *entry)
{
	const char *name = entry->d_name;

	return name[0] != '.' && (!fnmatch("*.yaml", name, 0) || !fnmatch("*.yml", name, 0) ||
				  !fnmatch("*.json", name, 0));
}

static int read_one(const char *path, const char *name, struct sl_texts *out,
		    struct sl_diag *diag)
{
	struct sl_text *t = SL_ADD(out->list, out->n);

	if (!t || asprintf(&t->path, "%s/%s", path, name) < 0)
		return -ENOMEM;
	return sl_file_read(t->path, FILE_BYTES_MAX, NULL, &t->text, &t->len, diag);
}

static int read_all(const char *path, struct sl_texts *out, struct sl_diag *diag)
{
	struct dirent **names;
	int n = scandir(path, &names, is_object, alphasort), err = 0, one;

	if (n < 0)
		return sl_error(diag, NULL, "%s: %s: it is to hold the policies, or be there empty "
				"(\"directory\" in sluiced.yaml)", path, strerror(errno));
	if (n > FILES_MAX)
		err = sl_error(diag, NULL, "%s has more than %d files of objects", path, FILES_MAX);
	for (int i = 0; i < n; i++) {
		one = err ? 0 : read_one(path, names[i]->d_name, out, diag);
		err = err ? err : one;
		free(names[i]);
	}
	free(names);
	return err;
}

/* Which directory a mounted ConfigMap is now; empty: it is none. */
static void read_link(const char *path, char link[NAME_MAX + 1])
{
	int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ssize_t n = dir < 0 ? -1 : readlinkat(dir, "..data", link, NAME_MAX);

	link[n > 0 ? n : 0] = 0;
	if (dir >= 0)
		close(dir);
}

int sl_texts_read(const char *path, struct sl_texts *out, struct sl_diag *diag)
{
	char before[NAME_MAX + 1], after[NAME_MAX + 1];
	int err;

	for (int i = 0;; i++) {
		read_link(path, before);
		err = read_all(path, out, diag);
		read_link(path, after);
		if (!strcmp(before, after) || i == REREADS_MAX)
			return err;
		sl_texts_free(out);
		sl_diag_clear(diag);
	}
}

bool sl_texts_same(const struct sl_texts *a, const struct sl_texts *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->list[i].path, b->list[i].path) || a->list[i].len != b->list[i].len ||
		    memcmp(a->list[i].text, b->list[i].text, a->list[i].len))
			return false;
	return true;
}
