// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include "text.h"

#include <stdlib.h>
#include <string.h>

#include "policy.h"

int sl_utf8_decode(const char *s, size_t n, __u32 *cp)
{
	static const __u32 least[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *b = (const unsigned char *)s;
	__u32 value;
	int len;

	if (b[0] < 0x80) {
		*cp = b[0];
		return 1;
	}
	len = b[0] >= 0xf0 ? 4 : b[0] >= 0xe0 ? 3 : 2;
	if (b[0] < 0xc2 || b[0] > 0xf4 || n < (size_t)len)
		return -1;
	value = b[0] & (0xff >> (len + 1));
	for (int i = 1; i < len; i++) {
		if ((b[i] & 0xc0) != 0x80)
			return -1;
		value = value << 6 | (b[i] & 0x3f);
	}
	if (value < least[len] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
		return -1;
	*cp = value;
	return len;
}

bool sl_utf8_hidden(__u32 cp)
{
	if (cp < 0x20)
		return cp != '\t' && cp != '\n';
	if (cp < 0x7f)
		return false;
	return cp <= 0x9f || cp == 0x200e || cp == 0x200f || (cp >= 0x2028 && cp <= 0x202e) ||
	       (cp >= 0x2066 && cp <= 0x2069) || cp == 0xfeff || cp == 0xfffe || cp == 0xffff;
}

void sl_put_text(const char *text, FILE *out)
{
	size_t left = strlen(text);

	while (left) {
		__u32 cp;
		int n = sl_utf8_decode(text, left, &cp);
		bool escape = n < 0 || sl_utf8_hidden(cp) || cp == '\t' || cp == '\n';

		if (n < 0)
			n = 1;
		for (int i = 0; i < n; i++) {
			if (escape)
				fprintf(out, "\\x%02x", (unsigned char)text[i]);
			else
				putc(text[i], out);
		}
		text += n;
		left -= (size_t)n;
	}
}

bool sl_is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

bool sl_text_is(const char *text, size_t len, const char *word)
{
	return strlen(word) == len && !memcmp(text, word, len);
}

bool sl_text_number(const char *text, size_t len, __u64 max, __u64 *out)
{
	__u64 value = 0;

	if (!len || len > 19 || (text[0] == '0' && len > 1))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (__u64)(text[i] - '0');
	}
	if (value > max)
		return false;
	*out = value;
	return true;
}

char *sl_put_number(char *at, unsigned int number)
{
	char digits[10];
	int n = 0;

	if (number > 99) {	/* most are octets */
		for (; number > 9; number /= 10)
			digits[n++] = (char)('0' + number % 10);
	} else if (number > 9) {
		*at++ = (char)('0' + number / 10);
		number %= 10;
	}
	*at++ = (char)('0' + number);
	while (n)
		*at++ = digits[--n];
	*at = 0;
	return at;
}

bool sl_text_name(const char *text, size_t len, bool upper)
{
	if (!len || len > SL_ID_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
		      c == '-' || (upper && c >= 'A' && c <= 'Z')))
			return false;
	}
	return true;
}

#define WORD_MAX 24

/* Edits (insert, delete, replace, swap neighbours) that turn a into b. */
static unsigned distance(const char *a, size_t na, const char *b, size_t nb)
{
	unsigned d[WORD_MAX + 1][WORD_MAX + 1];

	for (size_t i = 0; i <= na; i++) {
		for (size_t j = 0; j <= nb; j++) {
			unsigned best;

			if (!i || !j) {
				d[i][j] = (unsigned)(i + j);
				continue;
			}
			best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			if (d[i - 1][j] + 1 < best)
				best = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < best)
				best = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	}
	return d[na][nb];
}

const char *sl_nearest(const char *text, size_t len, const char *const *words)
{
	const char *nearest = NULL;
	char lower[WORD_MAX];
	unsigned best = 3;

	if (!len || len > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < len; i++)
		lower[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] | 0x20) : text[i];
	for (; *words; words++) {
		size_t n = strlen(*words);
		unsigned d;

		if (n > WORD_MAX)
			continue;
		d = distance(lower, len, *words, n);
		/* Two edits of a word of three letters make any other word. */
		if (d < best && d * 3 <= n) {
			best = d;
			nearest = *words;
		}
	}
	return nearest;
}

__u64 sl_hash_more(__u64 hash, const char *text, size_t n)
{
	for (; n; n--, text++)
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3;
	return hash;
}

__u64 sl_hash(const char *text)
{
	return sl_hash_more(SL_HASH_EMPTY, text, strlen(text));
}

void *sl_grow(void *array, size_t n, size_t size)
{
	if (!array)	/* as most arrays of a rule, which never have a second element */
		return calloc(1, size);
	if (!(n & (n - 1))) {
		array = reallocarray(array, n ? n * 2 : 1, size);
		if (!array)
			return NULL;
	}
	memset((char *)array + n * size, 0, size);
	return array;
}
