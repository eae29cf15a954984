// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "diag.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

#define ENTRIES_MAX 100

const char *sl_diag_intern(struct sl_diag *diag, const char *file)
{
	char **files, *copy;

	for (size_t i = 0; i < diag->n_files; i++) {
		if (!strcmp(diag->files[i], file))
			return diag->files[i];
	}
	copy = strdup(file);
	if (!copy)
		return NULL;
	files = reallocarray(diag->files, diag->n_files + 1, sizeof(*files));
	if (!files) {
		free(copy);
		return NULL;
	}
	diag->files = files;
	files[diag->n_files++] = copy;
	return copy;
}

static struct sl_diag_entry *last_warning(struct sl_diag *diag)
{
	for (size_t i = diag->n; i--;) {
		if (diag->entries[i].severity == SL_WARNING)
			return &diag->entries[i];
	}
	return NULL;
}

/* A free entry, NULL if there is no room. An error takes the place of the last
 * warning, so that warnings never hide why a policy was refused. */
static struct sl_diag_entry *room(struct sl_diag *diag, enum sl_severity severity)
{
	struct sl_diag_entry *entry;

	if (diag->n < ENTRIES_MAX) {
		if (!diag->entries)
			diag->entries = calloc(ENTRIES_MAX, sizeof(*diag->entries));
		return diag->entries ? &diag->entries[diag->n++] : NULL;
	}
	diag->n_dropped++;
	/* Without a warning to look for, so that 10^6 errors stay cheap. */
	if (severity == SL_WARNING || diag->n_errors > ENTRIES_MAX)
		return NULL;
	entry = last_warning(diag);
	if (!entry)
		return NULL;
	free(entry->message);
	memmove(entry, entry + 1,
		(size_t)(diag->entries + diag->n - (entry + 1)) * sizeof(*entry));
	return &diag->entries[diag->n - 1];
}

/* A policy that several targets have is wrong in one place. */
__attribute__((format(printf, 4, 0)))
static bool is_there(const struct sl_diag *diag, enum sl_severity severity,
		     const struct sl_pos *pos, const char *fmt, va_list args)
{
	const struct sl_pos at = pos ? *pos : (struct sl_pos){};
	char *message = NULL;
	bool found = false;
	va_list copy;

	for (size_t i = 0; i < diag->n && !found; i++) {
		const struct sl_diag_entry *e = &diag->entries[i];

		if (e->severity != severity || e->pos.line != at.line ||
		    e->pos.column != at.column || !e->message || !e->pos.file != !at.file ||
		    (at.file && strcmp(e->pos.file, at.file)))
			continue;
		va_copy(copy, args);
		if (!message && vasprintf(&message, fmt, copy) < 0)
			message = NULL;
		va_end(copy);
		found = message && !strcmp(e->message, message);
	}
	free(message);
	return found;
}

__attribute__((format(printf, 4, 0)))
static void add(struct sl_diag *diag, enum sl_severity severity, const struct sl_pos *pos,
		const char *fmt, va_list args)
{
	struct sl_diag_entry *entry;

	if (is_there(diag, severity, pos, fmt, args))
		return;
	entry = room(diag, severity);
	if (!entry)
		return;
	memset(entry, 0, sizeof(*entry));
	entry->severity = severity;
	if (pos)
		entry->pos = *pos;
	if (vasprintf(&entry->message, fmt, args) < 0)
		entry->message = NULL;
}

int sl_error(struct sl_diag *diag, const struct sl_pos *pos, const char *fmt, ...)
{
	va_list args;

	diag->n_errors++;
	va_start(args, fmt);
	add(diag, SL_ERROR, pos, fmt, args);
	va_end(args);
	return -EINVAL;
}

void sl_warn(struct sl_diag *diag, const struct sl_pos *pos, const char *fmt, ...)
{
	va_list args;

	diag->n_warnings++;
	va_start(args, fmt);
	add(diag, SL_WARNING, pos, fmt, args);
	va_end(args);
}

static void print_entry(const struct sl_diag_entry *entry, FILE *out)
{
	if (entry->pos.file) {
		sl_put_text(entry->pos.file, out);
		putc(':', out);
	}
	if (entry->pos.line)
		fprintf(out, "%u:", entry->pos.line);
	if (entry->pos.line && entry->pos.column)
		fprintf(out, "%u:", entry->pos.column);
	if (entry->pos.file || entry->pos.line)
		putc(' ', out);
	fputs(entry->severity == SL_ERROR ? "error: " : "warning: ", out);
	sl_put_text(entry->message ? entry->message : "out of memory", out);
	putc('\n', out);
}

void sl_diag_print(const struct sl_diag *diag, FILE *out)
{
	for (size_t i = 0; i < diag->n; i++)
		print_entry(&diag->entries[i], out);
	if (diag->n_dropped)
		fprintf(out, "%zu more are not shown\n", diag->n_dropped);
}

void sl_diag_clear(struct sl_diag *diag)
{
	for (size_t i = 0; i < diag->n; i++)
		free(diag->entries[i].message);
	free(diag->entries);
	*diag = (struct sl_diag){.files = diag->files, .n_files = diag->n_files};
}

void sl_diag_free(struct sl_diag *diag)
{
	sl_diag_clear(diag);
	for (size_t i = 0; i < diag->n_files; i++)
		free(diag->files[i]);
	free(diag->files);
	memset(diag, 0, sizeof(*diag));
}
