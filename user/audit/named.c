// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <stdio.h>
#include <string.h>

#include "named.h"

static const struct sl_named_event *named(const struct sl_event *event)
{
	return event->flags & SL_EVENT_NAMED ? (const struct sl_named_event *)event : NULL;
}

void sl_event_copy(struct sl_named_event *to, const struct sl_event *event)
{
	if (named(event)) {
		*to = *named(event);
		return;
	}
	memset(to, 0, sizeof(*to));
	to->event = *event;
}

bool sl_event_same_name(const struct sl_event *a, const struct sl_event *b)
{
	const struct sl_named_event *x = named(a), *y = named(b);

	if (!x || !y)
		return x == y;
	return x->type == y->type && x->characters == y->characters &&
	       !memcmp(x->name, y->name, x->characters < SL_PATTERN_BYTES ? x->characters :
									      SL_PATTERN_BYTES);
}

/* What is asked is any bytes: the kernel puts 0 for those that no name has. */
const char *sl_event_name(const struct sl_event *event, char buf[SL_NAME_TEXT])
{
	const struct sl_named_event *e = named(event);
	unsigned n, i;

	if (!e)
		return NULL;
	n = e->characters < SL_PATTERN_BYTES ? e->characters : SL_PATTERN_BYTES;
	for (i = 0; i < n; i++)
		buf[n - 1 - i] = e->name[i] > 0x20 && e->name[i] < 0x7f ? (char)e->name[i] : '?';
	buf[n] = 0;
	return buf;
}

bool sl_event_is_of_server(const struct sl_event *event)
{
	return named(event) && (event->flags & SL_EVENT_SERVER);
}

const struct sl_close_event *sl_event_close(const struct sl_event *event)
{
	return event->flags & SL_EVENT_CLOSE ? (const struct sl_close_event *)event : NULL;
}

unsigned sl_event_question_type(const struct sl_event *event)
{
	return named(event) ? named(event)->type : 0;
}

const char *sl_question_type_text(unsigned type, char buf[16])
{
	static const struct {
		unsigned type;
		const char *word;
	} words[] = {	/* RFC 1035, 3596, 2782, 9460, 6891 */
		{1, "A"}, {2, "NS"}, {5, "CNAME"}, {6, "SOA"}, {10, "NULL"}, {12, "PTR"},
		{15, "MX"}, {16, "TXT"}, {28, "AAAA"}, {33, "SRV"}, {35, "NAPTR"}, {64, "SVCB"},
		{65, "HTTPS"}, {255, "ANY"}, {257, "CAA"},
	};
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (words[i].type == type)
			return words[i].word;
	snprintf(buf, 16, "TYPE%u", type);
	return buf;
}
