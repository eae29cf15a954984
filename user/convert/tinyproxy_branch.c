// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What a branch of a pattern is made of: texts, anything, dots. */
#include <stdlib.h>

#include "tinyproxy_internal.h"

bool tp_has_every(const struct tp_set *set, const char *bytes)
{
	for (; *bytes; bytes++)
		if (!tp_has(set, (unsigned char)*bytes))
			return false;
	return true;
}

bool tp_has_none(const struct tp_set *set, const char *bytes)
{
	for (; *bytes; bytes++)
		if (tp_has(set, (unsigned char)*bytes))
			return false;
	return true;
}

char tp_only_byte(const struct tp_item *item)
{
	int found = 0;

	if (item->min != 1 || item->max != 1)
		return 0;
	for (int c = 1; c < 256; c++) {
		if (!tp_has(&item->set, (unsigned char)c) || (c >= 'A' && c <= 'Z'))
			continue;
		if (found || c >= 0x80)
			return 0;
		found = c;
	}
	return (char)found;
}

bool tp_is_anything(const struct tp_item *item, unsigned least)
{
	return item->max == TP_MORE && item->min <= least && tp_has_every(&item->set, TP_NAME_BYTES ":%");
}

char *tp_text_of(const struct tp_branch *b, size_t at)
{
	char *text = calloc(1, b->n - at + 1);

	for (size_t i = at; text && i < b->n; i++) {
		text[i - at] = tp_only_byte(&b->items[i]);
		if (!text[i - at]) {
			free(text);
			return NULL;
		}
	}
	return text;
}

/* `\.?`, which may stand at a name's end. */
static bool is_optional_dot(const struct tp_item *item)
{
	struct tp_item one = {item->set, 1, 1};

	return !item->min && tp_only_byte(&one) == '.';
}

struct tp_branch tp_loosen(const struct tp_branch *from)
{
	struct tp_branch b = *from;

	while (b.ends && b.n && is_optional_dot(&b.items[b.n - 1]))
		b.n--;
	while (b.n && tp_is_anything(&b.items[0], 0)) {
		b.begins = false;
		b.items++;
		b.n--;
	}
	while (b.n && tp_is_anything(&b.items[b.n - 1], 0)) {
		b.ends = false;
		b.n--;
	}
	return b;
}
