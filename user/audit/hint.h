/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What to do about a denial whose cause its reason alone does not show. */
#ifndef SLUICE_HINT_H
#define SLUICE_HINT_H

#include <stdio.h>

#include "record.h"

/* A line for the event, if there is something to say that was not said before: said begins as 0. */
void sl_hint(const struct sl_event *event, const struct sl_audit_names *names, unsigned *said,
	     FILE *out);

#endif
