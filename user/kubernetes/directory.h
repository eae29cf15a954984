/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What directory.c shares with directory_files.c. */
#ifndef SLUICE_KUBERNETES_DIRECTORY_H
#define SLUICE_KUBERNETES_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>

struct sl_diag;

/* One file of the directory. */
struct sl_text {
	char *path; /* owned */
	char *text; /* owned */
	size_t len;
};

struct sl_texts {
	struct sl_text *list; /* owned */
	size_t n;
};

/* *.yaml, *.yml and *.json, in order of their names, all of one state: a mounted ConfigMap that is
 * replaced meanwhile is read again. 0, -errno with what is wrong in diag; out then holds what
 * there was until then. */
int sl_texts_read(const char *path, struct sl_texts *out, struct sl_diag *diag);
bool sl_texts_same(const struct sl_texts *a, const struct sl_texts *b);
void sl_texts_free(struct sl_texts *texts);

#endif
