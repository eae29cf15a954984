/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A hook more in the config.json of an OCI bundle. */
#ifndef SLUICE_GATE_SPEC_H
#define SLUICE_GATE_SPEC_H

#include <jansson.h>
#include <stddef.h>

/*
 * The text with the hook behind those that createRuntime has already; once, if it stands there. All
 * else stays byte by byte: its numbers may be such as no library of JSON keeps. Owned, NUL-terminated;
 * NULL with *why (static).
 */
char *sl_spec_with_hook(const char *text, size_t len, json_t *hook, const char **why);

/* The file, replaced as a whole, with its mode. 0; -errno; -EINVAL with *why. */
int sl_spec_add_hook(const char *path, json_t *hook, const char **why);

#endif
