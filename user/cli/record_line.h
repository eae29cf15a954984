/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SLUICE_CLI_RECORD_LINE_H
#define SLUICE_CLI_RECORD_LINE_H

#include <jansson.h>

/* A record of docs/events.md as one line on stdout, for people. */
void sl_record_line(const json_t *record);

#endif
