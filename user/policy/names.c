// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "names.h"

#include <errno.h>
#include <linux/types.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

static struct sl_name_slot *find(const struct sl_names *names, const char *name)
{
	size_t at = sl_hash(name) & (names->capacity - 1);

	while (names->slots[at].name && strcmp(names->slots[at].name, name))
		at = (at + 1) & (names->capacity - 1);
	return &names->slots[at];
}

/* Keeps the table at most half full. */
static int make_room(struct sl_names *names)
{
	struct sl_names grown = {.n = names->n};

	if (names->n * 2 < names->capacity)
		return 0;
	grown.capacity = names->capacity ? names->capacity * 2 : 16;
	grown.slots = calloc(grown.capacity, sizeof(*grown.slots));
	if (!grown.slots)
		return -ENOMEM;
	for (size_t i = 0; i < names->capacity; i++) {
		if (names->slots[i].name)
			*find(&grown, names->slots[i].name) = names->slots[i];
	}
	free(names->slots);
	*names = grown;
	return 0;
}

int sl_names_add(struct sl_names *names, const char *name, unsigned line, unsigned *earlier)
{
	struct sl_name_slot *slot;

	if (make_room(names))
		return -ENOMEM;
	slot = find(names, name);
	if (slot->name) {
		*earlier = slot->line;
		return 1;
	}
	slot->name = name;
	slot->line = line;
	names->n++;
	return 0;
}

bool sl_names_has(const struct sl_names *names, const char *name, unsigned *line)
{
	const struct sl_name_slot *slot = names->capacity ? find(names, name) : NULL;

	if (!slot || !slot->name)
		return false;
	*line = slot->line;
	return true;
}

void sl_names_free(struct sl_names *names)
{
	free(names->slots);
	memset(names, 0, sizeof(*names));
}
