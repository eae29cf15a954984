/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the commands that need no privilege share: options, text, JSON. */
#ifndef SLUICE_CLI_OUTPUT_H
#define SLUICE_CLI_OUTPUT_H

#include <jansson.h>
#include <stdio.h>

#include "cli.h"
#include "policy/text.h"

/* ---- options.c ---- */

/* After getopt_long gave '?' or ':' (opterr is 0 and the short options begin
 * with ':'): says which option is wrong. Returns SL_EXIT_USAGE. */
int sl_option_wrong(const char *command, int given, char **argv);

/* Flushes stdout: SL_EXIT_FAILED if it could not take everything, else status. */
int sl_output_done(const char *command, int status);

/* ---- text.c ---- */

/* `file:line`, or `file` where the line is unknown. */
void sl_put_place(const struct sl_pos *pos, FILE *out);
/* sl_put_text and sl_put_place as strings, owned; NULL when out of memory. */
char *sl_escaped(const char *text);
char *sl_place(const struct sl_pos *pos);

/* ---- json.c: new references; NULL when out of memory ---- */

/* A string; bytes that are not UTF-8 become \xNN. NULL gives null. */
json_t *sl_json_text(const char *text);
json_t *sl_json_number(__u64 number);
/* {file, line, column}; file is null where it is not known. */
json_t *sl_json_position(const struct sl_pos *pos);
/* The entries of one severity: [{file, line, column, message}]. */
json_t *sl_json_diag(const struct sl_diag *diag, enum sl_severity severity);
/* One line on stdout. Takes the reference; says on stderr if there is none. */
void sl_json_print(json_t *object);

#endif
