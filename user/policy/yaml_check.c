// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What is refused of a text as a whole, before it is read. */
#include <errno.h>
#include <string.h>

#include "text.h"
#include "yaml.h"

#define BYTES8(c) (0x0101010101010101ull * (c))

static __u64 load8(const char *text)
{
	__u64 bytes;

	memcpy(&bytes, text, sizeof(bytes));
	return bytes;
}

/* Is each of eight bytes a newline or one of 0x20 to 0x7e? */
static bool is_printable8(__u64 bytes)
{
	__u64 x = bytes ^ BYTES8('\n');
	__u64 newlines = ~(((x & BYTES8(0x7f)) + BYTES8(0x7f)) | x) & BYTES8(0x80);

	bytes |= newlines >> 2;	/* 0x0a is then 0x2a */
	return !((bytes | (bytes + BYTES8(1)) | (bytes - BYTES8(0x20))) & BYTES8(0x80));
}

/* Is one of eight bytes c? No byte may be above 0x7f. */
static bool has8(__u64 bytes, unsigned char c)
{
	__u64 x = bytes ^ BYTES8(c);

	return (x - BYTES8(1)) & ~x & BYTES8(0x80);
}

/* Is one of eight bytes a bracket? */
static bool has_bracket8(__u64 bytes)
{
	bytes |= BYTES8(0x20);	/* [ is then {, ] is } */
	return has8(bytes, '{') || has8(bytes, '}');
}

/* The first byte that no policy holds, or len. libfyaml drops some control
 * characters without a word, and takes a lone CR for a line break although most
 * editors do not show one: a rule could hide in a comment. */
static size_t bad_byte(const char *text, size_t len)
{
	size_t i = 0;

	while (i < len) {
		__u32 cp;
		int n;

		if (len - i >= 8 && is_printable8(load8(text + i))) {
			i += 8;
			continue;
		}
		if (text[i] >= 0x20 && text[i] < 0x7f) {
			i++;
			continue;
		}
		if (text[i] == '\r' && i + 1 < len && text[i + 1] == '\n') {
			i += 2;
			continue;
		}
		n = sl_utf8_decode(text + i, len - i, &cp);
		if (n < 0 || (sl_utf8_hidden(cp) && !(cp == 0xfeff && !i)))
			return i;
		i += (size_t)n;
	}
	return len;
}

static void check_bytes(struct sl_yaml *yaml)
{
	size_t bad = bad_byte(yaml->text, yaml->len);
	struct sl_pos pos;
	__u32 cp;

	if (bad == yaml->len)
		return;
	pos = sl_yaml_locate(yaml, bad);
	if (sl_utf8_decode(yaml->text + bad, yaml->len - bad, &cp) < 0)
		sl_error(yaml->diag, &pos, "byte 0x%02x is not UTF-8: a policy is UTF-8 text",
			 (unsigned char)yaml->text[bad]);
	else if (!cp)
		sl_error(yaml->diag, &pos, "a NUL byte: a policy is text");
	else if (cp == '\r')
		sl_error(yaml->diag, &pos, "a carriage return without a newline: end lines with "
			 "a newline");
	else
		sl_error(yaml->diag, &pos, "invisible character U+%04X: remove it, or write it as "
			 "an escape in double quotes", cp);
	sl_yaml_stop(yaml, -EINVAL);
}

#define OPEN_BRACKETS_MAX 1000

/* libfyaml reads a line of brackets to its end before it says a word about it:
 * 10 MiB of `[` cost it 12 s and 3.6 GB. Brackets in texts and comments count
 * too; no policy has a thousand more open than closed. */
static void check_brackets(struct sl_yaml *yaml)
{
	size_t open = 0;
	struct sl_pos pos;

	for (size_t i = 0; i < yaml->len; i++) {
		if (yaml->len - i >= 8 && !has_bracket8(load8(yaml->text + i))) {
			i += 7;
			continue;
		}
		if (yaml->text[i] == '[' || yaml->text[i] == '{')
			open++;
		else if (open && (yaml->text[i] == ']' || yaml->text[i] == '}'))
			open--;
		if (open <= OPEN_BRACKETS_MAX)
			continue;
		pos = sl_yaml_locate(yaml, i);
		sl_error(yaml->diag, &pos, "more than %d brackets are open here",
			 OPEN_BRACKETS_MAX);
		sl_yaml_stop(yaml, -EINVAL);
		return;
	}
}

/* Does a line's first word stand here? */
static bool begins_line(const struct sl_yaml *yaml, const char *at)
{
	while (at > yaml->text && strchr(" \t-?", at[-1]))
		at--;
	return at == yaml->text || at[-1] == '\n';
}

/* A key of several lines, which no policy has: libfyaml 0.7 dies of "? a:", a tab and "|". */
static void check_long_keys(struct sl_yaml *yaml)
{
	const char *end = yaml->text + yaml->len, *at = yaml->text;
	struct sl_pos pos;

	for (; (at = memchr(at, '?', (size_t)(end - at))); at++) {
		if ((at + 1 < end && !strchr(" \t\r\n", at[1])) || !begins_line(yaml, at))
			continue;
		pos = sl_yaml_locate(yaml, (size_t)(at - yaml->text));
		sl_error(yaml->diag, &pos, "? begins a key of several lines in YAML: policies have "
			 "none; within a text begin the line with another word");
		sl_yaml_stop(yaml, -EINVAL);
		return;
	}
}

void sl_yaml_check(struct sl_yaml *yaml)
{
	check_bytes(yaml);
	if (!yaml->error)
		check_brackets(yaml);
	if (!yaml->error && yaml->len)
		check_long_keys(yaml);
}
