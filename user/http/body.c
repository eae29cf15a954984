// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "body.h"

#include <stdlib.h>
#include <string.h>

void sl_body_begin(struct sl_body *body)
{
	body->n = 0;
	body->too_long = false;
}

size_t sl_body_write(char *data, size_t size, size_t n, void *context)
{
	struct sl_body *body = context;
	size_t len = size * n, capacity = body->capacity ? body->capacity : 4096;
	char *grown;

	if (len > body->max - body->n) {
		body->too_long = true;
		return 0;
	}
	while (capacity < body->n + len)
		capacity *= 2;
	if (capacity > body->capacity) {
		grown = realloc(body->bytes, capacity);
		if (!grown)
			return 0;
		body->bytes = grown;
		body->capacity = capacity;
	}
	memcpy(body->bytes + body->n, data, len);
	body->n += len;
	return len;
}

void sl_body_free(struct sl_body *body)
{
	free(body->bytes);
	*body = (struct sl_body){.max = body->max};
}
