/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the commands that need no privilege share: options, text, JSON. */
#ifndef SLUICE_CLI_OUTPUT_H
#define SLUICE_CLI_OUTPUT_H

#include <jansson.h>
#include <stdio.h>

#include "audit/json.h"
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
/* The same as a string, owned; NULL when out of memory. */
char *sl_place(const struct sl_pos *pos);

/* ---- json.c ---- */

/* One line on stdout. Takes the reference; says on stderr if there is none. */
void sl_json_print(json_t *object);

#endif
