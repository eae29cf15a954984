/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Diagnostics: what is wrong with a text, where, and what would be right.
 * The library functions collect them; only the command line prints them.
 */
#ifndef SLUICE_DIAG_H
#define SLUICE_DIAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* A place in a source text. file is borrowed (see sl_diag_intern) or NULL;
 * line and column count from 1; 0 = unknown. Columns count bytes. */
struct sl_pos {
	const char *file;
	unsigned line, column;
};

enum sl_severity { SL_ERROR, SL_WARNING };

struct sl_diag_entry {
	enum sl_severity severity;
	struct sl_pos pos;
	char *message;		/* owned */
};

/* Zero-initialise; free with sl_diag_free. Keeps the first 100 entries, each
 * once, and counts the rest, so that a hostile file cannot fill memory. */
struct sl_diag {
	struct sl_diag_entry *entries;
	size_t n, n_dropped;
	size_t n_errors, n_warnings;
	char **files;		/* interned names, owned */
	size_t n_files;
};

/* The name as a string that lives as long as the diag. NULL when out of memory. */
const char *sl_diag_intern(struct sl_diag *diag, const char *file);

/* Adds one entry. sl_error returns -EINVAL so that a caller can
 * `return sl_error(diag, &pos, "...")`. pos may be NULL. Control characters of
 * quoted text are shown as \xNN by the printer. */
int sl_error(struct sl_diag *diag, const struct sl_pos *pos, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void sl_warn(struct sl_diag *diag, const struct sl_pos *pos, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* One line each: `file:line:column: error: message`. */
void sl_diag_print(const struct sl_diag *diag, FILE *out);
/* Forgets the entries; interned names stay, for a policy whose places go on naming them. */
void sl_diag_clear(struct sl_diag *diag);
void sl_diag_free(struct sl_diag *diag);

#endif
