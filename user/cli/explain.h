/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What `sluice explain` found, for those who print it. */
#ifndef SLUICE_CLI_EXPLAIN_H
#define SLUICE_CLI_EXPLAIN_H

#include "consider.h"

struct sl_explained {
	const struct sl_loaded *loaded;
	struct sl_asked asked;
	const struct sl_host *pattern;	/* that decided the question, or NULL */
	__u32 first, end;		/* rules that do not match, before the one that decides */
};

void sl_explain_text(const struct sl_explained *x);
void sl_explain_json(const struct sl_explained *x);

#endif
