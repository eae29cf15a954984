/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Domain names: docs/names.md, "Patterns". */
#ifndef SLUICE_POLICY_DOMAIN_H
#define SLUICE_POLICY_DOMAIN_H

#include "diag.h"

#define SL_DOMAIN_MAX 253	/* RFC 1035, section 2.3.4, as text without the last dot */
#define SL_LABEL_MAX 63

/* Why the text is no name (a sentence's end, static), or NULL if it is one: labels of
 * ASCII letters, digits, - and _. */
const char *sl_domain_fault(const char *text, size_t len);

/* True if the last label is a number: an address with a slip in it. */
bool sl_domain_ends_in_number(const char *text, size_t len);

/*
 * A name as the kernel compares it, owned, in *out: lower case; an international
 * one (UTF-8) in the form that DNS has (IDNA 2008, UTS 46 without the transitional
 * mappings), with a warning that shows it. whole is what the errors quote: the name
 * and what stands around it. 0, -EINVAL (reported) or -ENOMEM; *out is untouched then.
 */
int sl_domain_read(const char *text, size_t len, const char *whole, size_t whole_len,
		   const struct sl_pos *pos, char **out, struct sl_diag *diag);

#endif
