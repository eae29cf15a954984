/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What is known of addresses everywhere: the static built-in sets, and what names may have. */
#ifndef SLUICE_POLICY_BUILTIN_H
#define SLUICE_POLICY_BUILTIN_H

#include "policy.h"

/* The contents of a set that is the same everywhere (sluice_sets.h), prefixes between blanks; NULL: none
 * has this name, or it is filled by a resolution. */
const char *sl_builtin_set(const char *name);
/* Does one of such prefixes hold the address? None do if text is NULL. */
bool sl_cidrs_have(const char *text, const struct sl_cidr *address);
/* May a name have the address, without or with `resolves_to: private`? */
bool sl_address_may_belong(const struct sl_cidr *address, bool private);

#endif
