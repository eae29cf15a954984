/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* An answer that is collected whole, as long as it is no longer than it may be. */
#ifndef SLUICE_HTTP_BODY_H
#define SLUICE_HTTP_BODY_H

#include <stdbool.h>
#include <stddef.h>

struct sl_body {
	char *bytes; /* owned; kept from one answer to the next */
	size_t n, capacity;
	size_t max;
	bool too_long;
};

/* For the next answer. */
void sl_body_begin(struct sl_body *body);
/* 0; -EFBIG, and it is too long; -ENOMEM. What came before stays. */
int sl_body_add(struct sl_body *body, const char *data, size_t n);
/* The same as CURLOPT_WRITEFUNCTION, with the body as its data: curl ends the transfer if it does
 * not fit. */
size_t sl_body_write(char *data, size_t size, size_t n, void *body);
void sl_body_free(struct sl_body *body);

#endif
