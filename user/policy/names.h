/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which names a file has used, and on which line: for "already used". */
#ifndef SLUICE_POLICY_NAMES_H
#define SLUICE_POLICY_NAMES_H

#include <stdbool.h>
#include <stddef.h>

struct sl_names {
	struct sl_name_slot {
		const char *name;	/* borrowed */
		unsigned line;
	} *slots;
	size_t n, capacity;		/* capacity: a power of two or 0 */
};

/* 0 and the name is added; 1 and *line if it is there already; -ENOMEM. */
int sl_names_add(struct sl_names *names, const char *name, unsigned line, unsigned *earlier);
/* Is it there? *line then. */
bool sl_names_has(const struct sl_names *names, const char *name, unsigned *line);
void sl_names_free(struct sl_names *names);

#endif
