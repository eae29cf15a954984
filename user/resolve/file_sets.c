// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A file's own sets into the result: contents read, names kept apart. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* The base name of a fragment as the beginning of a set name. */
static void prefix_of(const char *file, char *prefix, size_t size)
{
	const char *base = strrchr(file, '/');
	size_t n;

	base = base ? base + 1 : file;
	n = strcspn(base, ".");
	if (n >= size)
		n = size - 1;
	for (size_t i = 0; i < n; i++) {
		char c = base[i] >= 'A' && base[i] <= 'Z' ? base[i] + 32 : base[i];

		prefix[i] = strchr("abcdefghijklmnopqrstuvwxyz0123456789_-", c) ? c : '-';
	}
	prefix[n] = '\0';
}

/* A name for the set that no other set of the result has: its own, or with the
 * fragment's name before it, or with a number behind that. */
static char *free_name(struct sl_resolver *r, const struct sl_frame *frame, const char *name)
{
	char prefix[SL_ID_MAX / 2], text[SL_ID_MAX + 1], tail[16] = "";
	int room;

	if (!sl_strtab_find(&r->set_names, name))
		return strdup(name);
	prefix_of(frame->file ? frame->file : "stdin", prefix, sizeof(prefix));
	for (unsigned i = 1;; i++) {
		if (i > 1)
			snprintf(tail, sizeof(tail), "-%u", i);
		room = SL_ID_MAX - (int)(strlen(prefix) + 1 + strlen(tail));
		snprintf(text, sizeof(text), "%s-%.*s%s", prefix, room, name, tail);
		if (!sl_strtab_find(&r->set_names, text))
			return strdup(text);
	}
}

/* Appends an empty set; its name is free afterwards with r->out alone. */
static struct sl_set *append(struct sl_resolver *r, const struct sl_frame *frame,
			     const struct sl_set *src)
{
	struct sl_set *set = calloc(1, sizeof(*set)), **grown;

	if (!set)
		return NULL;
	grown = sl_array_grow(r->out->sets, r->out->n_sets, &r->cap_sets, sizeof(*grown));
	if (grown)
		r->out->sets = grown;
	set->name = free_name(r, frame, src->name);
	if (!grown || !set->name) {
		sl_set_free(set);
		return NULL;
	}
	set->pos = src->pos;
	grown[r->out->n_sets++] = set;
	return set;
}

/* -EINVAL: reported. */
static int read_set(struct sl_resolver *r, const struct sl_frame *frame, const struct sl_set *src,
		    struct sl_set *set)
{
	char *path = sl_path_relative(frame->file, src->path), *text = NULL;
	const char *file = path ? sl_diag_intern(r->diag, path) : NULL;
	size_t len = 0;
	int err = -ENOMEM;

	if (file)
		err = sl_file_read(path, SL_SET_BYTES_MAX - r->set_bytes, &src->pos, &text, &len,
				   r->diag);
	if (!err) {
		r->set_bytes += len;
		if (r->options->keep_room)
			sl_heap_expect(len);
		err = sl_set_parse(text, len, file, set, r->diag);
	}
	free(text);
	free(path);
	return err;
}

static int copy_set(const struct sl_set *src, struct sl_set *set)
{
	if (!src->n_cidrs)
		return 0;
	set->cidrs = malloc(src->n_cidrs * sizeof(*set->cidrs));
	if (!set->cidrs)
		return -ENOMEM;
	memcpy(set->cidrs, src->cidrs, src->n_cidrs * sizeof(*set->cidrs));
	set->n_cidrs = src->n_cidrs;
	return 0;
}

int sl_sets_add(struct sl_resolver *r, struct sl_frame *frame)
{
	for (size_t i = 0; i < frame->policy->n_sets; i++) {
		const struct sl_set *src = frame->policy->sets[i];
		struct sl_set *set = append(r, frame, src);
		int err;

		if (!set || sl_strtab_add(&r->set_names, set->name, set))
			return -ENOMEM;
		err = src->path ? read_set(r, frame, src, set) : copy_set(src, set);
		if (err == -EINVAL)
			r->failed = true;
		else if (err)
			return err;
		/* NULL: its rules have nothing more to complain of. */
		if (sl_strtab_add(&frame->sets, src->name, err ? NULL : set))
			return -ENOMEM;
	}
	return 0;
}

/* No rule of a resolved policy names an empty set. */
void sl_sets_prune(struct sl_policy *out)
{
	size_t kept = 0;

	for (size_t i = 0; i < out->n_sets; i++)
		if (out->sets[i]->n_cidrs)
			out->sets[kept++] = out->sets[i];
		else
			sl_set_free(out->sets[i]);
	out->n_sets = kept;
}
