// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "json.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REAL_MAX 300 /* digits of a double, and some more */
#define WHOLE_MAX "9223372036854775807" /* LLONG_MAX */

/* ---- texts ---- */

/* The four digits of \uXXXX, whose backslash is at; -1: there is no such. */
static long escaped(const char *at, const char *end)
{
	char digits[5];

	if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
		return -1;
	memcpy(digits, at + 2, 4);
	digits[4] = '\0';
	return strspn(digits, "0123456789abcdefABCDEF") == 4 ? strtol(digits, NULL, 16) : -1;
}

/* Behind the escape at its backslash. */
static char *mend_escape(char *at, const char *end)
{
	long code = escaped(at, end);

	if (code < 0)
		return at + (end - at < 2 ? 1 : 2);
	if (code >= 0xd800 && code < 0xdc00) {
		long low = escaped(at + 6, end);

		if (low >= 0xdc00 && low < 0xe000)
			return at + 12;
	}
	if (!code || (code >= 0xd800 && code < 0xe000))
		memcpy(at + 2, "fffd", 4); /* NOLINT(bugprone-not-null-terminated-result) */
	return at + 6;
}

/* From behind its first quote to behind its last. */
static char *mend_text(char *at, const char *end)
{
	while (at < end && *at != '"')
		at = *at == '\\' ? mend_escape(at, end) : at + 1;
	return at < end ? at + 1 : at;
}

/* ---- numbers ---- */

/* N digits as a real number of as many characters: D.DDDeNN; as 0 if it is none. */
static void make_real(char *digits, size_t n)
{
	char power[24];
	int len = snprintf(power, sizeof(power), "e%zu", n - 1);

	if (n > REAL_MAX) {
		memset(digits, ' ', n);
		*digits = '0';
		return;
	}
	memmove(digits + 2, digits + 1, n - 2);
	digits[1] = '.';
	memcpy(digits + n - len, power, (size_t)len);
}

/* Behind the digits. */
static char *mend_number(char *at, const char *end)
{
	const size_t max = strlen(WHOLE_MAX);
	char *from = at;
	size_t n;

	while (at < end && isdigit((unsigned char)*at))
		at++;
	n = (size_t)(at - from);
	if (at < end && *at && strchr(".eE", *at)) {
		while (at < end && *at && strchr("0123456789.eE+-", *at))
			at++;
		return at;
	}
	if (n > max || (n == max && memcmp(from, WHOLE_MAX, max) > 0))
		make_real(from, n);
	return at;
}

/* ---- all of it ---- */

/* What is in brackets too deep, from its first one. Behind its last. */
static char *blank(char *at, char *end)
{
	unsigned depth = 0;
	char *from = at;

	do {
		if (*at == '"') {
			at = mend_text(at + 1, end);
			continue;
		}
		depth += *at == '[' || *at == '{';
		depth -= *at == ']' || *at == '}';
		at++;
	} while (at < end && depth);
	memset(from, ' ', (size_t)(at - from));
	*from = '0';
	return at;
}

static void mend(char *at, char *end)
{
	unsigned depth = 0;

	while (at < end) {
		if (*at == '"') {
			at = mend_text(at + 1, end);
		} else if (isdigit((unsigned char)*at)) {
			at = mend_number(at, end);
		} else if ((*at == '[' || *at == '{') && depth == SL_JSON_DEPTH_MAX) {
			at = blank(at, end);
		} else {
			depth += *at == '[' || *at == '{';
			depth -= depth && (*at == ']' || *at == '}');
			at++;
		}
	}
}

json_t *sl_json_read(const char *text, size_t len, json_error_t *error)
{
	json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, error);
	char *copy = json || !len ? NULL : malloc(len);

	if (!copy)
		return json;
	memcpy(copy, text, len);
	mend(copy, copy + len);
	/* as it came it may have had a key twice: that is refused as before */
	if (memcmp(copy, text, len))
		json = json_loadb(copy, len, 0, error);
	free(copy);
	return json;
}
