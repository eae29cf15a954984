/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* An application's egress policy of Sortie, as one of ours. */
#ifndef SLUICE_CONVERT_SORTIE_H
#define SLUICE_CONVERT_SORTIE_H

#include "policy/policy.h"

struct sl_sortie {
	struct sl_policy *policy;	/* owned */
	char *application;		/* owned: the object's id, or NULL */
};

/*
 * Reads JSON: {"egress_policy": {...}}, a whole application, or the inner object
 * alone. pos->file names it in diag; where a value is wrong the message begins
 * with its path. 0, -EINVAL with errors in diag, -ENOMEM; *out is then untouched.
 */
int sl_sortie_read(const char *text, size_t len, const struct sl_pos *pos,
		   struct sl_sortie *out, struct sl_diag *diag);
void sl_sortie_free(struct sl_sortie *sortie);

#endif
