/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SLUICE_CLI_CONVERT_RECORDS_H
#define SLUICE_CLI_CONVERT_RECORDS_H

#include <stddef.h>

/* `sluice convert --from records`: an exit status. policy: its name, or NULL. */
int sl_convert_records(char **paths, size_t n, const char *policy);

#endif
