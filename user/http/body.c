// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "body.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void sl_body_begin(struct sl_body *body)
{
	body->n = 0;
	body->too_long = false;
}

int sl_body_add(struct sl_body *body, const char *data, size_t n)
{
	size_t capacity = body->capacity ? body->capacity : 4096;
	char *grown;

	if (n > body->max - body->n) {
		body->too_long = true;
		return -EFBIG;
	}
	while (capacity < body->n + n)
		capacity *= 2;
	if (capacity > body->capacity) {
		grown = realloc(body->bytes, capacity);
		if (!grown)
			return -ENOMEM;
		body->bytes = grown;
		body->capacity = capacity;
	}
	memcpy(body->bytes + body->n, data, n);
	body->n += n;
	return 0;
}

size_t sl_body_write(char *data, size_t size, size_t n, void *body)
{
	return sl_body_add(body, data, size * n) ? 0 : size * n;
}

void sl_body_free(struct sl_body *body)
{
	free(body->bytes);
	*body = (struct sl_body){.max = body->max};
}
