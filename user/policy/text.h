/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Small helpers for text and arrays, shared by the files of this folder. */
#ifndef SLUICE_POLICY_TEXT_H
#define SLUICE_POLICY_TEXT_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Precision and text for "%.*s": what an error quotes is bounded. */
#define SL_QUOTE_MAX 80
#define SL_Q(text, len) (int)((len) < SL_QUOTE_MAX ? (len) : SL_QUOTE_MAX), (text)

/* One code point of s (n > 0 bytes). Returns its length, or -1 if the bytes are
 * not UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF). */
int sl_utf8_decode(const char *s, size_t n, __u32 *cp);

/* True for what a reader of the file would not see as it is: control
 * characters, line separators, the byte order mark, and the characters that
 * reverse the direction of text. Tab and newline are not among them. */
bool sl_utf8_hidden(__u32 cp);

/* Text from a file or an argument: what would steer the terminal shows as \xNN. */
void sl_put_text(const char *text, FILE *out);

/* Is a directory's entry `.` or `..`? What else begins with a dot is as visible as the rest to us. */
bool sl_is_dots(const char *name);

bool sl_text_is(const char *text, size_t len, const char *word);

/* A decimal number without sign or leading zeros, at most max. */
bool sl_text_number(const char *text, size_t len, __u64 max, __u64 *out);

/* Writes it in decimal, and a NUL; the NUL's address. */
char *sl_put_number(char *at, unsigned int number);

/* 1 to SL_ID_MAX characters of `0-9 . _ -`, a-z, and A-Z if upper. */
bool sl_text_name(const char *text, size_t len, bool upper);

/* The word (a NULL-terminated list) that text is probably a slip of, or NULL. */
const char *sl_nearest(const char *text, size_t len, const char *const *words);

/* The ending of what there is n of. */
#define SL_S(n) ((n) == 1 ? "" : "s")

/* FNV-1a, 64 bits (draft-eastlake-fnv). */
#define SL_HASH_EMPTY 0xcbf29ce484222325ull
__u64 sl_hash(const char *text);
/* The hash of what was hashed and n more bytes. */
__u64 sl_hash_more(__u64 hash, const char *text, size_t n);

/*
 * SL_ADD(array, n): appends a zeroed element, counts it and returns its address;
 * NULL when out of memory, with nothing changed. Only for arrays that nothing
 * else grows: the capacity is n rounded up to a power of two.
 */
void *sl_grow(void *array, size_t n, size_t size);
#define SL_ADD(array, n)                                                       \
	({                                                                     \
		void *sl_grown_ = sl_grow((array), (n), sizeof(*(array)));     \
		if (sl_grown_)                                                 \
			(array) = sl_grown_;                                   \
		sl_grown_ ? &(array)[(n)++] : NULL;                            \
	})

#endif
