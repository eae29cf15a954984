/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * JSON that a program in Go wrote of what others gave it: API servers, engines, runtimes. Who may
 * write one object there must not make an answer unreadable of which others' objects are a part.
 */
#ifndef SLUICE_HTTP_JSON_H
#define SLUICE_HTTP_JSON_H

#include <jansson.h>

#define SL_JSON_DEPTH_MAX 1000 /* of jansson's 2048: what lies deeper is the number 0 */

/*
 * A new reference; NULL: it is no JSON, or no memory, and *error (which may be NULL) says so. Keys that
 * stand twice are refused. What Go takes and jansson does not is read as something else: U+0000 and halves of a surrogate as U+FFFD, a whole
 * number beyond 64 bits as a real one, what lies too deep as 0. (Of keys that are the same only
 * after that the last counts.)
 */
json_t *sl_json_read(const char *text, size_t len, json_error_t *error);

#endif
