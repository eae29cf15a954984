// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Is a record one that a rule is about? */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "policy/text.h"
#include "rules.h"

/* `*` stands for any run of bytes. The last star alone is ever taken up again, so the
 * time is the product of the lengths at most. */
static bool text_matches(const char *pattern, const char *text)
{
	const char *star = NULL, *again = NULL;

	while (*text) {
		if (*pattern == '*') {
			star = ++pattern;
			again = text;
		} else if (*pattern == *text) {
			pattern++;
			text++;
		} else if (star) {
			pattern = star;
			text = ++again;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

static bool prefix_matches(const struct sl_cidr *prefix, const char *text)
{
	unsigned char address[16];
	unsigned bits = prefix->len % 8, bytes = prefix->len / 8;

	if (inet_pton(prefix->family == 4 ? AF_INET : AF_INET6, text, address) != 1 ||
	    memcmp(address, prefix->addr, bytes))
		return false;
	return !bits || (address[bytes] ^ prefix->addr[bytes]) >> (8 - bits) == 0;
}

static bool value_matches(const struct sl_alert_value *value, const char *text)
{
	__u64 number;

	if (!text)
		return value->kind == SL_VALUE_NULL;
	switch (value->kind) {
	case SL_VALUE_NULL:
		return false;
	case SL_VALUE_TEXT:
		return text_matches(value->text, text);
	case SL_VALUE_RANGE:
		return sl_text_number(text, strlen(text), ~0ull, &number) &&
		       number >= value->low && number <= value->high;
	case SL_VALUE_PREFIX:
		return prefix_matches(&value->prefix, text);
	}
	return false;
}

static bool matches(const struct sl_alert_match *match, const struct sl_alert_record *record)
{
	char buf[SL_FIELD_TEXT];
	const char *text = sl_field_get(record, match->field, buf);

	for (size_t i = 0; i < match->n; i++)
		if (value_matches(&match->values[i], text))
			return true;
	return false;
}

bool sl_alert_rule_matches(const struct sl_alert_rule *rule, const struct sl_alert_record *record)
{
	for (size_t i = 0; i < rule->n_match; i++)
		if (!matches(&rule->match[i], record))
			return false;
	for (size_t i = 0; i < rule->n_not; i++)
		if (matches(&rule->not[i], record))
			return false;
	return true;
}
