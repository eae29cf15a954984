/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* JSON of what many records have in common: new references; NULL when out of memory. */
#ifndef SLUICE_AUDIT_JSON_H
#define SLUICE_AUDIT_JSON_H

#include <jansson.h>
#include <linux/types.h>

#include "policy/diag.h"

/* sl_put_text as a string, owned; NULL when out of memory. */
char *sl_escaped(const char *text);

/* A string; bytes that are not UTF-8 become \xNN. NULL gives null. */
json_t *sl_json_text(const char *text);
json_t *sl_json_number(__u64 number);
/* {file, line, column}; file is null where it is not known. */
json_t *sl_json_position(const struct sl_pos *pos);
/* The entries of one severity: [{file, line, column, message}]. */
json_t *sl_json_diag(const struct sl_diag *diag, enum sl_severity severity);

#endif
