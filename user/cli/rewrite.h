/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Replacing a file as a whole. */
#ifndef SLUICE_CLI_REWRITE_H
#define SLUICE_CLI_REWRITE_H

#include <stddef.h>

/*
 * Replaces what is in path (a link is followed) by text: a temporary file in its
 * directory with its mode and owner, fsync, rename. A reader sees the old file or
 * the new one. 0 or -errno, the file is then unchanged.
 */
int sl_file_replace(const char *path, const char *text, size_t len);

#endif
