/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Addresses of a policy text, with what is wrong with them. */
#ifndef SLUICE_POLICY_ADDRESS_H
#define SLUICE_POLICY_ADDRESS_H

#include "policy.h"

/*
 * As sl_cidr_parse, for a text of a policy or set file: errors go to diag
 * (quoting the text, with the right form where there is one), host bits give a
 * warning, prefixes that embed IPv4 (::ffff:0:0/96, 64:ff9b::/96) are errors.
 * 0 or -EINVAL; *cidr is untouched on failure.
 */
int sl_cidr_read(const char *text, size_t len, const struct sl_pos *pos,
		 struct sl_cidr *cidr, struct sl_diag *diag);

/* The IPv4 prefix that cidr is in disguise, if it is one of those. */
bool sl_cidr_embedded_ipv4(const struct sl_cidr *cidr, struct sl_cidr *ipv4);

/* The same for a member of a set: of a name it says why there can be none. */
int sl_member_read(const char *text, size_t len, const struct sl_pos *pos,
		   struct sl_cidr *cidr, struct sl_diag *diag);

/* An address alone: a prefix is an error too. */
int sl_address_read(const char *text, size_t len, const struct sl_pos *pos,
		    struct sl_cidr *cidr, struct sl_diag *diag);

/* Reports why text is not an address; returns -EINVAL. */
int sl_address_explain(const char *text, size_t len, const struct sl_pos *pos,
		       struct sl_diag *diag);

#endif
