/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the files of the printer share. */
#ifndef SLUICE_POLICY_PRINT_H
#define SLUICE_POLICY_PRINT_H

#include "policy.h"

/* Text as YAML: in double quotes, or as it is where YAML reads that as text. */
void sl_print_quoted(const char *text, FILE *out);
void sl_print_text(const char *text, FILE *out);
/* A CIDR as a YAML value. */
void sl_print_cidr(const struct sl_cidr *cidr, FILE *out);

/* The value of allow or deny: a shorthand, a list of them or a mapping. */
void sl_print_matches(const struct sl_match *matches, size_t n, FILE *out);
/* A mapping; hosts_key: `to` or `from`. */
void sl_print_match_map(const struct sl_match *match, const char *hosts_key, FILE *out);

/* `dns:`; nothing where there is none. */
void sl_print_dns(const struct sl_policy *policy, FILE *out);

/* `limits:` and `device:`; nothing for what has its default. */
void sl_print_limits(const struct sl_limits *limits, FILE *out);
void sl_print_device(const struct sl_device_switches *device, FILE *out);

#endif
